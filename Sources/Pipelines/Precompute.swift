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
  /// Classes kept of a record; `nil` for all of up to 64 classes, else 20.
  public var k: Int?
  /// Keep the norm of the teacher's features and their class means.
  public var features: Bool
  /// The cache's folder.
  public var cache: String
  /// Blocks worked on at once.
  public var threads: Int
  /// Seconds of work between commits.
  public var commitSeconds: Double
  /// The part of the work to do; `nil` for all of it.
  public var shard: Shard?

  /// All settings.
  public init(
    data: String, teacher: String, recipe: String?, views: Int, seed: UInt64, k: Int?,
    features: Bool = false, cache: String, threads: Int, commitSeconds: Double,
    shard: Shard? = nil
  ) {
    self.data = data
    self.teacher = teacher
    self.recipe = recipe
    self.views = views
    self.seed = seed
    self.k = k
    self.features = features
    self.cache = cache
    self.threads = threads
    self.commitSeconds = commitSeconds
    self.shard = shard
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
  let work = try BlockWork(job)
  let writer = try CacheWriter(path: job.cache, manifest: work.manifest)
  try writer.note(job.shard)
  let owned = job.shard?.blocks(of: work.manifest) ?? 0..<work.manifest.blockCount
  let records = work.manifest.records(in: BlockRuns(owned))
  let missing = writer.missingBlocks(in: owned)
  let newRecords = missing.reduce(0) { $0 + work.manifest.samples(of: $1).count }
  if !missing.isEmpty { try writeBlocks(missing, of: records, work, writer, job) }
  return PrecomputeResult(
    cacheDigest: job.shard == nil ? try writer.seal() : nil, shard: job.shard,
    blocks: owned.count, records: records, newRecords: newRecords,
    seconds: (clock.now - start).inSeconds)
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
    try writer.append(pending)
    pending.removeAll()
    lastCommit = clock.now
  }
  let queue = OrderedResults<EncodedBlock>(count: keys.count, ahead: 2 * job.threads)
  work.start(keys, threads: job.threads, into: queue)
  defer { queue.cancel() }
  do {
    for key in keys {
      if Interruption.isRequested { break }
      pending.append(try queue.next())
      done += work.manifest.samples(of: key).count
      progress.update(done: done)
      if (clock.now - lastCommit).inSeconds >= job.commitSeconds { try commit() }
    }
  } catch {
    progress.clear()
    try commit()  // what was finished before the error is not lost
    throw error
  }
  try commit()
  progress.finish(done: done)
  if done < total { throw Interruption.problem(after: "\(done) of \(total) records") }
}

/// Everything needed to make any block of a cache.
private struct BlockWork: Sendable {
  let manifest: Manifest
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
    let k = job.k ?? (classes <= 64 ? classes : 20)
    guard (1...classes).contains(k) else {
      throw Problem(.usage, "--k is \(k), it must be in 1...\(classes), the number of classes")
    }
    guard !job.features || teacher.featureWidth > 0 else {
      throw Problem(
        .configuration, "teacher \(job.teacher) has no features of its own: leave out --features")
    }
    augmenter = try Augmenter(dataSet: dataSet, recipe: recipe, seed: job.seed)
    manifest = Manifest(
      dataSet: DataSetIdentity(
        name: dataSet.name, fingerprint: dataSet.fingerprint, samples: dataSet.count,
        classNames: dataSet.classNames),
      recipe: RecipeIdentity(digest: recipe.digest, content: recipe.canonical), seed: job.seed,
      views: job.views, teacher: teacher.identity,
      encoding: Encoding(
        classes: classes, k: k, featureWidth: job.features ? teacher.featureWidth : nil))
  }

  /// Starts `threads` workers that take keys in order.
  func start(_ keys: [BlockKey], threads: Int, into queue: OrderedResults<EncodedBlock>) {
    for _ in 0..<min(threads, keys.count) {
      let thread = Thread {
        var place = 0
        do {
          var worker = try BlockWorker(manifest: manifest, teacher: teacher, augmenter: augmenter)
          while let index = queue.claim() {
            place = index
            queue.deliver(try worker.makeBlock(keys[index]), at: index)
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

  init(manifest: Manifest, teacher: any Teacher, augmenter: Augmenter) throws {
    self.manifest = manifest
    self.augmenter = augmenter
    batchSize = teacher.batchSize
    session = try teacher.makeSession()
    encoder = try BlockEncoder(manifest: manifest)
    views = augmenter.makeBatch()
    logits = [Float](repeating: 0, count: manifest.encoding.blockRows * manifest.encoding.classes)
    featureWidth = manifest.encoding.featureWidth ?? 0
    features = [Float](repeating: 0, count: manifest.encoding.blockRows * featureWidth)
  }

  /// Batches start at the block's first sample and never cross its end: a block is always run in the
  /// same batch shapes, so its bytes do not depend on who makes it, or when.
  mutating func makeBlock(_ key: BlockKey) throws -> EncodedBlock {
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
    return try encoder.encode(
      logits: logits.span.extracting(0..<samples.count * classes),
      labels: Array(augmenter.dataSet.labels[samples]), view: key.view, block: key.block,
      firstSample: samples.lowerBound, viewDigest: pixels.finish(),
      features: features.span.extracting(0..<samples.count * featureWidth))
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
