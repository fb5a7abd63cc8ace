import Basics
import DataSets
import LogitCache
import Teachers
import Views

/// Everything needed to make any block of a cache.
struct BlockWork: Sendable {
  private(set) var manifest: Manifest
  private(set) var calibration: Calibration
  let teacher: any Teacher
  let augmenter: Augmenter

  init(_ job: PrecomputeJob) throws {
    let dataSet = try openDataSetWithProgress(job.data)
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
    guard job.ranking == nil || k < classes else {
      throw Problem(
        .usage,
        "--ranking full keeps the order of the classes that --k leaves out, and all \(classes) are kept, "
          + "in order: leave out --ranking, or choose a smaller --k")
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
        subspaceTail: job.tail, ranking: job.ranking))
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

  /// Whether the blocks that the cache learned from are measured again: coefficients need the axes.
  var measuresAgain: Bool { manifest.encoding.subspaceTail != nil }

  /// The crew of a cache that is begun.
  func newCrew(_ owned: Range<Int>, threads: Int) -> BlockCrew {
    let learning = manifest.calibrationBlocks
    let made = Set(measuresAgain ? [] : learning)
    let writing = owned.lazy.map { manifest.blockKey(at: $0) }.filter { !made.contains($0) }
    return BlockCrew(learning: learning, writing: Array(writing), threads: threads)
  }

  /// Starts the crew's threads, each with a teacher session of its own.
  func start(_ crew: BlockCrew) { crew.start { try BlockWorker(self) } }
}

/// One thread's teacher session, rows and encoder.
struct BlockWorker {
  private let manifest: Manifest
  private let labels: [Int32]
  private var encoder: BlockEncoder
  private var rows: TeacherRows
  /// Whether it packs blocks as the cache does.
  private(set) var isCalibrated = false
  /// Whether it can measure the cache's blocks before it is calibrated.
  let measuresEarly: Bool

  init(_ work: BlockWork) throws {
    manifest = work.manifest
    labels = work.labels
    measuresEarly = !work.measuresAgain
    encoder = try BlockEncoder(manifest: manifest)
    rows = try TeacherRows(
      work.teacher, work.augmenter, rows: manifest.encoding.blockRows,
      featureWidth: manifest.encoding.featureWidth ?? 0)
  }

  /// Takes over what the cache learned.
  mutating func calibrate(_ job: CalibratedJob) throws {
    encoder = try BlockEncoder(manifest: job.manifest, calibration: job.calibration)
    isCalibrated = true
  }

  /// Runs the teacher over a block.
  ///
  /// Batches start at the block's first sample and never cross its end: a block is always run in the
  /// same batch shapes, so its bytes do not depend on who makes it, or when.
  /// - Parameter learning: which of how many blocks it is that the cache learns from.
  mutating func measure(
    _ key: BlockKey, learning: (index: Int, count: Int)? = nil
  ) throws -> MeasuredBlock {
    let samples = manifest.samples(of: key)
    let digest = try rows.fill(samples, view: key.view)
    let encoding = manifest.encoding
    return try encoder.measure(
      logits: rows.logits.span.extracting(0..<samples.count * encoding.classes),
      labels: Array(labels[samples]), view: key.view, block: key.block,
      firstSample: samples.lowerBound, viewDigest: digest,
      features: rows.features.span.extracting(0..<samples.count * (encoding.featureWidth ?? 0)),
      forCalibration: learning != nil,
      keptRows: learning.map { Calibration.keptRows(encoding, block: $0.index, of: $0.count) } ?? 0)
  }

  /// Writes a measured block with what the cache learned.
  func pack(_ block: MeasuredBlock) throws -> EncodedBlock {
    precondition(isCalibrated, "\(block.key) cannot be packed before the cache has learned")
    return try encoder.pack(block)
  }
}
