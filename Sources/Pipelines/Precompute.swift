import Basics
import DataSets
import Foundation
import LogitCache
import Teachers
import Views

/// What `precompute` was asked to do.
public struct PrecomputeJob: Sendable {
  /// The data set: a preset or a data set file.
  public var data: String
  /// The teacher's configuration file.
  public var teacher: String
  /// The recipe file; `nil` for plain pictures.
  public var recipe: String?
  /// Views of every sample.
  public var views: Int
  /// The seed of the views.
  public var seed: UInt64
  /// Classes kept of a record; `nil` for all of up to 64 classes, else 20, or 10 with full rows.
  public var k: Int?
  /// Keep the norm of the teacher's features and their class means.
  public var features: Bool
  /// Keep full rows beside the head; `nil` not to.
  public var tail: SubspaceTail?
  /// The cache's folder.
  public var cache: String
  /// Blocks worked on at once.
  public var threads: Int
  /// Seconds of work between commits.
  public var commitSeconds: Double
  /// The part of the work to do; `nil` for all of it.
  public var shard: Shard?
  /// A cache of the same job, such as another shard, that learned already; `nil` to learn by itself.
  public var calibration: String?

  /// All settings.
  public init(
    data: String, teacher: String, recipe: String?, views: Int, seed: UInt64, k: Int?,
    features: Bool = false, tail: SubspaceTail? = nil, cache: String, threads: Int,
    commitSeconds: Double, shard: Shard? = nil, calibration: String? = nil
  ) {
    self.data = data
    self.teacher = teacher
    self.recipe = recipe
    self.views = views
    self.seed = seed
    self.k = k
    self.features = features
    self.tail = tail
    self.cache = cache
    self.threads = threads
    self.commitSeconds = commitSeconds
    self.shard = shard
    self.calibration = calibration
  }
}

/// What `precompute` did.
public struct PrecomputeResult: Codable, Sendable {
  /// The identity of the content; `nil` for a shard, which is not sealed.
  public var cacheDigest: Digest?
  /// The part of the work that was done; `nil` for all of it.
  public var shard: Shard?
  /// Blocks of the cache, or of the shard.
  public var blocks: Int
  /// Records in these blocks.
  public var records: Int
  /// Records that this call made; the others were there.
  public var newRecords: Int
  /// Wall time of this call.
  public var seconds: Double
}

/// Runs the teacher over every view that the cache does not hold yet, then seals the cache.
///
/// A shard makes its own blocks only, byte for byte those of the whole, and is not sealed: `mergeCaches` joins
/// the shards.
/// - Throws: `Problem`: wrong input, a cache of other settings (untouched), a teacher that gives NaN, a
///   full disk, or interruption; everything committed so far stays.
@discardableResult
public func precompute(_ job: PrecomputeJob) throws -> PrecomputeResult {
  let clock = ContinuousClock()
  let start = clock.now
  var work = try BlockWork(job)
  let owned = job.shard?.blocks(of: work.manifest) ?? 0..<work.manifest.blockCount
  let measured = try calibrate(&work, job).filter {
    owned.contains(work.manifest.position(of: $0.key))
  }
  let writer = try CacheWriter(
    path: job.cache, manifest: work.manifest, labels: work.labels, calibration: work.calibration)
  try writer.note(job.shard)
  let records = work.manifest.records(in: BlockRuns(owned))
  var missing = writer.missingBlocks(in: owned)
  let newRecords = missing.reduce(0) { $0 + work.manifest.samples(of: $1).count }
  if !measured.isEmpty {
    let encoder = try BlockEncoder(manifest: work.manifest, calibration: work.calibration)
    try writer.append(measured.map { try encoder.pack($0) })
    missing = writer.missingBlocks(in: owned)
  }
  if !missing.isEmpty { try writeBlocks(missing, of: records, work, writer, job) }
  return PrecomputeResult(
    cacheDigest: job.shard == nil ? try writer.seal() : nil, shard: job.shard,
    blocks: owned.count, records: records, newRecords: newRecords,
    seconds: (clock.now - start).inSeconds)
}

/// Settles what the cache learns before its first block: what the cache that the job names or an earlier run
/// learned, or else what the calibration blocks of the whole job say.
///
/// So all shards learn the same, each by itself.
/// - Returns: those blocks, measured but not yet written; none when nothing had to be learned, or when they
///   must be made again because coefficients need the axes that were learned from them.
private func calibrate(_ work: inout BlockWork, _ job: PrecomputeJob) throws -> [MeasuredBlock] {
  if let other = job.calibration {
    work.learned(try CacheReader(path: other).calibration(for: work.manifest))
    return []
  }
  if let stored = try CacheWriter.storedCalibration(path: job.cache, manifest: work.manifest) {
    work.learned(stored)
    return []
  }
  let keys = work.manifest.calibrationBlocks
  let count = keys.count
  let queue = OrderedResults<MeasuredBlock>(count: count, ahead: count)
  let encoding = work.manifest.encoding
  work.start(keys, threads: job.threads, into: queue) { worker, key in
    let index = keys.firstIndex(of: key) ?? 0
    return try worker.measure(
      key, forCalibration: true,
      keptRows: Calibration.keptRows(encoding, block: index, of: count))
  }
  defer { queue.cancel() }
  var progress = ProgressLine("calibrate", unit: "blocks", total: count, done: 0)
  defer { progress.clear() }
  var measured: [MeasuredBlock] = []
  for _ in keys {
    if Interruption.isRequested {
      throw Interruption.problem(after: "\(measured.count) of \(count) calibration blocks")
    }
    measured.append(try queue.next())
    progress.update(done: measured.count)
  }
  work.learned(try Calibration.learn(measured, work.manifest))
  return encoding.subspaceTail == nil ? measured : []
}

/// Workers make blocks, each through augmentation, teacher and encoding, so that the three overlap;
/// this thread writes finished blocks in key order and commits every few seconds.
private func writeBlocks(
  _ keys: [BlockKey], of total: Int, _ work: BlockWork, _ writer: CacheWriter,
  _ job: PrecomputeJob
) throws {
  let clock = ContinuousClock()
  var done = total - keys.reduce(0) { $0 + work.manifest.samples(of: $1).count }
  var progress = ProgressLine("precompute", unit: "records", total: total, done: done)
  var pending: [EncodedBlock] = []
  var lastCommit = clock.now
  func commit() throws {
    do {
      try writer.append(pending)
    } catch {
      progress.clear()
      throw error
    }
    pending.removeAll()
    lastCommit = clock.now
  }
  let queue = OrderedResults<EncodedBlock>(count: keys.count, ahead: 2 * job.threads)
  work.start(keys, threads: job.threads, into: queue) { try $0.makeBlock($1) }
  defer { queue.cancel() }
  for key in keys {
    if Interruption.isRequested { break }
    do {
      pending.append(try queue.next())
    } catch {
      progress.clear()
      try commit()  // what was finished before the error is not lost
      throw error
    }
    done += work.manifest.samples(of: key).count
    progress.update(done: done)
    if (clock.now - lastCommit).inSeconds >= job.commitSeconds { try commit() }
  }
  try commit()
  progress.finish(done: done)
  if done < total { throw Interruption.problem(after: "\(done) of \(total) records") }
}

/// Everything needed to make any block of a cache.
private struct BlockWork: Sendable {
  private(set) var manifest: Manifest
  private(set) var calibration: Calibration
  private let teacher: any Teacher
  private let augmenter: Augmenter

  init(_ job: PrecomputeJob) throws {
    let dataSet = try openDataSet(job.data)
    let recipe = try job.recipe.map { try Recipe(contentsOf: $0) } ?? .identity
    teacher = try openTeacher(configuration: job.teacher, inputShape: dataSet.shape)
    let classes = dataSet.classNames.count
    guard teacher.classes == classes else {
      throw Problem(
        .corrupt,
        "teacher \(job.teacher) names \(teacher.classes) classes, data set \(dataSet.name) has \(classes)"
      )
    }
    let k = job.k ?? (classes <= 64 ? classes : job.tail == nil ? 20 : 10)
    guard (1...classes).contains(k) else {
      throw Problem(.usage, "--k is \(k), it must be in 1...\(classes), the number of classes")
    }
    guard job.tail == nil || k < classes else {
      throw Problem(
        .usage,
        "--tail subspace keeps the classes that --k leaves out, and all \(classes) are kept: "
          + "choose a smaller --k, or leave out --tail")
    }
    guard !job.features || teacher.featureWidth > 0 else {
      throw Problem(
        .configuration, "teacher \(job.teacher) has no features of its own: leave out --features")
    }
    augmenter = try Augmenter(dataSet: dataSet, recipe: recipe, seed: job.seed)
    manifest = Manifest(
      dataSet: DataSetIdentity(
        name: dataSet.name, fingerprint: dataSet.fingerprint, labels: dataSet.labels,
        classNames: dataSet.classNames),
      recipe: RecipeIdentity(digest: recipe.digest, content: recipe.canonical), seed: job.seed,
      views: job.views, teacher: teacher.identity,
      encoding: Encoding(
        classes: classes, k: k, featureWidth: job.features ? teacher.featureWidth : nil,
        subspaceTail: job.tail))
    calibration = .plain(manifest.encoding)
    try manifest.validate()
  }

  /// The label of every sample.
  var labels: [Int32] { augmenter.dataSet.labels }

  mutating func learned(_ calibration: Calibration) {
    self.calibration = calibration
    manifest.calibration = calibration.digest
  }

  /// Starts `threads` workers that take keys in order.
  func start<Result: Sendable>(
    _ keys: [BlockKey], threads: Int, into queue: OrderedResults<Result>,
    _ make: @escaping @Sendable (inout BlockWorker, BlockKey) throws -> Result
  ) {
    for _ in 0..<min(threads, keys.count) {
      let thread = Thread {
        var place = 0
        do {
          var worker = try BlockWorker(self, teacher, augmenter)
          while let index = queue.claim() {
            place = index
            queue.deliver(try make(&worker, keys[index]), at: index)
          }
        } catch {
          queue.fail(error, at: place)
        }
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
  }
}

/// One thread's teacher session and buffers.
private struct BlockWorker {
  private let manifest: Manifest
  private let batchSize: Int
  private let augmenter: Augmenter
  private let session: any TeacherSession
  private let encoder: BlockEncoder
  private var views: ViewBatch
  private var logits: [Float]
  /// Empty unless the cache keeps features.
  private var features: [Float]
  private let featureWidth: Int

  init(_ work: BlockWork, _ teacher: any Teacher, _ augmenter: Augmenter) throws {
    manifest = work.manifest
    self.augmenter = augmenter
    batchSize = teacher.batchSize
    session = try teacher.makeSession()
    encoder = try BlockEncoder(manifest: manifest, calibration: work.calibration)
    views = augmenter.makeBatch()
    logits = [Float](repeating: 0, count: manifest.encoding.blockRows * manifest.encoding.classes)
    featureWidth = manifest.encoding.featureWidth ?? 0
    features = [Float](repeating: 0, count: manifest.encoding.blockRows * featureWidth)
  }

  /// Batches start at the block's first sample and never cross its end: a block is always run in the
  /// same batch shapes, so its bytes do not depend on who makes it, or when.
  mutating func makeBlock(_ key: BlockKey) throws -> EncodedBlock {
    try encoder.pack(measure(key))
  }

  /// Runs the teacher over a block.
  mutating func measure(
    _ key: BlockKey, forCalibration: Bool = false, keptRows: Int = 0
  ) throws -> MeasuredBlock {
    let samples = manifest.samples(of: key)
    let classes = manifest.encoding.classes
    var pixels = DigestBuilder()
    for first in stride(from: samples.lowerBound, to: samples.upperBound, by: batchSize) {
      let batch = first..<min(first + batchSize, samples.upperBound)
      augmenter.render(samples: batch, view: key.view, into: &views)
      views.appendTensors(to: &pixels)
      let rows = first - samples.lowerBound..<batch.upperBound - samples.lowerBound
      try session.logits(of: views, into: &logits, rows * classes)
      if featureWidth > 0 { try session.features(into: &features, rows * featureWidth) }
    }
    return try encoder.measure(
      logits: logits.span.extracting(0..<samples.count * classes),
      labels: Array(augmenter.dataSet.labels[samples]), view: key.view, block: key.block,
      firstSample: samples.lowerBound, viewDigest: pixels.finish(),
      features: features.span.extracting(0..<samples.count * featureWidth),
      forCalibration: forCalibration, keptRows: keptRows)
  }
}

/// The numbers of some rows.
private func * (rows: Range<Int>, width: Int) -> Range<Int> {
  rows.lowerBound * width..<rows.upperBound * width
}

extension TeacherSession {
  /// Gives logits into a part of an array.
  fileprivate func logits(
    of batch: borrowing ViewBatch, into array: inout [Float], _ range: Range<Int>
  ) throws {
    var all = array.mutableSpan
    var part = all._mutatingExtracting(range)
    try logits(of: batch, into: &part)
  }

  /// Gives features into a part of an array.
  fileprivate func features(into array: inout [Float], _ range: Range<Int>) throws {
    var all = array.mutableSpan
    var part = all._mutatingExtracting(range)
    try features(into: &part)
  }
}
