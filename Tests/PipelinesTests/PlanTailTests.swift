import Basics
import LogitCache
import Pipelines
import Reports
import Schemas
import TestSupport
import Testing

/// The plan as `plan --json` prints it.
private func json(_ report: PlanReport) throws -> JSONValue {
  let value = try parseJSON(readableJSON(report).utf8, source: "the plan")
  try Schemas.validate(value, against: .plan, source: "the plan")
  return value
}

private func steps(_ sixteenths: Int...) -> [SubspaceTail] {
  sixteenths.map { SubspaceTail(stepSixteenths: $0) }
}

/// Every row's mean squared error of the logits, relative to their variance.
private func energies(_ report: PlanReport) throws -> [Double] {
  try (json(report)["rows"]?.array ?? []).map {
    try #require($0["certificate"]?["mseMissingEnergy"]?["mean"]?.double)
  }
}

@Suite struct PlanTailTests {
  /// As for heads: bytes of a record within 5 %, of the file within 10 % and 64 kB, mean errors within 10 %.
  @Test(arguments: [(30, false), (80, true)])
  func `the cache with a subspace tail is what the plan said`(classes: Int, features: Bool) throws {
    let workshop = try Workshop(samples: 6000, classes: classes)
    let report = try plan(
      PlanJob(workshop.job(features: features), heads: [10], tails: steps(1, 4)))
    #expect(report.rows.map(\.tail) == ["ratios", "subspace", "subspace"])
    #expect(report.rows.map { $0.subspaceTail?.step } == [nil, 0.25, 0.0625])
    let value = try json(report)
    for (index, row) in report.rows.enumerated().dropFirst() {
      let tail = try #require(row.subspaceTail)
      var job = workshop.job("cache-\(index)", features: features)
      (job.kept.k, job.kept.tail) = (10, SubspaceTail(step: tail.step))
      try precompute(job)
      let reader = try CacheReader(path: job.making.cache)
      let axes = try #require(reader.axes)
      #expect(abs(tail.axes - axes.count) <= 1 && axes.count > 2)
      #expect(tail.axesBytes <= row.calibrationBytes)
      var stored = 0
      try reader.forEachBlock { _, info in stored += info.storedBytes }
      let real = Double(stored) / 12_000
      #expect(abs(row.bytesPerRecord - real) < 0.05 * real, "\(row.bytesPerRecord), \(real)")
      let file = Double(reader.fileBytes)
      #expect(
        abs(Double(row.cacheBytes) - file) < 0.1 * file + 65_536, "\(row.cacheBytes), \(file)")
      #expect(row.measuredRecords < report.sample.records && row.packedRecords >= 2000)
      let (said, found) = (value["rows"]?[index]?["certificate"], try reader.certificate())
      func expectClose(_ said: JSONValue?, _ found: Double, _ name: String) throws {
        let mean = try #require(said?["mean"]?.double)
        #expect(abs(mean - found) <= 0.1 * found, "\(name): said \(mean), found \(found)")
      }
      for (place, errors) in found.atTemperature.enumerated() {
        let at = said?["atTemperature"]?[place]
        try expectClose(at?["kdGradientError"], errors.kdGradientError.mean, "kd \(place)")
        try expectClose(at?["totalVariation"], errors.totalVariation.mean, "tv \(place)")
      }
      try expectClose(said?["mseMissingEnergy"], found.mseMissingEnergy.mean, "energy")
    }
  }

  @Test func `the number of records from which a tail pays follows from the bytes`() throws {
    let workshop = try Workshop(samples: 6000, classes: 80)
    let report = try plan(PlanJob(workshop.job(), heads: [5, 70, 80], tails: steps(1, 16)))
    let wide = report.rows[1]
    for row in report.rows[3...] {
      let tail = try #require(row.subspaceTail)
      #expect(tail.comparedK == 70)
      let extra = Double(row.calibrationBytes - wide.calibrationBytes)
      let saved = wide.bytesPerRecord - row.bytesPerRecord
      let pays = Double(try #require(tail.paysFromRecords))
      // The index entries are left out here.
      #expect(abs(pays - max(1, extra / saved)) <= 0.1 * pays + 1, "\(pays), \(extra), \(saved)")
    }
    #expect(report.text.contains("10 S=0.0625: "))
    #expect(report.text.contains("smaller than k = 70 from "))
  }

  @Test func `a tail larger than the head it is compared with never pays`() throws {
    let workshop = try Workshop(samples: 600, classes: 80)
    let report = try plan(PlanJob(workshop.job(), heads: [1], tails: steps(1)))
    let tail = try #require(report.rows[1].subspaceTail)
    #expect(tail.comparedK == 1 && tail.paysFromRecords == nil)
    #expect(report.text.contains("never smaller than k = 1"))
    let alone = try plan(PlanJob(workshop.job(), heads: [], tails: steps(1)))
    #expect(alone.rows.count == 1 && alone.rows[0].subspaceTail?.comparedK == nil)
    _ = try json(alone)
  }

  @Test func `threads change nothing but times with tails`() throws {
    let workshop = try Workshop(samples: 3000, classes: 20)
    let reports = try [1, 2, 5].map { threads in
      var job = workshop.job(views: 3)
      job.making.threads = threads
      var report = try plan(
        PlanJob(job, heads: [5], tails: steps(4, 16), sampleRecords: 7000))
      report.sample = .init(records: 0, threads: 0, teacherSecondsPerRecord: 0)
      for index in report.rows.indices { report.rows[index].hours = 0 }
      return try canonicalJSON(report)
    }
    #expect(Set(reports).count == 1)
  }

  @Test func `tails are looked at unasked where classes are many`() throws {
    let many = try Workshop(classes: 70)
    func tails(_ workshop: Workshop, _ tails: [SubspaceTail]? = nil) throws -> [Double] {
      try plan(PlanJob(workshop.job(), heads: [10], tails: tails)).rows
        .compactMap { $0.subspaceTail?.step }
    }
    #expect(try tails(many) == [8, 4])
    #expect(try tails(many, []) == [])
    #expect(try tails(many, steps(1, 40, 1)) == [2.5, 0.0625])
    #expect(try tails(Workshop(classes: 60)) == [])
    let few = try Workshop(classes: 10)
    let problem = #expect(throws: Problem.self) {
      try plan(PlanJob(few.job(), tails: steps(4)))
    }
    #expect(problem?.kind == .usage && problem?.message.contains("--tail-steps") == true)
  }
}

@Suite struct PlanSmallSampleTests {
  /// Asked for or not; one row to learn from is too few for axes.
  @Test(arguments: [1, 2, 3], [nil, steps(4)])
  func `tails are left out of a small sample with a note, and the rest is planned`(
    samples: Int, tails: [SubspaceTail]?
  ) throws {
    let workshop = try Workshop(samples: samples, classes: 70)
    let report = try plan(PlanJob(workshop.job(views: 1), heads: [10], tails: tails))
    #expect(report.rows.map(\.tail) == ["ratios"])
    #expect(report.notes.count == 1 && report.text.contains("subspace tails are left out"))
    _ = try json(report)
    let problem = #expect(throws: Problem.self) {
      try plan(PlanJob(workshop.job(views: 1), heads: [], tails: steps(4)))
    }
    #expect(problem?.kind == .usage && problem?.message.contains("--sample-rows") == true)
  }

  @Test func `four views are enough for axes`() throws {
    let workshop = try Workshop(samples: 4, classes: 70)
    let report = try plan(PlanJob(workshop.job(views: 1), heads: [10]))
    #expect(report.rows.map(\.tail) == ["ratios", "subspace", "subspace"])
    #expect(report.notes == [])
  }
}

@Suite struct PlanTailChoiceTests {
  private let workshop: Workshop

  init() throws { workshop = try Workshop(samples: 1500, classes: 80) }

  private func plan(
    losses: [String], maximumError: Double? = nil, budget: Int? = nil
  ) throws -> PlanReport {
    try Pipelines.plan(
      PlanJob(
        workshop.job(), heads: [5, 20, 70], tails: steps(4, 1),
        losses: losses, maximumError: maximumError, budget: budget))
  }

  @Test func `a loss on all logits chooses a tail, and the command makes it`() throws {
    let report = try plan(losses: ["mse"], maximumError: 0.005)
    let row = report.rows[try #require(report.chosen)]
    #expect(row.tail == "subspace")
    let step = row.subspaceTail?.step == 0.25 ? "1/4" : "1/16"
    #expect(row.options == ["--tail", "subspace", "--tail-step", step, "--k", "10"])
    #expect(report.command?.suffix(6) == row.options[...])
    #expect(report.text.contains("* k = 10 S=\(row.subspaceTail!.step): smallest, with mse"))
    // The smallest of those within the bound.
    for (other, energy) in zip(report.rows, try energies(report)) where energy <= 0.005 {
      #expect(other.cacheBytes >= row.cacheBytes)
    }
  }

  @Test func `heads and tails compete for a budget`() throws {
    let all = try plan(losses: ["mse"], budget: 1 << 40)
    let errors = try energies(all)
    for row in all.rows {
      let report = try plan(losses: ["mse"], budget: row.cacheBytes)
      let fitting = all.rows.indices.filter { all.rows[$0].cacheBytes <= row.cacheBytes }
      #expect(report.chosen == fitting.min { errors[$0] < errors[$1] })
    }
  }

  @Test func `when nothing fits the tails are named, too`() throws {
    let report = try plan(losses: ["mse"], maximumError: 1e-12)
    let problem = try #require(report.problem)
    #expect(
      problem.message.contains("none of k = 5, 20, 70, 10 S=0.25, 10 S=0.0625 has"),
      "\(problem.message)")
  }
}
