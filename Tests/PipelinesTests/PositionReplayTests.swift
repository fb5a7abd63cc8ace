import Arrays
import Basics
import DataSets
import LogitCache
import Networks
import Pipelines
import TestSupport
import Testing

extension TokenDesk {
  /// Writes a teacher with random weights that looks at one token, `teacher.yaml`.
  func writeTeacher(seed: UInt64 = 7) throws {
    let network = try Network(
      Architecture("mlp-12"), input: LayerShape(features: tokens.width), classes: tokens.classes,
      seed: seed)
    let model = Model(network: network, normalisation: Normalisation(mean: 0, deviation: 0.5))
    try model.save(to: folder.file("teacher.safetensors"))
    try folder.write(
      "{version: 1, kind: native, weights: teacher.safetensors, batch: 32}", to: "teacher.yaml")
  }

  /// What the teacher says about tokens into the cache `name`.
  func job(
    _ name: String, data: String? = nil, views: Int = 1, k: Int? = nil,
    tail: SubspaceTail? = nil
  ) -> PrecomputeJob {
    var job = PrecomputeJob(
      data: data ?? self.data, teacher: folder.file("teacher.yaml"), recipe: nil, views: views,
      seed: 1, k: k, features: false, cache: folder.file(name), threads: 1, commitSeconds: 1000)
    job.tail = tail
    return job
  }
}

private let losses = ["kd@4", "pld", "dist@4", "mse", "ce", "dkd@4", "0.1*ce+0.9*kd@2+dist"]

@Suite struct PositionReplayTests {
  @Test(arguments: losses, [UInt64(1), 2, 3])
  func `a step on records at positions is a step on as many samples of one record`(
    loss: String, seed: UInt64
  ) throws {
    var random = SeededGenerator(seed: seed)
    let desk = try TokenDesk(
      SmallTokens(
        count: Int.random(in: 1...40, using: &random),
        positions: Int.random(in: 2...7, using: &random), classes: 12,
        masked: Double.random(in: 0...0.9, using: &random), seed: seed))
    try desk.writeTeacher()
    let alone = try desk.tokens.writeLabelled(to: desk.folder)
    #expect(try precompute(desk.job("masked-cache", k: 5)).records == desk.tokens.labelled)
    try precompute(desk.job("alone-cache", data: alone, k: 5))
    // One step sees everything; the order of rows differs, so rounding may.
    let masked = try train(
      desk.plan(loss, epochs: 1, batch: 40, "cache: masked-cache", plainSteps),
      desk.options("masked"))
    let plain = try train(
      desk.plan(loss, data: alone, epochs: 1, batch: 280, "cache: alone-cache", plainSteps),
      desk.options("alone"))
    #expect(abs(masked[0].loss - plain[0].loss) < 1e-5 * (1 + plain[0].loss), "seed \(seed)")
    #expect(masked[0].trainAccuracy == plain[0].trainAccuracy, "seed \(seed)")
    let apart = try largestDifference(desk.weights("masked"), desk.weights("alone"))
    #expect((0..<2e-5).contains(apart), "\(apart), seed \(seed)")
  }

  @Test(arguments: ["kd@4", "pld", "dist@4", "mse"])
  func `a student learns from records at positions`(loss: String) throws {
    let desk = try TokenDesk(SmallTokens(count: 300))
    let taught = try train(desk.plan("ce", epochs: 8), desk.options("taught"))
    #expect(taught[7].trainAccuracy > 0.9)
    try desk.folder.write(
      "{version: 1, kind: native, weights: taught/model.safetensors}", to: "teacher.yaml")
    try precompute(desk.job("cache"))
    let metrics = try train(
      desk.plan(loss, epochs: 20, "cache: cache", "test: \(desk.data)"), desk.options("student"))
    #expect(metrics[19].loss < metrics[0].loss)
    #expect(try #require(metrics[19].testAccuracy) > 0.8)
    let itself = try evaluate(
      modelPath: desk.folder.file("taught/model.safetensors"), data: desk.data,
      cachePath: desk.folder.file("cache"))
    #expect(itself.agreement == 1)
    #expect(itself.teacherAccuracy == itself.accuracy)
    #expect(itself.positions == desk.tokens.labelled)
  }

  @Test(arguments: ["kd@4", "dist@4"])
  func `threads, memory and an interruption change no bit of a replay`(loss: String) throws {
    let desk = try TokenDesk(SmallTokens(count: 150, masked: 0.7))
    try desk.writeTeacher()
    try precompute(desk.job("cache", views: 2))
    let plan = try desk.plan(loss, epochs: 4, batch: 7, "cache: cache")
    let (one, part) = (desk.folder.file("one"), desk.folder.file("part"))
    try train(
      plan,
      desk.options("one") { line in
        if line.hasPrefix("epoch 3/4") { try! copy(one, to: part) }
      })
    try train(plan, desk.options("part"))
    var options = desk.options("many", threads: 3)
    options.decodedBytes = 0
    try train(plan, options)
    #expect(try desk.modelBytes("one") == desk.modelBytes("part"))
    #expect(try desk.modelBytes("one") == desk.modelBytes("many"))
  }

  @Test func `full rows are rebuilt at positions, also for batches without any`() throws {
    var tokens = SmallTokens(count: 400, classes: 24, masked: 0.9)
    for sample in 0..<60 {
      for position in 0..<5 { tokens.labels[sample * 5 + position] = -1 }
    }
    let desk = try TokenDesk(tokens)
    try desk.writeTeacher()
    try precompute(desk.job("cache", k: 5, tail: SubspaceTail(stepSixteenths: 4)))
    let plan = try desk.plan("mse", epochs: 3, batch: 2, "cache: cache", "clip-norm: 1")
    let metrics = try train(plan, desk.options("one"))
    #expect(metrics.allSatisfy { $0.loss.isFinite })
    #expect(metrics[2].loss < metrics[0].loss)
    var options = desk.options("none")
    options.decodedBytes = 0
    try train(plan, options)
    #expect(try desk.modelBytes("one") == desk.modelBytes("none"))
  }

  @Test(arguments: ["kd@4", "ce", "0.5*ce+dist@4"])
  func `a student of columns learns from a teacher of columns`(loss: String) throws {
    let workshop = try Workshop()
    try workshop.writeTeacher(network: "cnn-6-6-columns", seed: 5)
    #expect(try precompute(workshop.job(views: 2)).records == 300 * 2 * 2)
    let plan = try workshop.plan(
      loss, epochs: 6, model: "cnn-8-16-columns", "cache: cache", "test: \(workshop.data)")
    let metrics = try train(plan, workshop.options(acceptsError: true))
    #expect(metrics[5].loss < metrics[0].loss)
  }

  @Test func `a student with another number of positions than the cache is refused`() throws {
    let workshop = try Workshop()
    try workshop.writeTeacher(network: "cnn-6-6-columns", seed: 5)
    try precompute(workshop.job(views: 1))
    for (model, given) in [("mlp-16", 1), ("cnn-8-columns", 4)] {
      let problem = try #require(throws: Problem.self) {
        try train(
          workshop.plan("kd@4", model: model, "cache: cache"),
          workshop.options(acceptsError: true))
      }
      #expect(problem.kind == .corrupt)
      #expect(problem.message.contains("gives \(given) distributions"), "\(problem)")
      #expect(problem.message.contains("records at 2 positions of a view"), "\(problem)")
    }
    // The views alone are as good for a student of whole samples as for any.
    try train(workshop.plan("ce", epochs: 1, "cache: cache"), workshop.options())
  }

  @Test func `one answer for a sample cannot be compared with records at its positions`() throws {
    let workshop = try Workshop()
    try workshop.writeTeacher(network: "cnn-6-6-columns", seed: 5)
    var job = workshop.job(views: 1)
    job.recipe = nil
    try precompute(job)
    let problem = try #require(throws: Problem.self) {
      try evaluate(
        modelPath: workshop.folder.file("teacher.safetensors"), data: workshop.data,
        cachePath: job.cache)
    }
    #expect(problem.kind == .corrupt)
    #expect(problem.message.contains("evaluate without the cache"), "\(problem)")
  }
}
