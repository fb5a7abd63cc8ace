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
  /// Where ONNX Runtime's library is, a file or a folder, for a teacher that needs it; `nil` for
  /// what the environment or the teacher's configuration says.
  public var onnxRuntime: String?
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
  /// A cache of the same job, such as another shard, that learned already; `nil` to learn by itself.
  public var calibration: String?

  /// All settings.
  public init(
    data: String, teacher: String, onnxRuntime: String? = nil, recipe: String?, views: Int,
    seed: UInt64, k: Int?, features: Bool = false, cache: String, threads: Int,
    commitSeconds: Double, shard: Shard? = nil, calibration: String? = nil
  ) {
    self.data = data
    self.teacher = teacher
    self.onnxRuntime = onnxRuntime
    self.recipe = recipe
    self.views = views
    self.seed = seed
    self.k = k
    self.features = features
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
  let (crew, writer) = try begin(&work, job, owned)
  defer { crew.cancel() }
  let records = work.manifest.records(in: BlockRuns(owned))
  if !crew.writing.isEmpty { try writeBlocks(crew, of: records, work, writer, job) }
  let made = crew.writing + crew.learning.filter { owned.contains(work.manifest.position(of: $0)) }
  return PrecomputeResult(
    cacheDigest: job.shard == nil ? try writer.seal() : nil, shard: job.shard,
    blocks: owned.count, records: records,
    newRecords: made.reduce(0) { $0 + work.manifest.samples(of: $1).count },
    seconds: (clock.now - start).inSeconds)
}

/// Starts the crew, and opens the cache once what it learns is known.
private func begin(
  _ work: inout BlockWork, _ job: PrecomputeJob, _ owned: Range<Int>
) throws -> (BlockCrew, CacheWriter) {
  if let known = try knownCalibration(work, job) {
    work.learned(known)
    let writer = try work.openWriter(job)
    let crew = BlockCrew(
      learning: [], writing: writer.missingBlocks(in: owned), threads: job.threads)
    crew.calibrated.settle(work.calibrated)
    work.start(crew)
    return (crew, writer)
  }
  let crew = work.newCrew(owned, threads: job.threads)
  work.start(crew)
  do {
    let measured = try calibrate(&work, crew)
    let writer = try work.openWriter(job)
    crew.calibrated.settle(work.calibrated)
    let encoder = try BlockEncoder(manifest: work.manifest, calibration: work.calibration)
    try writer.append(
      measured.filter { owned.contains(work.manifest.position(of: $0.key)) }
        .map { try encoder.pack($0) })
    return (crew, writer)
  } catch {
    crew.cancel()
    throw error
  }
}

/// What the cache that the job names, or an earlier run, learned.
private func knownCalibration(_ work: BlockWork, _ job: PrecomputeJob) throws -> Calibration? {
  if let other = job.calibration {
    return try CacheReader(path: other).calibration(for: work.manifest)
  }
  return try CacheWriter.storedCalibration(path: job.cache, manifest: work.manifest)
}

/// Learns from the calibration blocks of the whole job, so that all shards learn the same, each by itself.
///
/// Workers do not wait for it: they go on to the teacher's work on the next blocks.
/// - Returns: those blocks, measured but not yet written.
private func calibrate(_ work: inout BlockWork, _ crew: BlockCrew) throws -> [MeasuredBlock] {
  let keys = crew.learning
  var progress = ProgressLine("calibrate", unit: "blocks", total: keys.count, done: 0)
  defer { progress.clear() }
  var measured: [MeasuredBlock] = []
  for _ in keys {
    if Interruption.isRequested {
      throw Interruption.problem(after: "\(measured.count) of \(keys.count) calibration blocks")
    }
    measured.append(try crew.measured.next())
    progress.update(done: measured.count)
  }
  work.learned(Calibration.learn(measured, work.manifest))
  return measured
}

/// Writes finished blocks in key order and commits every few seconds, while the crew makes the next.
private func writeBlocks(
  _ crew: BlockCrew, of total: Int, _ work: BlockWork, _ writer: CacheWriter,
  _ job: PrecomputeJob
) throws {
  let keys = crew.writing
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
  for key in keys {
    if Interruption.isRequested { break }
    do {
      pending.append(try crew.encoded.next())
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
struct BlockWork: Sendable {
  private(set) var manifest: Manifest
  private(set) var calibration: Calibration
  let teacher: any Teacher
  let augmenter: Augmenter

  init(_ job: PrecomputeJob) throws {
    let dataSet = try openDataSet(job.data)
    let recipe = try job.recipe.map { try Recipe(contentsOf: $0) } ?? .identity
    teacher = try openTeacher(
      configuration: job.teacher, for: dataSet, onnxRuntime: job.onnxRuntime)
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
        name: dataSet.name, fingerprint: dataSet.fingerprint, labels: dataSet.labels,
        classNames: dataSet.classNames),
      recipe: RecipeIdentity(digest: recipe.digest, content: recipe.canonical), seed: job.seed,
      views: job.views, teacher: teacher.identity,
      encoding: Encoding(
        classes: classes, k: k, featureWidth: job.features ? teacher.featureWidth : nil))
    calibration = .plain(manifest.encoding)
    try manifest.validate()
  }

  /// The label of every sample.
  var labels: [Int32] { augmenter.dataSet.labels }

  mutating func learned(_ calibration: Calibration) {
    self.calibration = calibration
    manifest.calibration = calibration.digest
  }

  /// What workers need to know once the cache has learned.
  var calibrated: CalibratedJob { CalibratedJob(manifest: manifest, calibration: calibration) }

  func openWriter(_ job: PrecomputeJob) throws -> CacheWriter {
    let writer = try CacheWriter(
      path: job.cache, manifest: manifest, labels: labels, calibration: calibration)
    try writer.note(job.shard)
    return writer
  }

  /// The crew of a cache that is begun.
  fileprivate func newCrew(_ owned: Range<Int>, threads: Int) -> BlockCrew {
    let learning = manifest.calibrationBlocks
    let isLearning = Set(learning)
    let writing = owned.lazy.map { manifest.blockKey(at: $0) }.filter { !isLearning.contains($0) }
    return BlockCrew(learning: learning, writing: Array(writing), threads: threads)
  }

  /// Starts the crew's threads, each with a teacher session of its own.
  fileprivate func start(_ crew: BlockCrew) {
    crew.start {
      var worker = try BlockWorker(self)
      return { key, forCalibration in try worker.measure(key, forCalibration: forCalibration) }
    }
  }
}

/// One thread's teacher session, rows and encoder.
private struct BlockWorker {
  private let manifest: Manifest
  private let labels: [Int32]
  private let encoder: BlockEncoder
  private var rows: TeacherRows

  init(_ work: BlockWork) throws {
    manifest = work.manifest
    labels = work.labels
    encoder = try BlockEncoder(manifest: manifest)
    rows = try TeacherRows(
      work.teacher, work.augmenter, rows: manifest.encoding.blockRows,
      featureWidth: manifest.encoding.featureWidth ?? 0)
  }

  /// Runs the teacher over a block.
  ///
  /// Batches start at the block's first sample and never cross its end: a block is always run in the
  /// same batch shapes, so its bytes do not depend on who makes it, or when.
  mutating func measure(_ key: BlockKey, forCalibration: Bool) throws -> MeasuredBlock {
    let samples = manifest.samples(of: key)
    let digest = try rows.fill(samples, view: key.view)
    let (classes, width) = (manifest.encoding.classes, manifest.encoding.featureWidth ?? 0)
    return try encoder.measure(
      logits: rows.logits.span.extracting(0..<samples.count * classes),
      labels: Array(labels[samples]), view: key.view, block: key.block,
      firstSample: samples.lowerBound, viewDigest: digest,
      features: rows.features.span.extracting(0..<samples.count * width),
      forCalibration: forCalibration)
  }
}
