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

  /// All settings.
  public init(
    data: String, teacher: String, onnxRuntime: String? = nil, recipe: String?, views: Int,
    seed: UInt64, k: Int?, features: Bool = false, cache: String, threads: Int,
    commitSeconds: Double
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
  }
}

/// What `precompute` did.
public struct PrecomputeResult: Codable, Sendable {
  /// The identity of the content.
  public var cacheDigest: Digest
  /// Records in the cache.
  public var records: Int
  /// Records that this call made; the others were there.
  public var newRecords: Int
  /// Wall time of this call.
  public var seconds: Double
}

/// Runs the teacher over every view that the cache does not hold yet, then seals the cache.
///
/// - Throws: `Problem`: wrong input, a cache of other settings (untouched), a teacher that gives NaN, a
///   full disk, or interruption; everything committed so far stays.
@discardableResult
public func precompute(_ job: PrecomputeJob) throws -> PrecomputeResult {
  let clock = ContinuousClock()
  let start = clock.now
  var work = try BlockWork(job)
  let crew: BlockCrew
  let writer: CacheWriter
  if let stored = try CacheWriter.storedCalibration(path: job.cache, manifest: work.manifest) {
    work.learned(stored)
    writer = try work.openWriter(job)
    crew = BlockCrew(learning: [], writing: writer.missingBlocks(), threads: job.threads)
    crew.calibrated.settle(work.calibrated)
    work.start(crew)
  } else {
    crew = work.newCrew(threads: job.threads)
    work.start(crew)
    do {
      let measured = try calibrate(&work, crew)
      writer = try work.openWriter(job)
      crew.calibrated.settle(work.calibrated)
      let encoder = try BlockEncoder(manifest: work.manifest, calibration: work.calibration)
      try writer.append(measured.map { try encoder.pack($0) })
    } catch {
      crew.cancel()
      throw error
    }
  }
  defer { crew.cancel() }
  let newKeys = crew.learning + crew.writing
  if !crew.writing.isEmpty { try writeBlocks(crew, work, writer, job) }
  return PrecomputeResult(
    cacheDigest: try writer.seal(), records: work.manifest.records,
    newRecords: newKeys.reduce(0) { $0 + work.manifest.samples(of: $1).count },
    seconds: (clock.now - start).inSeconds)
}

/// Learns from the calibration blocks what is learned before the first block is packed.
///
/// Workers do not wait for it: they go on to the teacher's work on the next blocks.
///
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
  _ crew: BlockCrew, _ work: BlockWork, _ writer: CacheWriter, _ job: PrecomputeJob
) throws {
  let keys = crew.writing
  let clock = ContinuousClock()
  let total = work.manifest.records
  var done = total - keys.reduce(0) { $0 + work.manifest.samples(of: $1).count }
  var progress = ProgressLine("precompute", unit: "records", total: total, done: done)
  var pending: [EncodedBlock] = []
  var lastCommit = clock.now
  func commit() throws {
    try writer.append(pending)
    pending.removeAll()
    lastCommit = clock.now
  }
  do {
    for key in keys {
      if Interruption.isRequested { break }
      pending.append(try crew.encoded.next())
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
  private(set) var manifest: Manifest
  private(set) var calibration: Calibration
  private let teacher: any Teacher
  private let augmenter: Augmenter

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
    try CacheWriter(
      path: job.cache, manifest: manifest, labels: labels, calibration: calibration)
  }

  /// The crew of a cache that is begun: it learns from a tenth of the blocks, at most 32, spread over
  /// the whole job.
  func newCrew(threads: Int) -> BlockCrew {
    let keys = manifest.blockKeys
    let count = min(32, max(1, keys.count / 10))
    let chosen = (0..<count).map { $0 * keys.count / count }
    let isChosen = Set(chosen)
    return BlockCrew(
      learning: chosen.map { keys[$0] },
      writing: keys.indices.filter { !isChosen.contains($0) }.map { keys[$0] }, threads: threads)
  }

  /// Starts the crew's threads, each with a teacher session of its own.
  func start(_ crew: BlockCrew) {
    crew.start {
      var worker = try BlockWorker(self, teacher, augmenter)
      return { key, forCalibration in try worker.measure(key, forCalibration: forCalibration) }
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
    encoder = try BlockEncoder(manifest: manifest)
    views = augmenter.makeBatch()
    logits = [Float](repeating: 0, count: manifest.encoding.blockRows * manifest.encoding.classes)
    featureWidth = manifest.encoding.featureWidth ?? 0
    features = [Float](repeating: 0, count: manifest.encoding.blockRows * featureWidth)
  }

  /// Runs the teacher over a block.
  ///
  /// Batches start at the block's first sample and never cross its end: a block is always run in the
  /// same batch shapes, so its bytes do not depend on who makes it, or when.
  mutating func measure(_ key: BlockKey, forCalibration: Bool) throws -> MeasuredBlock {
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
      forCalibration: forCalibration)
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
