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
    workshop.job(cache, views: views, kept: KeptRecord(k: 3, tail: SubspaceTail(step: step)))
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
    head.kept.tail = nil
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
    #expect(tail["trellisAxes"]?.integer == reader.axes?.trellisAxes)
    // Header, mean row, scales, and a byte a number.
    #expect(tail["axesBytes"]?.integer == 16 + 4 * 12 + 4 * 11 + 11 * 12)
    let planes = try reader.sizeByPlane().filter {
      ["coefficients", "offsets"].contains($0.name)
    }
    #expect(planes.count == 2)
    let bytes = planes.reduce(0) { $0 + $1.storedBytes }
    #expect(tail["bytesPerRecord"]?.double == Double(bytes) / 600)
    #expect(report.text.contains("11 axes in 0.000 MB, coefficients in steps of 0.5 nats ("))
  }
}
