import Arrays
import Basics
import DataSets
import LogitCache
import Losses
import Networks
import Pipelines
import Reports
import Schemas
import Teachers
import TestSupport
import Testing
import Views

/// The teacher's feature of every sample of a view, computed plainly.
private func features(_ workshop: Workshop, view: Int) throws -> [[Double]] {
  let augmenter = try Augmenter(
    dataSet: openDataSet(workshop.data), recipe: Recipe(contentsOf: workshop.recipe), seed: 1)
  let model = try Model.load(from: workshop.folder.file("teacher.safetensors"))
  return try features(of: model, augmenter, view: view)
}

private func features(of model: Model, _ augmenter: Augmenter, view: Int) throws -> [[Double]] {
  var views = augmenter.makeBatch()
  try augmenter.render(samples: 0..<augmenter.dataSet.count, view: view, into: &views)
  _ = model.network.infer(model.inputBatch(of: views))
  let width = model.network.featureWidth
  return model.network.features.withValues { values in
    (0..<views.count).map { row in (0..<width).map { Double(values[row * width + $0]) } }
  }
}

private func norm(_ vector: [Double]) -> Double {
  vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
}

@Suite struct FeaturePrecomputeTests {
  @Test(arguments: [1, 2, 3], [0, 1000])
  func `class means are the plain means of the augmented views, with any threads and commits`(
    threads: Int, commitSeconds: Double
  ) throws {
    let workshop = try Workshop(samples: 2100)
    var job = workshop.job(features: true)
    (job.making.threads, job.making.commitSeconds) = (threads, commitSeconds)
    try precompute(job)
    let means = try CacheReader(path: job.making.cache).classMeans()
    var sums = [[Double]](repeating: [Double](repeating: 0, count: 16), count: 4)
    var counts = [Double](repeating: 0, count: 4)
    for view in 0..<2 {
      for (sample, feature) in try features(workshop, view: view).enumerated() {
        let label = Int(workshop.pictures.labels[sample])
        counts[label] += 1
        for d in 0..<16 { sums[label][d] += feature[d] }
      }
    }
    #expect(means.count == 4 * 16)
    for (index, mean) in means.enumerated() {
      let exact = sums[index / 16][index % 16] / counts[index / 16]
      // Half a step of 2^-16; a batch of another shape moves a feature by another 1e-6 or so.
      #expect(abs(Double(mean) - exact) <= 0x1p-17 + 2e-6 * (1 + abs(exact)), "number \(index)")
    }
    _ = try verifyCache(path: job.making.cache)
  }

  @Test func `threads, commits and a begun cache do not change digest or means`() throws {
    let workshop = try Workshop(samples: 2100)
    let reference = try precompute(workshop.job("reference", features: true))
    let means = try CacheReader(path: workshop.folder.file("reference")).classMeans()
    try workshop.begin(
      "begun", like: "reference",
      with: [BlockKey(view: 1, block: 0), BlockKey(view: 0, block: 1)])
    for (name, threads, commitSeconds) in [("begun", 2, 0.0), ("three", 3, 0), ("once", 2, 1000)] {
      var job = workshop.job(name, features: true)
      (job.making.threads, job.making.commitSeconds) = (threads, commitSeconds)
      #expect(try precompute(job).cacheDigest == reference.cacheDigest, "\(name)")
      #expect(try CacheReader(path: job.making.cache).classMeans() == means, "\(name)")
    }
  }

  @Test func `records hold the norms of the teacher's features`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job(features: true))
    let reader = try CacheReader(path: workshop.folder.file("cache"))
    var batch = reader.makeBatch()
    for view in 0..<2 {
      try reader.decode(view: view, block: 0, into: &batch)
      for (row, feature) in try features(workshop, view: view).enumerated() {
        let exact = norm(feature)
        #expect(abs(Double(batch.featureNorms[row]) - exact) <= 0.002 * exact + 1e-5, "row \(row)")
      }
    }
  }

  @Test func `a cache without features is another cache, and keeps its digest`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job("with", features: true))
    let problem = #expect(throws: Problem.self) { try precompute(workshop.job("with")) }
    #expect(
      problem?.message.contains("encoding.featureWidth: the cache has 16, this run has nothing")
        == true)
  }

  @Test func `a linear teacher has no features to keep`() throws {
    let workshop = try Workshop(network: "mlp")
    let problem = #expect(throws: Problem.self) { try precompute(workshop.job(features: true)) }
    #expect(problem?.kind == .configuration)
    #expect(problem?.message.contains("leave out --features") == true)
    #expect(!Files.exists(workshop.folder.file("cache")))
  }

  @Test func `the report shows width and norms, and only when they are there`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job("with", features: true))
    try precompute(workshop.job("without"))
    let reader = try CacheReader(path: workshop.folder.file("with"))
    let report = try Inspection(of: reader)
    let value = try parseJSON(readableJSON(report).utf8, source: "the report")
    try Schemas.validate(value, against: .inspect, source: "the report")
    let norms = try (0..<2).flatMap { try features(workshop, view: $0).map(norm) }.sorted()
    #expect(value["features"]?["width"]?.integer == 16)
    let shown = try #require(value["features"]?["norm"])
    for (key, exact) in [
      ("mean", norms.reduce(0, +) / 600), ("p1", norms[5]), ("p50", norms[299]),
      ("p99", norms[593]),
    ] {
      #expect(abs((shown[key]?.double ?? 0) - exact) <= 0.0021 * exact, "\(key)")
    }
    #expect(report.text.contains("norm of 16 features"))
    let record = try describeRecord(of: reader, sample: 3, view: 1, augmenter: nil)
    #expect(record.contains("norm of the feature"))
    let plain = try Inspection(of: CacheReader(path: workshop.folder.file("without")))
    #expect(try parseJSON(readableJSON(plain).utf8, source: "the report")["features"] == nil)
    #expect(!plain.text.contains("norm of"))
  }
}

@Suite struct FeatureTrainingTests {
  /// A student as wide as the teacher (32), and one that needs a projector.
  @Test(arguments: ["nd", "cosine"], ["mlp-32", "mlp-16"])
  func `feature losses fall`(loss: String, model: String) throws {
    let workshop = try Workshop.withTrainedTeacher()
    try precompute(workshop.job(features: true))
    let metrics = try train(
      workshop.plan(loss, epochs: 12, model: model, "cache: cache"), workshop.options())
    #expect(metrics[11].loss < 0.7 * metrics[0].loss, "\(metrics.map(\.loss))")
    #expect(metrics[11].loss > 0)
  }

  @Test(
    arguments: ["pld+nd", "ce+kd@4+2*nd;warmup=3", "ce+dkd@4+nd;warmup=3", "ce+2*dist@4+nd"],
    ["mlp-32", "mlp-16"])
  func `sums with feature terms train students that learn the classes`(
    loss: String, model: String
  ) throws {
    let workshop = try Workshop.withTrainedTeacher()
    try precompute(workshop.job(features: true))
    let metrics = try train(
      workshop.plan(loss, epochs: 12, model: model, "cache: cache", "test: \(workshop.data)"),
      workshop.options())
    #expect(try #require(metrics[11].testAccuracy) > 0.9)
  }

  @Test func `the loss of the first step is the plain ND of what the cache holds`() throws {
    let workshop = try Workshop(samples: 100)
    try precompute(workshop.job(features: true))
    var plan = try workshop.plan("nd", epochs: 1, "cache: cache")
    plan.batch = 100
    let metrics = try train(plan, workshop.options())

    let reader = try CacheReader(path: workshop.folder.file("cache"))
    let means = try reader.classMeans().map { Double($0) }
    var batch = reader.makeBatch()
    try reader.decode(view: 0, block: 0, into: &batch)
    let network = try Network(
      Architecture("mlp-16"), input: LayerShape(height: 8, width: 8, channels: 1), classes: 4,
      seed: UInt64(plan.seed))
    let student = Model(
      network: network,
      normalisation: Normalisation(mean: Float(plan.mean), deviation: Float(plan.deviation)))
    let augmenter = try matchingAugmenter(for: reader, openDataSet(workshop.data))
    let losses = try features(of: student, augmenter, view: 0).enumerated().map { row, feature in
      let label = Int(batch.labels[row])
      let mean = Array(means[label * 16..<(label + 1) * 16])
      let along = zip(feature, mean).reduce(0) { $0 + $1.0 * $1.1 } / norm(mean)
      return 1 - along / max(norm(feature), Double(batch.featureNorms[row]))
    }
    #expect(abs(metrics[0].loss - losses.reduce(0, +) / 100) < 1e-5)
  }

  @Test(arguments: ["mlp-16", "resnet-8"])
  func `four epochs are two epochs and two more, with or without a projector`(
    model: String
  ) throws {
    let workshop = try Workshop()
    try precompute(workshop.job(features: true))
    let plan = try workshop.plan("pld+nd", epochs: 4, model: model, "cache: cache")
    let (whole, part) = (workshop.folder.file("whole"), workshop.folder.file("part"))
    let unbroken = try train(
      plan,
      workshop.options("whole") { line in
        if line.hasPrefix("epoch 3/4") { try! copy(whole, to: part) }
      })
    let resumed = try train(plan, workshop.options("part"))
    #expect(resumed.map(\.loss) == unbroken.map(\.loss))
    #expect(try workshop.modelBytes("part") == workshop.modelBytes("whole"))
    let last = "/checkpoint.safetensors"
    #expect(try Files.read(part + last) == Files.read(whole + last))
    func projected(_ file: String) throws -> Int {
      try Safetensors.read(whole + file).arrays.keys.count { $0.hasPrefix("projector/") }
    }
    #expect(try (projected(last) > 0) == (model == "resnet-8"))
    let names = try Safetensors.read(whole + "/model.safetensors").arrays.keys
    #expect(!names.contains { $0.contains("projector") })
  }

  @Test func `a checkpoint without its projector is refused`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job(features: true))
    let plan = try workshop.plan("ce+nd", epochs: 1, model: "mlp-24", "cache: cache")
    try train(plan, workshop.options())
    let path = workshop.folder.file("out/checkpoint.safetensors")
    var file = try Safetensors.read(path)
    file.arrays = file.arrays.filter { !$0.key.hasPrefix("projector/momentum/") }
    try Safetensors.write(file, to: path)
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("projector") == true)
  }

  @Test func `threads do not change a bit of a run with a projector`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job(features: true))
    let plan = try workshop.plan(
      "ce+kd@4+nd", epochs: 2, model: "resnet-8", "cache: cache")
    try train(plan, workshop.options("one"))
    var options = workshop.options("two")
    options.threads = 2
    try train(plan, options)
    #expect(try workshop.modelBytes("one") == workshop.modelBytes("two"))
  }

  @Test(arguments: ["mixup", "cutmix"])
  func `mixed views train with features`(mixing: String) throws {
    let workshop = try Workshop.withTrainedTeacher()
    try workshop.folder.write(
      "{version: 1, operations: [{op: flip}, {op: \(mixing)}]}", to: "recipe.yaml")
    try precompute(workshop.job(features: true))
    let metrics = try train(
      workshop.plan("ce+nd", epochs: 8, "cache: cache"), workshop.options())
    #expect(metrics[7].loss < metrics[0].loss)
  }

  @Test func `what cannot be compared is refused in words`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    try precompute(workshop.job("with", features: true))
    func refusal(_ loss: String, model: String = "mlp-16", _ settings: String...) -> Problem? {
      #expect(throws: Problem.self) {
        var plan = try workshop.plan(loss, model: model)
        plan.cache = settings.first.map { workshop.folder.file($0) }
        try train(plan, workshop.options("refused"))
      }
    }
    let without = refusal("ce+nd", "cache")
    #expect(without?.kind == .corrupt)
    #expect(without?.message.contains("precompute again with --features") == true)
    #expect(refusal("cosine")?.message.contains("name a cache with --cache") == true)
    let linear = refusal("ce+nd", model: "mlp", "with")
    #expect(linear?.kind == .configuration)
    #expect(linear?.message.contains("choose a model with a hidden layer") == true)
  }
}
