import Basics
import Foundation
import LogitCache
import Losses
import Reports

/// What `plan` was asked for.
public struct PlanJob: Sendable {
  /// The job to plan; its k and its cache are not looked at.
  public var job: PrecomputeJob
  /// The heads to compare; `nil` for a standard set.
  public var heads: [Int]?
  /// How many records the teacher is run for.
  public var sampleRecords: Int
  /// The losses whose errors matter, as text; empty for KD and PLD at the planned temperatures.
  public var losses: [String]
  /// No mean error of these losses may be larger; `nil` for what `train` accepts, or for no bound when there
  /// is a budget.
  public var maximumError: Double?
  /// The cache may have so many bytes.
  public var budget: Int?

  /// All settings.
  public init(
    _ job: PrecomputeJob, heads: [Int]? = nil, sampleRecords: Int = 4096, losses: [String] = [],
    maximumError: Double? = nil, budget: Int? = nil
  ) {
    self.job = job
    self.heads = heads
    self.sampleRecords = sampleRecords
    self.losses = losses
    self.maximumError = maximumError
    self.budget = budget
  }
}

/// Runs the teacher once over a sample of views and says what caches of the job would be.
///
/// Every choice measures the same rows. What it learns, it learns from one half of them, as many as a cache would;
/// its bytes are counted on the other half.
///
/// - Returns: the report; nothing is chosen in it when nothing fits.
/// - Throws: `Problem`: wrong input, a k that is out of range, a teacher that gives NaN, interruption.
public func plan(_ request: PlanJob) throws -> PlanReport {
  var job = request.job
  job.k = nil
  let work = try BlockWork(job)
  let wanted = try PlanWish(request)
  let sample = PlanSample(work.manifest, rows: request.sampleRecords, threads: job.threads)
  let choices = try choices(request.heads, work.manifest, groups: sample.groups.count)
  let groups = try measure(sample, choices, work)
  let records = groups.reduce(0) { $0 + $1.records }
  let teacherSeconds = groups.reduce(0) { $0 + $1.teacherSeconds } / Double(records)
  let rows = try choices.enumerated().map { index, choice in
    try choice.row(
      groups.map { $0.choices[index] }, learning: sample.learningGroups,
      teacherSeconds: teacherSeconds, threads: job.threads)
  }
  let dataSet = work.manifest.dataSet
  var report = PlanReport(
    job: .init(
      dataSet: dataSet.name, samples: dataSet.samples, views: work.manifest.views,
      classes: work.manifest.encoding.classes),
    sample: .init(
      records: records, threads: min(sample.threads, sample.groups.count),
      teacherSecondsPerRecord: teacherSeconds),
    rows: rows.map(\.report))
  wanted.choose(in: &report, rows.map(\.certificate))
  report.command = report.chosen.map { command(job, report.rows[$0].options) }
  return report
}

/// One choice of the plan and the manifest of its cache.
private struct PlannedChoice: Sendable {
  let choice: RowChoice
  /// Of the whole cache; it learned nothing.
  let manifest: Manifest
  /// How many rows of a group are measured: a wide head needs fewer of them.
  let rowsOfGroup: Int

  /// No more numbers of heads, or of the lists learned from, are held: about 100 MB.
  private static let heldNumbers = 1 << 23

  init(_ choice: RowChoice, _ whole: Manifest, groups: Int) throws {
    self.choice = choice
    var manifest = whole
    manifest.encoding = choice.encoding(
      classes: whole.encoding.classes, featureWidth: whole.encoding.featureWidth)
    manifest.calibration = Calibration.plain(manifest.encoding).digest
    try manifest.validate()
    self.manifest = manifest
    rowsOfGroup = max(32, PlannedChoice.heldNumbers / max(choice.k, 100) / groups)
  }
}

private func choices(
  _ heads: [Int]?, _ manifest: Manifest, groups: Int
) throws -> [PlannedChoice] {
  let classes = manifest.encoding.classes
  if let wrong = heads?.first(where: { !(1...classes).contains($0) }) {
    throw Problem(.usage, "--k has \(wrong), it must be in 1...\(classes), the number of classes")
  }
  let choices =
    heads.map { Set($0).sorted().map { RowChoice(k: $0, of: classes) } }
    ?? RowChoice.standard(classes: classes)
  return try choices.map { try PlannedChoice($0, manifest, groups: groups) }
}

/// What one group of rows came to.
private struct MeasuredGroup: Sendable {
  /// What one choice makes of the rows.
  struct Choice: Sendable {
    var blocks: [MeasuredBlock] = []
    var rows = 0
    var seconds = 0.0
  }

  var records = 0
  var teacherSeconds = 0.0
  var choices: [Choice] = []
}

/// Runs the teacher over the sample, group by group, and measures every group with every choice.
private func measure(
  _ sample: PlanSample, _ choices: [PlannedChoice], _ work: BlockWork
) throws -> [MeasuredGroup] {
  let count = sample.groups.count
  let rows = sample.groups.map { $0.reduce(0) { $0 + $1.samples.count } }.max() ?? 0
  let queue = OrderedResults<MeasuredGroup>(count: count, ahead: count)
  queue.start(threads: min(sample.threads, count)) {
    var held = try TeacherRows(
      work.teacher, work.augmenter, rows: rows,
      featureWidth: work.manifest.encoding.featureWidth ?? 0)
    return { group in
      try measure(
        sample.groups[group], choices, work, &held, isForLearning: group < sample.learningGroups)
    }
  }
  defer { queue.cancel() }
  var progress = ProgressLine("plan", unit: "groups of views", total: count)
  defer { progress.clear() }
  return try (0..<count).map { done in
    if Interruption.isRequested {
      throw Interruption.problem(after: "\(done) of \(count) groups of views")
    }
    let group = try queue.next()
    progress.update(done: done + 1)
    return group
  }
}

private func measure(
  _ runs: [PlanSample.Run], _ choices: [PlannedChoice], _ work: BlockWork,
  _ rows: inout TeacherRows, isForLearning: Bool
) throws -> MeasuredGroup {
  var group = MeasuredGroup()
  var labels: [Int32] = []
  let clock = ContinuousClock()
  let start = clock.now
  for run in runs {
    try rows.fill(run.samples, view: run.view, row: labels.count)
    try check(run, from: labels.count, rows, work)
    labels += work.labels[run.samples]
  }
  group.records = labels.count
  group.teacherSeconds = (clock.now - start).inSeconds
  for choice in choices {
    let start = clock.now
    var measured = try choice.measure(rows, labels, isForLearning: isForLearning)
    measured.seconds = (clock.now - start).inSeconds
    group.choices.append(measured)
  }
  return group
}

/// Refuses rows that cannot be recorded by their own sample and view; the choices know only places in the group.
private func check(
  _ run: PlanSample.Run, from first: Int, _ rows: borrowing TeacherRows, _ work: BlockWork
) throws {
  let classes = work.manifest.encoding.classes
  try rows.logits.withUnsafeBufferPointer { logits in
    for (row, sample) in run.samples.enumerated() {
      let place = (first + row) * classes
      try BlockEncoder.check(
        UnsafeBufferPointer(rebasing: logits[place..<place + classes]),
        label: work.labels[sample], sample: sample, view: run.view)
    }
  }
}

extension PlannedChoice {
  /// Measures the rows that are held as blocks of a small data set of their own.
  func measure(
    _ held: borrowing TeacherRows, _ labels: [Int32], isForLearning: Bool
  ) throws -> MeasuredGroup.Choice {
    let rows = min(labels.count, rowsOfGroup)
    var small = manifest
    small.views = 1
    small.dataSet = DataSetIdentity(
      name: manifest.dataSet.name, fingerprint: manifest.dataSet.fingerprint,
      labels: Array(labels[..<rows]), classNames: manifest.dataSet.classNames)
    let encoder = try BlockEncoder(manifest: small)
    let (classes, width) = (small.encoding.classes, small.encoding.featureWidth ?? 0)
    var result = MeasuredGroup.Choice(rows: rows)
    for key in small.blockKeys {
      let samples = small.samples(of: key)
      result.blocks.append(
        try encoder.measure(
          logits: held.logits.span.extracting(
            samples.lowerBound * classes..<samples.upperBound * classes),
          labels: Array(labels[samples]), view: 0, block: key.block,
          firstSample: samples.lowerBound, viewDigest: Digest(of: "\(key)"),
          features: held.features.span.extracting(
            samples.lowerBound * width..<samples.upperBound * width),
          forCalibration: isForLearning))
    }
    return result
  }

  /// The line of the plan.
  ///
  /// - Parameters:
  ///   - groups: the sample measured by this choice.
  ///   - learning: how many groups may be learned from.
  ///   - teacherSeconds: seconds of one thread to render and answer one view.
  func row(
    _ groups: [MeasuredGroup.Choice], learning: Int, teacherSeconds: Double, threads: Int
  ) throws -> (report: PlanReport.Row, certificate: Certificate) {
    let clock = ContinuousClock()
    let calibration = try Calibration.learn(learningBlocks(groups[..<learning]), manifest)
    var learned = manifest
    learned.calibration = calibration.digest
    let encoder = try BlockEncoder(manifest: learned, calibration: calibration)
    let start = clock.now
    let heldOut = groups.count > learning ? groups[learning...] : groups[...]
    let packed = try heldOut.flatMap(\.blocks).map { try encoder.pack($0) }
    let packSeconds = (clock.now - start).inSeconds
    var certificate = Certificate(temperatures: manifest.encoding.temperatures)
    for block in groups.flatMap(\.blocks) { certificate.merge(block.certificate) }
    let packedRecords = packed.reduce(0) { $0 + $1.rows }
    let measureSeconds = groups.reduce(0) { $0 + $1.seconds } / Double(certificate.records)
    let seconds = teacherSeconds + measureSeconds + packSeconds / Double(packedRecords)
    let report = PlanReport.Row(
      manifest.encoding, tail: choice.tail.rawValue, options: choice.options,
      size: try CacheSize(of: learned, calibration, sample: packed), records: manifest.records,
      packedRecords: packedRecords,
      hours: seconds * Double(manifest.records) / Double(threads) / 3600, certificate: certificate)
    return (report, certificate)
  }

  /// As many rows as a cache of the whole job would learn from, or all there are.
  private func learningBlocks(_ groups: ArraySlice<MeasuredGroup.Choice>) -> [MeasuredBlock] {
    let wanted = manifest.calibrationBlocks.count * manifest.encoding.blockRows
    var rows = 0
    return groups.flatMap(\.blocks).prefix { block in
      defer { rows += block.certificate.records }
      return rows < wanted
    }
  }
}

/// The command that makes a cache of the job.
private func command(_ job: PrecomputeJob, _ options: [String]) -> [String] {
  ["logitcache", "precompute", "CACHE", "--data", job.data, "--teacher", job.teacher]
    + (job.recipe.map { ["--recipe", $0] } ?? [])
    + ["--views", "\(job.views)", "--seed", "\(job.seed)"] + options
    + (job.features ? ["--features"] : [])
}
