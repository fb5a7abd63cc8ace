import Basics
import DataSets
import Foundation
import LogitCache
import Losses
import Pipelines
import TestSupport
import Testing

@Suite struct TrainTests {
  @Test(arguments: ["ce", "kd@4", "pld", "dist@4", "mse", "0.1*ce+0.9*kd@4"])
  func `every loss falls, and its student learns the classes`(loss: String) throws {
    let workshop = try Workshop.withTrainedTeacher()
    try precompute(workshop.job())
    let metrics = try train(
      workshop.plan(loss, epochs: 12, "cache: cache", "test: \(workshop.data)"),
      workshop.options())
    #expect(metrics.map(\.epoch) == Array(1...12))
    #expect(metrics.prefix(4).map(\.view) == [0, 1, 0, 1])
    #expect(metrics[11].loss < 0.7 * metrics[0].loss)
    #expect(try #require(metrics[11].testAccuracy) > 0.9)
    #expect(metrics[11].trainAccuracy > 0.8)
  }

  @Test(arguments: [
    ("ce", "recipe: recipe.yaml"), ("ce", "cache: cache"), ("kd@4", "cache: cache"),
  ])
  func `four epochs are two epochs and two more, bit for bit`(
    loss: String, views: String
  ) throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    let plan = try workshop.plan(loss, epochs: 4, model: "resnet-8", views)
    let (whole, part) = (workshop.folder.file("whole"), workshop.folder.file("part"))
    let unbroken = try train(
      plan,
      workshop.options("whole") { line in
        // The third epoch is over but not saved: the folder is what a kill would leave.
        if line.hasPrefix("epoch 3/4") { try! copy(whole, to: part) }
      })
    #expect(!Files.exists(part + "/model.safetensors"))
    nonisolated(unsafe) var lines: [String] = []
    let resumed = try train(plan, workshop.options("part") { line in lines.append(line) })
    #expect(lines.first == "resuming after epoch 2")
    #expect(lines.count == 3)
    #expect(try workshop.modelBytes("part") == workshop.modelBytes("whole"))
    #expect(resumed.map(\.loss) == unbroken.map(\.loss))
    #expect(resumed.map(\.epoch) == [1, 2, 3, 4])
  }

  @Test func `metrics are one JSON line an epoch, and those of a lost epoch are replaced`() throws {
    let workshop = try Workshop()
    let plan = try workshop.plan("ce", epochs: 3)
    let (out, killed) = (workshop.folder.file("out"), workshop.folder.file("killed"))
    let metrics = try train(
      plan,
      workshop.options { line in
        if line.hasPrefix("epoch 2/3") { try! copy(out, to: killed) }
      })
    // Killed between writing metrics and checkpoint: the checkpoint decides.
    try remove(killed + "/metrics.jsonl")
    try copy(out + "/metrics.jsonl", to: killed + "/metrics.jsonl")
    let resumed = try train(plan, workshop.options("killed"))
    #expect(resumed.map(\.epoch) == [1, 2, 3])
    #expect(resumed.map(\.loss) == metrics.map(\.loss))
    let text = String(decoding: try Files.read(out + "/metrics.jsonl"), as: UTF8.self)
    let lines = try text.split(separator: "\n").map { try parseJSON($0.utf8, source: "metrics") }
    #expect(lines.map { $0["epoch"]?.integer } == [1, 2, 3])
    #expect(lines.map { $0["loss"]?.double } == metrics.map(\.loss))
  }

  @Test(arguments: 1...3)
  func `the same seed trains the same bits on any number of threads, another seed others`(
    threads: Int
  ) throws {
    let workshop = try Workshop()
    let plan = try workshop.plan("ce", epochs: 1, model: "resnet-8")
    try train(plan, workshop.options("one"))
    var options = workshop.options("many")
    options.threads = threads
    try train(plan, options)
    #expect(try workshop.modelBytes("one") == workshop.modelBytes("many"))
    var other = plan
    other.seed = 2
    try train(other, workshop.options("other"))
    #expect(try workshop.modelBytes("one") != workshop.modelBytes("other"))
  }

  @Test func `a folder of another run is refused with a list of what differs`() throws {
    let workshop = try Workshop()
    let plan = try workshop.plan("ce", epochs: 1)
    try train(plan, workshop.options())
    let before = try content(ofFolder: workshop.folder.file("out"))
    var other = plan
    (other.seed, other.learningRate) = (5, 0.25)
    let problem = #expect(throws: Problem.self) { try train(other, workshop.options()) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("seed: the checkpoint has 1, this run has 5") == true)
    #expect(
      problem?.message.contains("learningRate: the checkpoint has 0.05, this run has 0.25") == true)
    #expect(try content(ofFolder: workshop.folder.file("out")) == before)
  }

  @Test func `a finished run is not trained again`() throws {
    let workshop = try Workshop()
    let plan = try workshop.plan("ce", epochs: 2)
    let first = try train(plan, workshop.options())
    let model = try workshop.modelBytes("out")
    let again = try train(plan, workshop.options())
    #expect(again.map(\.loss) == first.map(\.loss))
    #expect(again.map(\.seconds) == first.map(\.seconds))
    #expect(try workshop.modelBytes("out") == model)
  }

  @Test func `a checkpoint is refused when the data behind the same path has changed`() throws {
    let workshop = try Workshop()
    let plan = try workshop.plan("ce", epochs: 1)
    try train(plan, workshop.options())
    var pictures = workshop.pictures
    pictures.pixels[0] ^= 1
    _ = try pictures.write(to: workshop.folder)
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("dataFingerprint") == true)
  }

  @Test func `a checkpoint is refused when the recipe behind the same path has changed`() throws {
    let workshop = try Workshop()
    let plan = try workshop.plan("ce", epochs: 1, "recipe: recipe.yaml")
    try train(plan, workshop.options())
    try workshop.folder.write("{version: 1, operations: [{op: flip}]}", to: "recipe.yaml")
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("recipeDigest") == true)
  }

  @Test(arguments: ["checkpoint.safetensors", "metrics.jsonl"])
  func `a cut off file of a run is refused by its name`(name: String) throws {
    let workshop = try Workshop()
    let plan = try workshop.plan("ce", epochs: 2)
    try train(plan, workshop.options())
    let path = workshop.folder.file("out/\(name)")
    let bytes = try Files.read(path)
    try Files.writeAtomically(Array(bytes.prefix(bytes.count * 2 / 3)), to: path)
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains(path) == true)
  }

  @Test func `training that diverges is refused by its epoch and row`() throws {
    let workshop = try Workshop()
    var plan = try workshop.plan("ce", epochs: 3)
    (plan.learningRate, plan.clipNorm) = (1e30, nil)
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("epoch 1: row") == true)
    #expect(problem?.message.contains("diverged") == true)
    #expect(!Files.exists(workshop.folder.file("out/model.safetensors")))
  }
}

@Suite struct ReplayTests {
  @Test func `replay needs no teacher: it works after the teacher's files are gone`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    try remove(workshop.teacher)
    try remove(workshop.folder.file("teacher.safetensors"))
    try remove(workshop.recipe)
    let metrics = try train(workshop.plan("kd@4", epochs: 1, "cache: cache"), workshop.options())
    #expect(metrics.count == 1)
  }

  @Test func `the memory for decoded records does not change the weights`() throws {
    let workshop = try Workshop(samples: 2100)
    try precompute(workshop.job())
    let plan = try workshop.plan("kd@4", epochs: 4, "cache: cache")
    for (name, bytes) in [("none", 0), ("some", 100_000), ("all", 1 << 30)] {
      var options = workshop.options(name)
      options.decodedBytes = bytes
      try train(plan, options)
    }
    let weights = try ["none", "some", "all"].map { try workshop.modelBytes($0) }
    #expect(Set(weights).count == 1)
  }

  @Test func `a cache of other data is refused by both fingerprints`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    var pictures = workshop.pictures
    pictures.pixels[0] ^= 1
    let other = try pictures.write(to: workshop.folder, name: "other")
    let (mine, theirs) = (
      try openDataSet(other).fingerprint, try openDataSet(workshop.data).fingerprint
    )
    let plan = try workshop.plan("kd@4", data: other, "cache: cache")
    for check in [ViewCheck.all, .blocks(0)] {
      let problem = #expect(throws: Problem.self) {
        try train(plan, workshop.options(check: check))
      }
      #expect(problem?.kind == .corrupt)
      #expect(problem?.message.contains("'data' (fingerprint \(theirs.short))") == true)
      #expect(problem?.message.contains("'other' (fingerprint \(mine.short))") == true)
    }
  }

  @Test func `the view check finds a block that was made from other pixels`() throws {
    let workshop = try Workshop(samples: 2100)
    try precompute(workshop.job("right", views: 3))
    let right = try CacheReader(path: workshop.folder.file("right"))
    let writer = try workshop.writer("wrong", like: "right")
    let bad = BlockKey(view: 1, block: 1)
    for key in right.manifest.blockKeys {
      let digest = key == bad ? Digest(of: "other pixels") : nil
      try writer.append([workshop.makeBlock(key, of: right, viewDigest: digest)])
    }
    _ = try writer.seal()
    let plan = try workshop.plan("kd@4", epochs: 1, "cache: wrong")
    for check in [ViewCheck.all, .blocks(6), .blocks(100)] {
      let problem = #expect(throws: Problem.self) {
        try train(plan, workshop.options(check: check))
      }
      #expect(problem?.kind == .corrupt)
      #expect(problem?.message.contains("view 1, block 1 (samples 2048..<2100)") == true)
    }
    #expect(!Files.exists(workshop.folder.file("out/checkpoint.safetensors")))
    #expect(try train(plan, workshop.options(check: .blocks(0))).count == 1)
  }

  @Test func `an unfinished cache is refused before the first step`() throws {
    let workshop = try Workshop(samples: 2100)
    try precompute(workshop.job("cache", views: 3))
    try workshop.begin("begun", like: "cache", with: [BlockKey(view: 0, block: 0)])
    let plan = try workshop.plan("kd@4", "cache: begun")
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("is not complete") == true)
  }

  @Test func `a loss that compares with a teacher needs a cache`() throws {
    let workshop = try Workshop()
    let problem = #expect(throws: Problem.self) {
      try train(workshop.plan("kd@4"), workshop.options())
    }
    #expect(problem?.kind == .usage)
    #expect(problem?.message.contains("'kd@4'") == true)
  }

  @Test(arguments: ["kd@", "foo", "ce+", "", "kd@-1"])
  func `a loss that cannot be read is refused in words`(loss: String) throws {
    let workshop = try Workshop()
    var plan = try workshop.plan("ce")
    plan.loss = loss
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.kind == .configuration)
    #expect(problem?.message.contains("loss") == true)
  }

  @Test func `a cache and a recipe are not named together`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    let plan = try workshop.plan("ce", "cache: cache", "recipe: recipe.yaml")
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.kind == .usage)
  }
}

@Suite struct MixedAndFeatureTests {
  @Test(arguments: ["mixup", "cutmix"], ["ce", "0.5*ce+0.5*kd@2"])
  func `a student learns the classes from mixed views`(operation: String, loss: String) throws {
    let workshop = try Workshop.withTrainedTeacher()
    try workshop.folder.write(
      "{version: 1, operations: [{op: \(operation)}]}", to: "recipe.yaml")
    try precompute(workshop.job(views: 4))
    let metrics = try train(
      workshop.plan(loss, epochs: 8, "cache: cache", "test: \(workshop.data)"), workshop.options())
    #expect(metrics[7].loss < metrics[0].loss)
    #expect(try #require(metrics[7].testAccuracy) > 0.9)
  }

  @Test func `mixed views are trained with both labels`() throws {
    // Half of one picture and half of another: with its own label alone the loss could fall to 0,
    // with both it cannot fall below the entropy of the shares.
    let workshop = try Workshop()
    try workshop.folder.write(
      "{version: 1, operations: [{op: mixup, share: [0.5, 0.5]}]}", to: "recipe.yaml")
    let metrics = try train(
      workshop.plan("ce", epochs: 40, model: "mlp-64", "recipe: recipe.yaml"), workshop.options())
    let differing = 0.75 * Foundation.log(2.0)  // three of four partners have another label
    #expect(metrics[39].loss > 0.8 * differing)
    #expect(metrics[39].loss < metrics[0].loss)
  }

  @Test(arguments: [nil, "identity.yaml"])
  func `features are cached and replayed`(recipe: String?) throws {
    let workshop = try Workshop.withTrainedTeacher()
    let data = try workshop.pictures.writeFeatures(to: workshop.folder)
    try workshop.folder.write("{version: 1, operations: []}", to: "identity.yaml")
    let plan = try workshop.plan("ce", epochs: 6, data: data, "normalise: {mean: 0, deviation: 1}")
    let taught = try train(plan, workshop.options("features"))
    #expect(taught[5].trainAccuracy > 0.9)
    try copy(
      workshop.folder.file("features/model.safetensors"), to: workshop.folder.file("f.safetensors"))
    var job = workshop.job()
    job.data = data
    job.teacher = try workshop.describeTeacher("f")
    job.recipe = recipe.map { workshop.folder.file($0) }
    #expect(try precompute(job).records == 600)
    let student = try workshop.plan(
      "kd@4", epochs: 4, data: data, "cache: cache", "test: \(data)",
      "normalise: {mean: 0, deviation: 1}")
    let metrics = try train(student, workshop.options())
    #expect(metrics[3].loss < metrics[0].loss)
    #expect(try #require(metrics[3].testAccuracy) > 0.9)
  }

  @Test func `features and a recipe for pictures do not go together`() throws {
    let workshop = try Workshop()
    let data = try workshop.pictures.writeFeatures(to: workshop.folder)
    let problem = #expect(throws: Problem.self) {
      try train(workshop.plan("ce", data: data, "recipe: recipe.yaml"), workshop.options())
    }
    #expect(problem?.kind == .configuration)
    #expect(problem?.message.contains("64 features") == true)
  }
}

@Suite struct EvaluateTests {
  @Test func `the teacher agrees with itself`() throws {
    let workshop = try Workshop.withTrainedTeacher()
    var job = workshop.job(views: 1)
    job.recipe = nil
    try precompute(job)
    let result = try evaluate(
      modelPath: workshop.folder.file("teacher.safetensors"), data: workshop.data,
      cachePath: job.making.cache)
    #expect(result.samples == 300)
    #expect(result.agreement == 1)
    #expect(result.teacherAccuracy == result.accuracy)
    #expect(result.accuracy > 0.9)
  }

  @Test func `accuracy and agreement are shares of samples, counted one by one`() throws {
    let workshop = try Workshop(samples: 2100)
    var job = workshop.job(views: 2)
    job.recipe = nil
    try precompute(job)
    let model = try workshop.writeTeacher("student", seed: 99)
    let result = try evaluate(
      modelPath: workshop.folder.file("student.safetensors"), data: workshop.data,
      cachePath: job.making.cache)
    // A second cache, with the student as its teacher, says what the student names.
    var second = workshop.job("second", views: 1)
    (second.recipe, second.teacher) = (nil, model)
    try precompute(second)
    let (teacher, student) = (
      try firstChoices(job.making.cache), try firstChoices(second.making.cache)
    )
    func share(_ a: [Int32], _ b: [Int32]) -> Double { Double(zip(a, b).count { $0 == $1 }) / 2100 }
    #expect(result.accuracy == share(student, workshop.pictures.labels))
    #expect(result.teacherAccuracy == share(teacher, workshop.pictures.labels))
    #expect(result.agreement == share(student, teacher))
  }

  private func firstChoices(_ cache: String) throws -> [Int32] {
    let reader = try CacheReader(path: cache)
    var batch = reader.makeBatch()
    return try (0..<reader.manifest.blocksPerView).flatMap { block in
      try reader.decode(view: 0, block: block, into: &batch)
      return (0..<batch.count).map { batch.classIDs[$0 * batch.k] }
    }
  }

  @Test func `without a cache there is accuracy alone`() throws {
    let workshop = try Workshop()
    let result = try evaluate(
      modelPath: workshop.folder.file("teacher.safetensors"), data: workshop.data, cachePath: nil)
    #expect(result.agreement == nil && result.teacherAccuracy == nil)
  }

  @Test func `a cache of augmented views is refused`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    let problem = #expect(throws: Problem.self) {
      try evaluate(
        modelPath: workshop.folder.file("teacher.safetensors"), data: workshop.data,
        cachePath: workshop.folder.file("cache"))
    }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("holds augmented views") == true)
  }

  @Test(arguments: [(9, 4), (8, 5)])
  func `a model for other pictures or classes is refused by both`(side: Int, classes: Int) throws {
    let workshop = try Workshop()
    try workshop.writeTeacher("other", side: side, classes: classes, seed: 1)
    let problem = #expect(throws: Problem.self) {
      try evaluate(
        modelPath: workshop.folder.file("other.safetensors"), data: workshop.data, cachePath: nil)
    }
    #expect(problem?.kind == .corrupt)
    #expect(
      problem?.message.contains("takes \(side)x\(side)x1 inputs and names \(classes) classes")
        == true)
  }
}
