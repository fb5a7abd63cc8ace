import Basics
import LogitCache
import Losses
import Pipelines
import Reports
import Schemas
import TestSupport
import Testing

@Suite struct SubspaceTests {
  /// Three of twelve classes exactly, the others on axes.
  private func job(
    _ workshop: Workshop, _ cache: String = "cache", step: Double = 0.5, views: Int = 2
  ) -> PrecomputeJob {
    var job = workshop.job(cache, views: views)
    job.k = 3
    job.tail = SubspaceTail(step: step)
    return job
  }

  @Test(arguments: [1, 2, 3], [0, 1000])
  func `threads and commits do not change the digest of full rows`(
    threads: Int, commitSeconds: Double
  ) throws {
    let workshop = try Workshop(samples: 2100, classes: 12)
    let reference = try precompute(job(workshop, "reference", views: 3))
    var other = job(workshop, "other", views: 3)
    (other.threads, other.commitSeconds) = (threads, commitSeconds)
    let made = try precompute(other)
    #expect(made.cacheDigest == reference.cacheDigest)
    #expect(made.newRecords == 6300)
    #expect(try verifyCache(path: other.cache).cacheDigest == reference.cacheDigest)
    #expect(try CacheReader(path: other.cache).axes?.count == 11)
  }

  @Test(arguments: [
    [BlockKey(view: 0, block: 0)], [BlockKey(view: 1, block: 1), BlockKey(view: 2, block: 0)],
  ])
  func `full rows begun block by block, by other code, are finished to the same digest`(
    keys: [BlockKey]
  ) throws {
    let workshop = try Workshop(samples: 2100, classes: 12)
    let reference = try precompute(job(workshop, "reference", views: 3))
    try workshop.begin("begun", like: "reference", with: keys)
    let finished = try precompute(job(workshop, "begun", views: 3))
    #expect(finished.cacheDigest == reference.cacheDigest)
    #expect(finished.newRecords < 6300)
  }

  @Test(arguments: ["mse", "kd@4", "dist@4", "pld@4", "0.1*ce+0.9*kd@4+0.01*mse", "kd", "pld"])
  func `a student learns from rebuilt rows`(loss: String) throws {
    let workshop = try Workshop(classes: 12)
    try precompute(job(workshop))
    // At T = 1 losses read the head: three of twelve classes are too few unless that is accepted.
    let metrics = try train(
      workshop.plan(loss, epochs: 6, "cache: cache"), workshop.options(acceptsError: true))
    #expect(metrics[5].loss < 0.9 * metrics[0].loss, "\(metrics.map(\.loss))")
  }

  @Test(arguments: ["mse", "kd@4", "dist@4", "pld@4"])
  func `rebuilt rows of a fine step teach what all logits teach`(loss: String) throws {
    let workshop = try Workshop(classes: 12)
    try precompute(job(workshop, "tail", step: 0.0625))
    try precompute(workshop.job("whole"))
    let metrics = try ["tail", "whole"].map { cache in
      try train(
        workshop.plan(loss, epochs: 3, "cache: \(cache)"), workshop.options("of \(cache)"))
    }
    for (tail, whole) in zip(metrics[0], metrics[1]) {
      #expect(abs(tail.loss - whole.loss) < 0.02 * abs(whole.loss), "\(tail.loss) \(whole.loss)")
    }
  }

  @Test func `a loss that needs full rows is refused without them, and says how to get them`()
    throws
  {
    let workshop = try Workshop(classes: 12)
    var head = job(workshop)
    head.tail = nil
    try precompute(head)
    let problem = #expect(throws: Problem.self) {
      try train(workshop.plan("mse", "cache: cache"), workshop.options())
    }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("or --tail subspace") == true)
  }

  @Test func `a temperature that was not planned is refused with full rows, too`() throws {
    let workshop = try Workshop(classes: 12)
    try precompute(job(workshop))
    let problem = #expect(throws: Problem.self) {
      try train(workshop.plan("kd@3", "cache: cache"), workshop.options())
    }
    #expect(problem?.message.contains("no error was measured at T = 3") == true)
    try train(workshop.plan("kd@3", "cache: cache"), workshop.options(acceptsError: true))
  }

  @Test(arguments: [nil, 12])
  func `a tail beside all classes is refused`(k: Int?) throws {
    let workshop = try Workshop(classes: 12)
    var all = job(workshop)
    all.k = k
    let problem = #expect(throws: Problem.self) { try precompute(all) }
    #expect(problem?.kind == .usage)
    #expect(problem?.message.contains("all 12 are kept: choose a smaller --k") == true)
    #expect(!Files.exists(all.cache))
  }

  @Test func `another step is another job`() throws {
    let workshop = try Workshop(classes: 12)
    try precompute(job(workshop))
    let before = try content(ofFolder: workshop.folder.file("cache"))
    let problem = #expect(throws: Problem.self) { try precompute(job(workshop, step: 4)) }
    #expect(
      problem?.message.contains(
        "encoding.subspaceTail.stepSixteenths: the cache has 8, this run has 64") == true)
    #expect(try content(ofFolder: workshop.folder.file("cache")) == before)
  }

  @Test func `a single sample is too little to learn axes from`() throws {
    let workshop = try Workshop(samples: 1, classes: 12)
    let problem = #expect(throws: Problem.self) { try precompute(job(workshop, views: 1)) }
    #expect(problem?.kind == .configuration)
    #expect(problem?.message.contains("1 calibration rows of 12 classes") == true)
  }

  @Test func `the report shows axes, their fixed cost and the bytes of a record`() throws {
    let workshop = try Workshop(classes: 12)
    try precompute(job(workshop))
    let reader = try CacheReader(path: workshop.folder.file("cache"))
    let report = try Inspection(of: reader)
    let value = try parseJSON(readableJSON(report).utf8, source: "the report")
    try Schemas.validate(value, against: .inspect, source: "the report")
    let tail = try #require(value["subspaceTail"])
    #expect(tail["step"]?.double == 0.5)
    #expect(tail["axes"]?.integer == 11)
    // Header, mean row, scales, and a byte a number.
    #expect(tail["axesBytes"]?.integer == 16 + 4 * 12 + 4 * 11 + 11 * 12)
    let planes = try reader.sizeByPlane().filter {
      ["coefficients", "offsets"].contains($0.name)
    }
    #expect(planes.count == 2)
    let bytes = planes.reduce(0) { $0 + $1.storedBytes }
    #expect(tail["bytesPerRecord"]?.double == Double(bytes) / 600)
    #expect(report.text.contains("11 axes in 0.000 MB, coefficients in steps of 0.5 nats"))
  }
}
