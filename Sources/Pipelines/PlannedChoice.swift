import Basics
import LogitCache
import Losses
import Reports

/// One choice of the plan and the manifest of its cache.
struct PlannedChoice: Sendable {
  let choice: RowChoice
  /// Of the whole cache.
  private(set) var manifest: Manifest
  /// What blocks are measured and packed with.
  private(set) var calibration: Calibration
  /// The place of the choice from whose blocks it learns: itself, or the first of those with a subspace tail.
  ///
  /// These differ only in their steps, and so full rows are held once.
  let learnsFrom: Int
  /// How many rows of a group are measured: a wide head needs fewer of them.
  private let rowsOfGroup: Int

  /// No more numbers of heads, of coefficients, or of the lists learned from, are held: about 100 MB.
  private static let heldNumbers = 1 << 23

  init(_ choice: RowChoice, _ whole: Manifest, groups: Int, learnsFrom: Int) throws {
    self.choice = choice
    self.learnsFrom = learnsFrom
    var manifest = whole
    let classes = whole.encoding.classes
    manifest.encoding = choice.encoding(
      classes: classes, featureWidth: whole.encoding.featureWidth,
      positions: whole.encoding.positions)
    calibration = .plain(manifest.encoding)
    manifest.calibration = calibration.digest
    try manifest.validate()
    self.manifest = manifest
    let axes = choice.subspaceTail.map { min($0.maximumAxes, classes) } ?? 0
    let ranked = choice.ranking == nil ? 0 : classes
    rowsOfGroup = max(
      32, PlannedChoice.heldNumbers / (max(choice.k, 100) + axes + ranked) / groups)
  }

  /// Takes over what a cache of it would learn, from as many rows as such a cache has for it, or from all there are.
  mutating func learn(from groups: [MeasuredGroup.Choice]) throws {
    let wanted = manifest.calibrationBlocks.count * manifest.encoding.blockRecords
    var rows = 0
    let blocks = groups.flatMap(\.blocks).prefix { block in
      defer { rows += block.certificate.records }
      return rows < wanted
    }
    calibration = try Calibration.learn(Array(blocks), manifest)
    manifest.calibration = calibration.digest
  }

  /// How many full rows one of the groups keeps to learn axes from.
  func keptRows(ofGroup group: Int, of groups: Int) -> Int {
    let learning = min(groups, manifest.calibrationBlocks.count)
    if group >= learning { return 0 }
    return Calibration.keptRows(manifest.encoding, block: group, of: learning)
  }

  /// Measures the rows that are held as blocks of a small data set of their own.
  ///
  /// - Parameter keptRows: full rows to keep to learn from; `nil` for rows that are not learned from.
  func measure(
    _ held: borrowing TeacherRows, samples: Int, keptRows: Int?
  ) throws -> MeasuredGroup.Choice {
    let (labels, places) = (held.labels, held.places)
    func end(of samples: Int) -> Int { places.map { Int($0.starts[samples]) } ?? samples }
    var taken = min(samples, rowsOfGroup)
    while taken > 1, end(of: taken) > rowsOfGroup { taken -= 1 }
    var small = manifest
    small.views = 1
    small.dataSet.samples = taken
    let encoder = try BlockEncoder(manifest: small, calibration: calibration)
    let clock = ContinuousClock()
    let start = clock.now
    let (classes, width) = (small.encoding.classes, small.encoding.featureWidth ?? 0)
    let keys = small.blockKeys
    var result = MeasuredGroup.Choice()
    for (index, key) in keys.enumerated() {
      let samples = small.samples(of: key)
      let rows = end(of: samples.lowerBound)..<end(of: samples.upperBound)
      let kept = (keptRows ?? 0) * (index + 1) / keys.count - (keptRows ?? 0) * index / keys.count
      result.blocks.append(
        try encoder.measure(
          logits: held.logits.span.extracting(
            rows.lowerBound * classes..<rows.upperBound * classes),
          labels: Array(labels[rows]), places: places?.part(samples), view: 0, block: key.block,
          firstSample: samples.lowerBound, viewDigest: Digest(of: "\(key)"),
          features: held.features.span.extracting(
            rows.lowerBound * width..<rows.upperBound * width),
          forCalibration: keptRows != nil, keptRows: kept))
    }
    result.seconds = (clock.now - start).inSeconds
    return result
  }

  /// The line of the plan.
  ///
  /// - Parameters:
  ///   - groups: the sample measured by this choice.
  ///   - records: of a complete cache, as the sample has it.
  ///   - learning: how many groups were learned from.
  ///   - teacherSeconds: seconds of one thread for the teacher's part of a record.
  func row(
    _ groups: [MeasuredGroup.Choice], records: Int, learning: Int, teacherSeconds: Double,
    threads: Int
  ) throws -> (report: PlanReport.Row, size: CacheSize, certificate: Certificate) {
    let encoder = try BlockEncoder(manifest: manifest, calibration: calibration)
    let clock = ContinuousClock()
    let start = clock.now
    let heldOut = groups.count > learning ? groups[learning...] : groups[...]
    let packed = try heldOut.flatMap(\.blocks).map { try encoder.pack($0) }
    let packSeconds = (clock.now - start).inSeconds
    var certificate = Certificate(temperatures: manifest.encoding.temperatures)
    for block in groups.flatMap(\.blocks) { certificate.merge(block.certificate) }
    let packedRecords = packed.reduce(0) { $0 + $1.rows }
    guard packedRecords > 0 else {
      throw Problem(
        .corrupt,
        "bytes are counted on half of the sample's views, and no position of these has a record: take a "
          + "larger --sample-rows")
    }
    let measureSeconds = groups.reduce(0) { $0 + $1.seconds } / Double(certificate.records)
    let seconds =
      teacherSeconds * teacherRuns + measureSeconds + packSeconds / Double(packedRecords)
    let size = try CacheSize(of: manifest, calibration, sample: packed)
    let tail = choice.subspaceTail.flatMap { tail in
      calibration.axes.map {
        PlanReport.Row.Subspace(
          step: Double(tail.step), axes: $0.count, axesBytes: $0.byteCount)
      }
    }
    let report = PlanReport.Row(
      manifest.encoding, tail: choice.tailName, subspaceTail: tail, options: choice.options,
      size: size, records: records, packedRecords: packedRecords,
      hours: seconds * Double(records) / Double(threads) / 3600, certificate: certificate)
    return (report, size, certificate)
  }

  /// How often the teacher sees a record: blocks that axes are learned from are made again.
  private var teacherRuns: Double {
    guard choice.subspaceTail != nil else { return 1 }
    let learning = manifest.calibrationBlocks.reduce(0) { $0 + manifest.samples(of: $1).count }
    return 1 + Double(learning) / Double(manifest.viewedSamples)
  }
}

/// The choices to compare: heads by k, the same with rankings, then subspace tails by step, the coarsest first.
///
/// - Returns: notes, too, that say what is left out, and why.
/// - Throws: `Problem(.usage)` when there are too few classes for them.
func plannedChoices(
  _ request: PlanJob, _ manifest: Manifest, _ sample: PlanSample
) throws -> (choices: [PlannedChoice], notes: [String]) {
  let classes = manifest.encoding.classes
  if let wrong = request.heads?.first(where: { !(1...classes).contains($0) }) {
    throw Problem(.usage, "--k has \(wrong), it must be in 1...\(classes), the number of classes")
  }
  let heads =
    request.heads.map { Set($0).sorted().map { RowChoice(k: $0, of: classes) } }
    ?? RowChoice.standard(classes: classes)
  var tails = request.tails ?? RowChoice.standardTails(classes: classes)
  guard tails.isEmpty || RowChoice.headOfSubspace < classes else {
    throw Problem(
      .usage,
      "--tail-steps is about the classes outside a head of \(RowChoice.headOfSubspace), and the "
        + "teacher has only \(classes): leave it out")
  }
  let rankings = request.ranking.map { ranking in
    heads.filter { $0.k < classes }.map { RowChoice(k: $0.k, of: classes, ranking: ranking) }
  }
  var notes: [String] = []
  if !tails.isEmpty, !sample.hasRowsForAxes {
    tails = []
    notes.append(noteOfNoAxes)
  }
  let sorted = Set(tails).sorted { $0.stepSixteenths > $1.stepSixteenths }
  let withoutTails = heads + (rankings ?? [])
  let choices = withoutTails + sorted.map { RowChoice($0) }
  guard !choices.isEmpty else {
    throw Problem(
      .usage, notes.first ?? "neither --k nor --tail-steps names anything to compare")
  }
  let planned = try choices.enumerated().map { index, choice in
    try PlannedChoice(
      choice, manifest, groups: sample.groups.count, learnsFrom: min(index, withoutTails.count))
  }
  return (planned, notes)
}

/// Why subspace tails are left out.
let noteOfNoAxes =
  "subspace tails are left out: their axes are learned from two records or more, and the half of the sample "
  + "that is learned from has fewer; take a larger --sample-rows, if there are more views"

extension PlanSample {
  /// Whether axes can be learned from one half, which need two rows, and bytes counted on another.
  fileprivate var hasRowsForAxes: Bool {
    groups.count >= 2
      && groups[..<learningGroups].joined().reduce(0) { $0 + $1.samples.count } >= 2
  }
}
