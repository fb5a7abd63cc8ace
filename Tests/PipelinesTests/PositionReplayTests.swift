import Arrays
import Basics
import DataSets
import LogitCache
import Losses
import Networks
import Pipelines
import Teachers
import TestSupport
import Testing
import Views

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
    PrecomputeJob(
      data: data ?? self.data, teacher: folder.file("teacher.yaml"), recipe: nil, views: views,
      seed: 1, kept: KeptRecord(k: k, tail: tail), making: folder.making(name))
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
      desk.plan(loss, epochs: 10, learningRate: 0.03, "cache: cache", "test: \(desk.data)"),
      desk.options("student"))
    #expect(metrics[9].loss < metrics[0].loss)
    #expect(try #require(metrics[9].testAccuracy) > 0.85)
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
        cachePath: job.making.cache)
    }
    #expect(problem.kind == .corrupt)
    #expect(problem.message.contains("evaluate without the cache"), "\(problem)")
  }
}

/// A cache of pictures with one label, in which a teacher chose positions of each by chance.
private struct ChosenPositions {
  let workshop: Workshop
  let records: TeacherBatch
  let views: ViewBatch

  init(samples: Int, seed: UInt64) throws {
    workshop = try Workshop(samples: samples)
    let dataSet = try openDataSet(workshop.data)
    let augmenter = try Augmenter(dataSet: dataSet, recipe: .identity, seed: 1)
    var views = augmenter.makeBatch()
    try augmenter.render(samples: 0..<samples, view: 0, into: &views)
    self.views = views
    let manifest = Manifest(
      dataSet: DataSetIdentity(
        name: dataSet.name, fingerprint: dataSet.fingerprint, labels: dataSet.labels,
        classNames: dataSet.classNames),
      recipe: RecipeIdentity(digest: Recipe.identity.digest, content: Recipe.identity.canonical),
      seed: 1, views: 1, teacher: .object([:]),
      encoding: Encoding(classes: 4, k: 4, positions: Positions(maximum: 2, labels: .sample)))
    var random = SeededGenerator(seed: seed)
    var (places, labels) = (RowPlaces(), [Int32]())
    for label in dataSet.labels {
      places.append(sampleAt: (0..<2).filter { _ in Bool.random(using: &random) })
      labels += places.rows(of: places.samples - 1).map { _ in label }
    }
    let logits = (0..<4 * places.rows).map { _ in 2 * Float(random.normal()) }
    let path = workshop.folder.file("cache")
    let writer = try CacheWriter(path: path, manifest: manifest, labels: dataSet.labels)
    try writer.append([
      BlockEncoder(manifest: manifest).encode(
        logits: logits.span, labels: labels, places: places, view: 0, block: 0, firstSample: 0,
        viewDigest: try augmenter.digest(samples: 0..<samples, view: 0))
    ])
    _ = try writer.seal()
    let cache = try CacheReader(path: path)
    var records = cache.makeBatch()
    try cache.decode(view: 0, block: 0, into: &records)
    self.records = records
  }

  /// The loss of one step over all samples and the weights after it, position by position.
  func plainStep(
    _ plan: TrainingPlan, _ loss: String
  ) throws -> (loss: Double, weights: [String: [Float]]) {
    let network = try Network(
      Architecture(plan.model), input: LayerShape(height: 8, width: 8, channels: 1), classes: 4,
      seed: UInt64(plan.seed))
    let model = Model(
      network: network,
      normalisation: Normalisation(mean: Float(plan.mean), deviation: Float(plan.deviation)))
    let places = try #require(records.places)
    let rows = (0..<places.rows).map { row in
      let place = places.place(ofRow: row)
      return place.sample * 2 + place.position
    }
    let chosen = network.forward(model.inputBatch(of: views)).withValues { logits in
      rows.flatMap { row in (0..<4).map { logits[row * 4 + $0] } }
    }
    var evaluator = LossEvaluator(
      configuration: try LossConfiguration(parsing: loss), classes: 4, maximumBatch: rows.count,
      k: 4)
    var slopes = [Float](repeating: 0, count: chosen.count)
    let total: Double
    do {
      var span = slopes.mutableSpan
      total = try evaluator.evaluate(
        logits: chosen.span, labels: records.labels.span, teacher: records, gradient: &span
      ).total
    }
    let gradient = network.logitsGradient(count: places.samples * 2)
    gradient.withMutableValues { all in
      for index in 0..<all.count { all[index] = 0 }
      for (index, row) in rows.enumerated() {
        for c in 0..<4 { all[row * 4 + c] = slopes[index * 4 + c] }
      }
    }
    network.backward(gradient)
    let weights = network.parameters.map { parameter in
      let rate: Float = parameter.isTrained ? Float(plan.learningRate) : 0
      let gradient = parameter.isTrained ? parameter.gradientValues : parameter.allValues
      return (parameter.name, zip(parameter.allValues, gradient).map { $0 - rate * $1 })
    }
    return (total, Dictionary(uniqueKeysWithValues: weights))
  }
}

@Suite struct ChosenPositionTests {
  @Test(arguments: ["kd@4", "ce", "dist@4", "pld+ce"], [UInt64(1), 2])
  func `positions that a teacher chose are all that a step looks at`(
    loss: String, seed: UInt64
  ) throws {
    let made = try ChosenPositions(samples: 40, seed: seed)
    var plan = try made.workshop.plan(
      loss, epochs: 1, model: "cnn-5-6-columns", "cache: cache", "momentum: 0",
      "weight-decay: 0", "warm-up-epochs: 0")
    (plan.batch, plan.clipNorm) = (40, nil)
    let metrics = try train(plan, made.workshop.options(acceptsError: true))
    let plain = try made.plainStep(plan, loss)
    #expect(abs(metrics[0].loss - plain.loss) < 1e-5 * (1 + plain.loss), "seed \(seed)")
    let weights = try Safetensors.read(made.workshop.folder.file("out/model.safetensors")).arrays
      .mapValues { array -> [Float] in
        guard case .float32(let values) = array.values else { return [] }
        return values
      }
    let apart = largestDifference(weights, plain.weights)
    #expect((0..<2e-5).contains(apart), "\(apart), seed \(seed)")
  }
}
