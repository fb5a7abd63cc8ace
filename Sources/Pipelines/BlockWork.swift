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
    let dataSet = try openDataSetWithProgress(job.data)
    let recipe = try job.recipe.map { try Recipe(contentsOf: $0) } ?? .identity
    teacher = try openTeacher(
      configuration: job.teacher, for: dataSet, onnxRuntime: job.onnxRuntime)
    let classes = dataSet.classNames.count
    guard teacher.classes == classes else {
      throw Problem(
        .corrupt,
        "teacher \(job.teacher) names \(counted(teacher.classes, "class", "classes")), data set "
          + "\(dataSet.name) has \(classes)"
      )
    }
    let k = try job.kept.headClasses(of: classes)
    let positions = try recordedPositions(teacher, job.teacher, dataSet)
    guard !job.features || positions == nil else {
      throw Problem(
        .configuration,
        "--features are kept of one record per view, and teacher \(job.teacher) speaks at "
          + "\(counted(teacher.positions, "position")) of a view: leave out --features")
    }
    guard !job.features || teacher.featureWidth > 0 else {
      throw Problem(
        .configuration, "teacher \(job.teacher) has no features of its own: leave out --features")
    }
    augmenter = try Augmenter(dataSet: dataSet, recipe: recipe, seed: job.seed)
    manifest = Manifest(
      dataSet: DataSetIdentity(
        name: dataSet.name, fingerprint: dataSet.fingerprint, labels: dataSet.labels,
        positions: dataSet.positions, classNames: dataSet.classNames),
      recipe: RecipeIdentity(digest: recipe.digest, content: recipe.canonical), seed: job.seed,
      views: job.views, teacher: teacher.identity,
      encoding: Encoding(
        classes: classes, k: k, featureWidth: job.features ? teacher.featureWidth : nil,
        subspaceTail: job.kept.tail, ranking: job.kept.ranking, positions: positions))
    try manifest.validate()
  }

  /// The labels of all samples, as the data set has them.
  var labels: [Int32] { augmenter.dataSet.labels }
}

/// Everything needed to make any block of a cache.
struct BlockWork: Sendable {
  private(set) var manifest: Manifest
  private(set) var calibration: Calibration
  /// The labels of all samples, as the data set has them.
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
      if manifest.encoding.subspaceTail == nil, manifest.encoding.positions == nil {
        return try TeacherBlocks(work)
      }
      let rows = try TeacherRows(
        work.teacher, work.augmenter, samples: manifest.encoding.blockRows, manifest.encoding)
      return RowBlocks(manifest, rows: rows)
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

/// At which positions a cache of this teacher and data set has records; `nil` for one record per view.
///
/// - Throws: `Problem(.corrupt)` when the teacher does not speak where the labels are.
private func recordedPositions(
  _ teacher: any Teacher, _ path: String, _ dataSet: any DataSet
) throws -> Positions? {
  guard dataSet.positions > 1 else {
    return teacher.positions > 1 ? Positions(maximum: teacher.positions, labels: .sample) : nil
  }
  guard teacher.positions == dataSet.positions else {
    throw Problem(
      .corrupt,
      "teacher \(path) speaks at \(counted(teacher.positions, "position")) of a "
        + "view, data set \(dataSet.name) has labels for \(dataSet.positions)")
  }
  return Positions(maximum: dataSet.positions, labels: .position)
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
