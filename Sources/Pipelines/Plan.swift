import Basics
import LogitCache
import Reports

/// What `plan` was asked for.
public struct PlanJob: Sendable {
  /// The job to plan; what it keeps of a row and its cache are not looked at.
  public var job: PrecomputeJob
  /// The heads to compare; `nil` for a standard set.
  public var heads: [Int]?
  /// The subspace tails to compare, each beside a head of 10; `nil` for steps 8 and 4 where classes are many.
  public var tails: [SubspaceTail]?
  /// The rankings to compare, each beside every head that leaves classes out; `nil` for none.
  public var ranking: Ranking?
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
    _ job: PrecomputeJob, heads: [Int]? = nil, tails: [SubspaceTail]? = nil,
    ranking: Ranking? = nil, sampleRecords: Int = 4096, losses: [String] = [],
    maximumError: Double? = nil,
    budget: Int? = nil
  ) {
    self.job = job
    self.heads = heads
    self.tails = tails
    self.ranking = ranking
    self.sampleRecords = sampleRecords
    self.losses = losses
    self.maximumError = maximumError
    self.budget = budget
  }
}

/// Runs the teacher once over a sample of views and says what caches of the job would be.
///
/// Every choice measures the same rows. What it learns, it learns from one half of them, as many as a cache would;
/// its bytes are counted on the other half. The errors of a subspace tail are measured on that half, too: its
/// records do not exist before its axes are learned.
///
/// - Returns: the report; nothing is chosen in it when nothing fits.
/// - Throws: `Problem`: wrong input, a k that is out of range, a teacher that gives NaN, interruption.
public func plan(_ request: PlanJob) throws -> PlanReport {
  var job = request.job
  job.kept = KeptRecord()
  let work = try TeacherWork(job)
  let wanted = try PlanWish(request)
  let sample = PlanSample(work.manifest, rows: request.sampleRecords, threads: job.making.threads)
  var (choices, notes) = try plannedChoices(request, work.manifest, sample)
  let threads = min(sample.threads, sample.groupsAtOnce(choices))
  let groups = try measure(sample, &choices, work, notes: &notes)
  let records = groups.reduce(0) { $0 + $1.records }
  guard records > 0 else {
    throw Problem(
      .corrupt, "teacher \(job.teacher) says of no position of the sample's views that it counts")
  }
  let teacherSeconds = groups.reduce(0) { $0 + $1.teacherSeconds } / Double(records)
  let recordsOfView = Double(records) / Double(groups.reduce(0) { $0 + $1.samples })
  let allRecords = Int((Double(work.manifest.viewedSamples) * recordsOfView).rounded())
  let rows = try choices.enumerated().map { index, choice in
    try choice.row(
      groups.map { $0.choices[index] }, records: allRecords, learning: sample.learningGroups,
      teacherSeconds: teacherSeconds, threads: job.making.threads)
  }
  let dataSet = work.manifest.dataSet
  var report = PlanReport(
    job: .init(
      dataSet: dataSet.name, samples: dataSet.samples, views: work.manifest.views,
      classes: work.manifest.encoding.classes, records: allRecords,
      positions: work.manifest.encoding.positions.map {
        .init(maximum: $0.maximum, labels: $0.labels.rawValue, mean: recordsOfView)
      }),
    sample: .init(
      records: records, threads: threads, teacherSecondsPerRecord: teacherSeconds),
    rows: rows.map(\.report), notes: notes)
  compareTails(in: &report, rows.map(\.size))
  wanted.choose(in: &report, rows.map(\.certificate))
  report.command = report.chosen.map { command(job, report.rows[$0].options) }
  return report
}

/// Says from how many records on each subspace tail is smaller than the widest head that leaves classes out.
private func compareTails(in report: inout PlanReport, _ sizes: [CacheSize]) {
  let sparse = report.rows.indices.filter {
    report.rows[$0].tail == "ratios" && report.rows[$0].ranking == nil
  }
  guard let widest = sparse.max(by: { report.rows[$0].k < report.rows[$1].k }) else { return }
  let k = report.rows[widest].k
  for index in report.rows.indices where report.rows[index].subspaceTail != nil {
    report.rows[index].subspaceTail?.comparedK = k
    report.rows[index].subspaceTail?.paysFromRecords = sizes[index].recordsToUndercut(
      sizes[widest])
  }
}

/// The command that makes a cache of the job.
private func command(_ job: PrecomputeJob, _ options: [String]) -> [String] {
  ["logitcache", "precompute", "CACHE", "--data", job.data, "--teacher", job.teacher]
    + (job.recipe.map { ["--recipe", $0] } ?? [])
    + ["--views", "\(job.views)", "--seed", "\(job.seed)"] + options
    + (job.features ? ["--features"] : [])
}
