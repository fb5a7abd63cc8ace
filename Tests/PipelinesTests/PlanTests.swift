import Basics
import LogitCache
import Pipelines
import Reports
import Schemas
import TestSupport
import Testing

/// The plan as `plan --json` prints it.
private func json(_ report: some Encodable) throws -> JSONValue {
  let value = try parseJSON(readableJSON(report).utf8, source: "the plan")
  try Schemas.validate(value, against: .plan, source: "the plan")
  return value
}

extension PlanReport {
  /// What does not depend on the clock.
  fileprivate func withoutTimes() throws -> String {
    var report = self
    report.sample.teacherSecondsPerRecord = 0
    report.sample.threads = 0
    for index in report.rows.indices { report.rows[index].hours = 0 }
    return try canonicalJSON(report)
  }
}

@Suite struct PlanTests {
  /// Bytes of a record within 5 %, of the file within 10 % and 64 kB (pages that LMDB rewrites), mean errors within
  /// 10 %: what a sample of a third of a small job, counted on other rows than those learned from, comes to.
  @Test(arguments: [(30, false), (60, true)])
  func `the cache is what the plan said`(classes: Int, features: Bool) throws {
    let workshop = try Workshop(samples: 6000, classes: classes)
    let heads = [3, 10, classes]
    let report = try plan(
      PlanJob(workshop.job(features: features), heads: heads, sampleRecords: 4096))
    #expect(report.rows.map(\.k) == heads)
    #expect(report.rows.map(\.tail) == ["ratios", "ratios", "none"])
    #expect(report.job.records == 12_000)
    for row in report.rows {
      var job = workshop.job("cache-\(row.k)", features: features)
      job.kept.k = row.k
      try precompute(job)
      let reader = try CacheReader(path: job.making.cache)
      var stored = 0
      try reader.forEachBlock { _, info in stored += info.storedBytes }
      let real = Double(stored) / 12_000
      #expect(
        abs(row.bytesPerRecord - real) < 0.05 * real, "k \(row.k): \(row.bytesPerRecord), \(real)")
      let file = Double(reader.fileBytes)
      #expect(
        abs(Double(row.cacheBytes) - file) < 0.1 * file + 65_536,
        "k \(row.k): \(row.cacheBytes), \(file)")
      #expect(row.blockRows == reader.manifest.encoding.blockRows)
      let (said, found) = (try json(report), try reader.certificate())
      let index = report.rows.firstIndex { $0.k == row.k }!
      for (place, errors) in found.atTemperature.enumerated() {
        let at = said["rows"]?[index]?["certificate"]?["atTemperature"]?[place]
        let mean = at?["kdGradientError"]?["mean"]?.double ?? -1
        #expect(abs(mean - errors.kdGradientError.mean) < 0.1 * errors.kdGradientError.mean)
      }
    }
  }

  /// As above, with the order of all classes behind the head.
  @Test func `a ranking costs what the plan said`() throws {
    let workshop = try Workshop(samples: 6000, classes: 30)
    let report = try plan(
      PlanJob(workshop.job(), heads: [3, 30], ranking: .full, sampleRecords: 4096))
    // Nothing is behind a head of all classes.
    #expect(report.rows.map(\.k) == [3, 30, 3])
    #expect(report.rows.map(\.ranking) == [nil, nil, "full"])
    #expect(report.rows[2].options == ["--k", "3", "--ranking", "full"])
    #expect(report.text.contains("3 ranked"))
    _ = try json(report)
    var job = workshop.job("cache")
    (job.kept.k, job.kept.ranking) = (3, .full)
    try precompute(job)
    let reader = try CacheReader(path: job.making.cache)
    var stored = 0
    try reader.forEachBlock { _, info in stored += info.storedBytes }
    let real = Double(stored) / 12_000
    let said = report.rows[2].bytesPerRecord
    #expect(abs(said - real) < 0.05 * real, "\(said), \(real)")
    #expect(said > report.rows[0].bytesPerRecord)
    #expect(report.rows[2].blockRows == reader.manifest.encoding.blockRows)
  }

  @Test(arguments: [(300, 2), (1, 1), (3, 1), (129, 3), (2500, 1)])
  func `a sample of everything measures every record once`(samples: Int, views: Int) throws {
    let workshop = try Workshop(samples: samples)
    var job = workshop.job(views: views)
    let report = try plan(PlanJob(job, heads: [2], sampleRecords: 100_000))
    #expect(report.sample.records == samples * views)
    #expect(report.rows[0].measuredRecords == samples * views)
    job.kept.k = 2
    try precompute(job)
    let certificate = try CacheReader(path: job.making.cache).certificate()
    let mean = try json(report)["rows"]?[0]?["certificate"]?["mseMissingEnergy"]?["mean"]?.double
    let real = certificate.mseMissingEnergy.mean
    #expect(abs(try #require(mean) - real) <= 1e-9 * max(real, 1))
  }

  @Test(arguments: [1, 2])
  func `a teacher that gives NaN is refused by its sample and view`(threads: Int) throws {
    let workshop = try Workshop(samples: 2100, side: 6, network: "mlp")
    var pictures = workshop.pictures
    for sample in 0..<2100 { pictures.pixels[sample * 36] = sample == 1777 ? 255 : 0 }
    var job = workshop.job(views: 1)
    job.data = try pictures.write(to: workshop.folder, name: "one-bright-corner")
    try workshop.overflowOnBrightCorner()
    (job.recipe, job.making.threads) = (nil, threads)
    let problem = #expect(throws: Problem.self) { try plan(PlanJob(job)) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("sample 1777, view 0") == true, "\(problem!)")
  }

  @Test func `threads change nothing but times`() throws {
    let workshop = try Workshop(samples: 3000, classes: 12)
    let reports = try [1, 2, 5].map { threads in
      var job = workshop.job(views: 3)
      job.making.threads = threads
      return try plan(PlanJob(job, sampleRecords: 7000)).withoutTimes()
    }
    #expect(Set(reports).count == 1)
  }

  @Test func `the standard set of heads ends at the classes`() throws {
    let workshop = try Workshop(classes: 24)
    #expect(try plan(PlanJob(workshop.job())).rows.map(\.k) == [5, 10, 20, 24])
    let problem = #expect(throws: Problem.self) {
      try plan(PlanJob(workshop.job(), heads: [5, 25]))
    }
    #expect(problem?.kind == .usage && problem?.message.contains("--k has 25") == true)
  }
}

@Suite struct PlanChoiceTests {
  private func plan(
    _ workshop: Workshop, losses: [String] = [], maximumError: Double? = nil, budget: Int? = nil
  ) throws -> PlanReport {
    try Pipelines.plan(
      PlanJob(
        workshop.job(), heads: Array(1...12), losses: losses, maximumError: maximumError,
        budget: budget))
  }

  /// The mean of a bounded measure of a row.
  private func mean(_ report: JSONValue, _ row: Int, _ measure: String) throws -> Double {
    let certificate = report["rows"]?[row]?["certificate"]
    let parts = measure.split(separator: "@").map(String.init)
    let place =
      parts.count == 1
      ? certificate
      : certificate?["atTemperature"]?.array?.first { $0["temperature"]?.string == parts[1] }
    return try #require(place?[parts[0]]?["mean"]?.double)
  }

  @Test(arguments: [0.3, 0.1, 0.03, 0.01])
  func `the smallest cache within the bounds is chosen`(limit: Double) throws {
    let workshop = try Workshop(samples: 1500, classes: 12)
    let report = try plan(workshop, losses: ["pld", "kd@4"], maximumError: limit)
    let value = try json(report)
    #expect(
      report.bounds.map(\.measure) == ["pldDroppedWeight@1", "kdGradientError@4", "distAngle@4"])
    let fitting = try report.rows.indices.filter { row in
      try report.bounds.allSatisfy { try mean(value, row, $0.measure) <= limit }
    }
    let smallest = fitting.min { report.rows[$0].cacheBytes < report.rows[$1].cacheBytes }
    #expect(report.chosen == smallest && smallest != nil)
    #expect(report.problem == nil)
    let chosen = report.rows[try #require(report.chosen)]
    #expect(report.command?.suffix(2) == ["--k", "\(chosen.k)"])
    #expect(report.text.contains("\(chosen.k)*"))
  }

  @Test func `a temperature at which nothing is measured is only served by all classes`() throws {
    let workshop = try Workshop(samples: 600, classes: 12)
    #expect(try plan(workshop, losses: ["kd@3"]).chosen == 11)
    let report = try Pipelines.plan(PlanJob(workshop.job(), heads: [4, 11], losses: ["kd@3"]))
    #expect(report.problem?.message.contains("measured at T = 1, 2, 4") == true)
  }

  @Test func `losses alone are bounded by what train accepts`() throws {
    let workshop = try Workshop(samples: 600, classes: 12)
    let report = try plan(workshop, losses: ["kd@4"])
    let row = report.rows[try #require(report.chosen)]
    for k in [row.k, row.k - 1] where k > 0 {
      var job = workshop.job("cache-\(k)")
      job.kept.k = k
      try precompute(job)
      let training = try workshop.plan("kd@4", epochs: 1, "cache: cache-\(k)")
      if k == row.k {
        #expect(throws: Never.self) { try train(training, workshop.options("out-\(k)")) }
      } else {
        #expect(throws: Problem.self) { try train(training, workshop.options("out-\(k)")) }
      }
    }
  }

  @Test func `the most exact cache that fits is chosen, and all of them fit in enough`() throws {
    let workshop = try Workshop(samples: 1500, classes: 12)
    #expect(try plan(workshop, budget: 1 << 40).chosen == 11)
    let all = try plan(workshop)
    #expect(all.chosen == nil && all.command == nil && all.problem == nil)
    let sizes = all.rows.map(\.cacheBytes)
    for row in all.rows {
      let report = try plan(workshop, budget: row.cacheBytes)
      let chosen = try #require(report.chosen)
      #expect(sizes[chosen] <= row.cacheBytes)
      // More classes are more exact: none that fits has more.
      #expect(
        !all.rows.contains { $0.k > report.rows[chosen].k && $0.cacheBytes <= row.cacheBytes })
    }
  }

  @Test(arguments: [(nil, 1000), (1e-12, nil), (1e-3, 1000)] as [(Double?, Int?)])
  func `when nothing fits the report says so`(maximumError: Double?, budget: Int?) throws {
    let workshop = try Workshop(samples: 600, classes: 12)
    let report = try plan(workshop, losses: ["kd@4"], maximumError: maximumError, budget: budget)
    _ = try json(report)
    #expect(report.chosen == nil && report.command == nil)
    let problem = try #require(report.problem)
    #expect(
      problem.kind == .unavailable && problem.message.contains("for kd@4, none of k = 1, 2, 3"))
    #expect(budget == nil || problem.message.contains("at most 1.00 kB"))
    #expect(
      maximumError == nil || problem.message.contains("kdGradientError@4 of at most"))
  }
}

@Suite struct PlanSampleTests {
  private func manifest(samples: Int, views: Int, classes: Int) -> Manifest {
    Manifest(
      dataSet: DataSetIdentity(
        name: "a", fingerprint: Digest(of: "a"), labels: [Int32](repeating: 0, count: samples),
        classNames: []),
      recipe: RecipeIdentity(digest: Digest(of: "a"), content: .null), seed: 1, views: views,
      teacher: .null, encoding: Encoding(classes: classes, k: 1))
  }

  @Test(arguments: 1...60)
  func `runs are of the job, apart from each other and about as many as asked for`(
    seed: UInt64
  ) throws {
    var generator = SeededGenerator(seed: seed)
    let samples = Int.random(in: 1...20_000, using: &generator)
    let views = Int.random(in: 1...5, using: &generator)
    let classes = [2, 1000, 20_000, 1 << 20, 1 << 24].randomElement(using: &generator)!
    let rows = Int.random(in: 2...9000, using: &generator)
    let threads = Int.random(in: 1...64, using: &generator)
    let job = manifest(samples: samples, views: views, classes: classes)
    let sample = PlanSample(job, rows: rows, threads: threads)
    let runs = sample.groups.flatMap { $0 }.sorted {
      ($0.view, $0.samples.lowerBound) < ($1.view, $1.samples.lowerBound)
    }
    #expect(runs.allSatisfy { (0..<views).contains($0.view) && !$0.samples.isEmpty })
    #expect(runs.allSatisfy { $0.samples.upperBound <= samples })
    for (a, b) in zip(runs, runs.dropFirst()) where a.view == b.view {
      #expect(a.samples.upperBound <= b.samples.lowerBound)
    }
    // No sample comes a second time before all others had their turn.
    let times = Dictionary(grouping: runs, by: \.samples.lowerBound).mapValues(\.count)
    let length = (samples + runs[0].samples.count - 1) / runs[0].samples.count
    #expect(times.values.max()! <= (runs.count + length - 1) / length)
    let count = runs.reduce(0) { $0 + $1.samples.count }
    let wanted = min(rows, samples * views)
    #expect(count <= wanted + 127 && count >= wanted / 2, "\(count) of \(wanted)")
    #expect(sample.groups.allSatisfy { !$0.isEmpty })
    #expect(sample.learningGroups <= sample.groups.count)
    let held = sample.groups.map { $0.reduce(0) { $0 + $1.samples.count } }.max()!
    let numbers = held * sample.threads * classes
    #expect(numbers <= PlanSample.heldNumbers + 128 * sample.threads * classes)
    #expect((1...threads).contains(sample.threads))
  }
}
