import Basics
import DataSets
import LogitCache
import Teachers
import Views

/// Everything needed to run a job's teacher.
struct TeacherWork: Sendable {
  let manifest: Manifest
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
    let k = try job.kept.headClasses(of: classes)
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
    try manifest.validate()
  }

  /// The label of every sample.
  var labels: [Int32] { augmenter.dataSet.labels }
}

/// Everything needed to make any block of a cache.
struct BlockWork: Sendable {
  private(set) var manifest: Manifest
  private(set) var calibration: Calibration
  /// The label of every sample.
  let labels: [Int32]
  /// Opens, for one thread, what gives the records.
  private let openSource: @Sendable () throws -> any BlockSource

  init(
    _ manifest: Manifest, labels: [Int32],
    openSource: @escaping @Sendable () throws -> any BlockSource
  ) throws {
    self.manifest = manifest
    self.labels = labels
    self.openSource = openSource
    calibration = .plain(manifest.encoding)
    try manifest.validate()
  }

  /// The records of a teacher.
  init(_ job: PrecomputeJob) throws {
    let work = try TeacherWork(job)
    let (manifest, labels) = (work.manifest, work.labels)
    try self.init(manifest, labels: labels) {
      let rows = try TeacherRows(
        work.teacher, work.augmenter, rows: manifest.encoding.blockRows,
        featureWidth: manifest.encoding.featureWidth ?? 0)
      return RowBlocks(manifest, labels: labels, rows: rows)
    }
  }

  mutating func learned(_ calibration: Calibration) {
    self.calibration = calibration
    manifest.calibration = calibration.digest
  }

  /// What workers need to know once the cache has learned.
  var calibrated: CalibratedJob { CalibratedJob(manifest: manifest, calibration: calibration) }

  func openWriter(_ making: CacheMaking) throws -> CacheWriter {
    let writer = try CacheWriter(
      path: making.cache, manifest: manifest, labels: labels, calibration: calibration)
    try writer.note(making.shard)
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

  /// Starts the crew's threads, each with a source of its own, such as a teacher's session.
  func start(_ crew: BlockCrew) { crew.start { try BlockWorker(self, openSource()) } }
}

/// One thread's source of records, and its encoder.
struct BlockWorker {
  private let manifest: Manifest
  private var encoder: BlockEncoder
  private var source: any BlockSource
  /// Whether it packs blocks as the cache does.
  private(set) var isCalibrated = false
  /// Whether it can measure the cache's blocks before it is calibrated.
  let measuresEarly: Bool

  init(_ work: BlockWork, _ source: any BlockSource) throws {
    manifest = work.manifest
    measuresEarly = !work.measuresAgain
    encoder = try BlockEncoder(manifest: manifest)
    self.source = source
  }

  /// Takes over what the cache learned.
  mutating func calibrate(_ job: CalibratedJob) throws {
    encoder = try BlockEncoder(manifest: job.manifest, calibration: job.calibration)
    isCalibrated = true
  }

  /// Makes the records of a block.
  ///
  /// - Parameter learning: which of how many blocks it is that the cache learns from.
  mutating func measure(
    _ key: BlockKey, learning: (index: Int, count: Int)? = nil
  ) throws -> MeasuredBlock {
    try source.measure(key, encoder, learning: learning)
  }

  /// Writes a measured block with what the cache learned.
  func pack(_ block: MeasuredBlock) throws -> EncodedBlock {
    precondition(isCalibrated, "\(block.key) cannot be packed before the cache has learned")
    return try encoder.pack(block)
  }
}
