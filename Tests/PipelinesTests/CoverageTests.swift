import Basics
import LogitCache
import Losses
import Pipelines
import Schemas
import TestSupport
import Testing

/// What `train` asks of a cache's certificate.
@Suite struct CoverageTests {
  /// Random weights say little of any class: k = 1 keeps almost nothing of that.
  private func flatCache(k: Int = 1) throws -> Workshop {
    let workshop = try Workshop(classes: 6)
    var job = workshop.job()
    job.kept.k = k
    try precompute(job)
    return workshop
  }

  @Test(arguments: [
    ("kd@4", "kd@4", ["kdGradientError@4", "distAngle@4"]), ("mse", "mse", ["mseMissingEnergy"]),
    ("kd@inf", "kd@inf", ["mseMissingEnergy"]), ("pld", "pld", ["pldDroppedWeight@1"]),
    ("0.5*ce+0.5*kd@2", "0.5*kd@2", ["distAngle@2"]),
    ("dist", "dist", ["distAngle@1", "mseMissingEnergy"]),
    ("dist:beta=0", "dist:beta=0", ["mseMissingEnergy"]),
  ])
  func `a cache that keeps too little is refused with its numbers, and accepted on demand`(
    loss: String, term: String, measures: [String]
  ) throws {
    let workshop = try flatCache()
    let plan = try workshop.plan(loss, epochs: 2, "cache: cache")
    let problem = try #require(
      #expect(throws: Problem.self) { try train(plan, workshop.options()) })
    #expect(problem.kind == .corrupt)
    for text in ["k = 1 of 6 classes", "'\(loss)'", "--accept-error", "larger --k"] {
      #expect(problem.message.contains(text), "\(problem)")
    }
    let metrics = try train(plan, workshop.options(acceptsError: true))
    #expect(metrics.count == 2 && metrics.allSatisfy { $0.loss.isFinite })
    let accepted = try #require(metrics[1].acceptedErrors)
    let numbers = try numbers(of: workshop)
    for measure in measures {
      let error = try #require(accepted.first { $0.measure == measure }, "\(accepted)")
      #expect(error.loss == term)
      #expect(error.mean == numbers[measure]?.mean && error.max == numbers[measure]?.max)
      #expect(problem.message.contains(error.description), "\(problem)")
    }
  }

  /// The certificate's statistics by name.
  private func numbers(of workshop: Workshop) throws -> [String: ErrorStatistic] {
    let reader = try CacheReader(path: workshop.folder.file("cache"))
    let certificate = try reader.certificate()
    var numbers = ["mseMissingEnergy": certificate.mseMissingEnergy]
    for errors in certificate.atTemperature {
      numbers["kdGradientError@\(errors.temperature)"] = errors.kdGradientError
      numbers["pldDroppedWeight@\(errors.temperature)"] = errors.pldDroppedWeight
      numbers["distAngle@\(errors.temperature)"] = errors.distAngle
    }
    return numbers
  }

  @Test func `accepted errors are logged and written into every line of the metrics`() throws {
    let workshop = try flatCache()
    let log = Log()
    let plan = try workshop.plan("mse", epochs: 2, "cache: cache")
    try train(plan, workshop.options(acceptsError: true) { log.append($0) })
    #expect(log.lines.contains { $0.hasPrefix("accepted error: mse: mseMissingEnergy is ") })
    let text = String(
      decoding: try Files.read(workshop.folder.file("out/metrics.jsonl")), as: UTF8.self)
    let lines = text.split(separator: "\n")
    #expect(lines.count == 2)
    for line in lines {
      let metrics = try parseJSON(line.utf8, source: "metrics")
      try Schemas.validate(metrics, against: .train, source: "metrics")
      let error = metrics["acceptedErrors"]?[0]
      #expect(error?["measure"]?.string == "mseMissingEnergy" && error?["limit"]?.double == 0.03)
    }
  }

  @Test(arguments: ["kd@3", "pld@1.5", "dist@3", "dkd@8"])
  func `a temperature at which nothing was measured is refused when there is a tail`(
    loss: String
  ) throws {
    let workshop = try flatCache(k: 5)
    let plan = try workshop.plan(loss, epochs: 1, "cache: cache")
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.message.contains("measured at T = 1, 2, 4") == true)
    #expect(try train(plan, workshop.options(acceptsError: true))[0].acceptedErrors?.count == 1)
  }

  @Test(arguments: ["ce", "kd@4", "kd@2", "pld", "mse", "dist", "dkd@4"], [false, true])
  func `a good cache is trained from without a word`(loss: String, acceptsError: Bool) throws {
    // One class of four is in the tail: its mass says all of it.
    let workshop = try Workshop.withTrainedTeacher()
    var job = workshop.job()
    job.kept.k = 3
    try precompute(job)
    let log = Log()
    let metrics = try train(
      workshop.plan(loss, epochs: 4, "cache: cache"),
      workshop.options(acceptsError: acceptsError) { log.append($0) })
    #expect(metrics[3].loss < metrics[0].loss)
    #expect(metrics.allSatisfy { $0.acceptedErrors == nil })
    #expect(!log.lines.contains { $0.contains("accepted") })
  }

  @Test(arguments: ["kd@3", "kd@0.5", "pld@20", "dist@3", "mse", "kd@inf"])
  func `with all classes every temperature is served`(loss: String) throws {
    let workshop = try flatCache(k: 6)
    let metrics = try train(workshop.plan(loss, epochs: 1, "cache: cache"), workshop.options())
    #expect(metrics[0].acceptedErrors == nil)
  }

  @Test func `losses without a teacher's records ask for nothing`() throws {
    let workshop = try flatCache()
    let metrics = try train(workshop.plan("ce", epochs: 1, "cache: cache"), workshop.options())
    #expect(metrics[0].acceptedErrors == nil)
  }
}

/// Lines that a run logged.
private final class Log: @unchecked Sendable {
  // Sendable: a run logs from the thread that called it.
  private(set) var lines: [String] = []
  func append(_ line: String) { lines.append(line) }
}
