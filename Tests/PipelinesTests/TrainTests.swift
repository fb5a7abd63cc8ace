import Basics
import DataSets
import Foundation
import LogitCache
import Losses
import Pipelines
import Schemas
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
    for line in lines { try Schemas.validate(line, against: .train, source: "metrics") }
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
