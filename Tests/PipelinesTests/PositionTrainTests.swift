import Arrays
import Basics
import DataSets
import Networks
import Pipelines
import TestSupport
import Testing

/// A folder with sequences of tokens, and training on them.
struct TokenDesk {
  let folder = ScratchFolder()
  let tokens: SmallTokens
  let data: String

  init(_ tokens: SmallTokens) throws {
    self.tokens = tokens
    data = try tokens.write(to: folder)
  }

  func plan(
    _ loss: String, data: String? = nil, model: String = "mlp-16", epochs: Int = 3,
    batch: Int = 16, learningRate: Double = 0.1, _ settings: String...
  ) throws -> TrainingPlan {
    let lines = [
      "version: 1", "data: \(data ?? self.data)", "model: \(model)", "loss: \(loss)",
      "epochs: \(epochs)", "batch: \(batch)", "learning-rate: \(learningRate)",
      "normalise: {mean: 0, deviation: 1}",
    ]
    return try TrainingPlan(
      yamlAt: folder.write((lines + settings).joined(separator: "\n"), to: "training.yaml"))
  }

  func options(
    _ out: String, threads: Int = 1, log: @escaping @Sendable (String) -> Void = { _ in }
  ) -> TrainingOptions {
    TrainingOptions(
      folder: folder.file(out), checkedViews: .all, acceptsError: true, threads: threads, log: log)
  }

  /// The weights that training left in a folder, by name.
  func weights(_ out: String) throws -> [String: [Float]] {
    try Safetensors.read(folder.file(out) + "/model.safetensors").arrays.mapValues { array in
      guard case .float32(let values) = array.values else { return [] }
      return values
    }
  }

  func modelBytes(_ out: String) throws -> [UInt8] {
    try Files.read(folder.file(out) + "/model.safetensors")
  }
}

/// How far two sets of weights are apart at most; -1 when they are of other shapes.
func largestDifference(_ a: [String: [Float]], _ b: [String: [Float]]) -> Float {
  var largest: Float = a.keys == b.keys ? 0 : -1
  for (name, values) in a {
    guard let others = b[name], others.count == values.count else { return -1 }
    for (x, y) in zip(values, others) { largest = max(largest, abs(x - y)) }
  }
  return largest
}

/// Plain gradient steps, so that weights tell gradients.
let plainSteps = ["momentum: 0", "weight-decay: 0", "warm-up-epochs: 0"].joined(separator: "\n")

@Suite struct PositionTrainTests {
  @Test(arguments: 1...6 as ClosedRange<UInt64>)
  func `a step on masked sequences is a step on their labelled tokens alone`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let desk = try TokenDesk(
      SmallTokens(
        count: Int.random(in: 1...30, using: &random),
        positions: Int.random(in: 2...7, using: &random),
        masked: Double.random(in: 0...0.95, using: &random), seed: seed))
    let alone = try desk.tokens.writeLabelled(to: desk.folder)
    // One step sees everything; the order of rows differs, so rounding may.
    let masked = try train(
      desk.plan("ce", epochs: 1, batch: 30, plainSteps), desk.options("masked"))
    let plain = try train(
      desk.plan("ce", data: alone, epochs: 1, batch: 210, plainSteps), desk.options("alone"))
    #expect(abs(masked[0].loss - plain[0].loss) < 1e-5, "seed \(seed)")
    #expect(masked[0].trainAccuracy == plain[0].trainAccuracy, "seed \(seed)")
    let apart = try largestDifference(desk.weights("masked"), desk.weights("alone"))
    #expect((0..<1e-5).contains(apart), "\(apart), seed \(seed)")
  }

  @Test func `a student learns tokens, and accuracy is that of labelled tokens`() throws {
    let desk = try TokenDesk(SmallTokens(count: 200))
    let metrics = try train(
      desk.plan("ce", epochs: 6, "test: \(desk.data)"), desk.options("out"))
    #expect(metrics[5].loss < 0.5 * metrics[0].loss)
    let accuracy = try #require(metrics[5].testAccuracy)
    #expect(accuracy > 0.9)
    let result = try evaluate(
      modelPath: desk.folder.file("out/model.safetensors"), data: desk.data, cachePath: nil)
    #expect(result.accuracy == accuracy)
    #expect(result.samples == 200)
    #expect(result.positions == desk.tokens.labelled)
  }

  @Test func `batches without any label leave the weights alone`() throws {
    var tokens = SmallTokens(count: 12)
    tokens.labels = tokens.labels.map { _ in -1 }
    tokens.labels[7 * 5 + 2] = 1
    let desk = try TokenDesk(tokens)
    let alone = try tokens.writeLabelled(to: desk.folder)
    let masked = try train(
      desk.plan("ce", epochs: 1, batch: 1, plainSteps), desk.options("masked"))
    #expect(masked[0].loss.isFinite)
    #expect(masked[0].trainAccuracy == 0 || masked[0].trainAccuracy == 1)
    // The one step that learns has its own place on the schedule: compare directions.
    try train(desk.plan("ce", data: alone, epochs: 1, batch: 1, plainSteps), desk.options("alone"))
    let fresh = try Network(
      Architecture("mlp-16"), input: LayerShape(features: 6), classes: 4, seed: 1)
    let start = Dictionary(
      uniqueKeysWithValues: fresh.parameters.map { ($0.name, $0.allValues) })
    func moves(_ weights: [String: [Float]]) -> [Float] {
      weights.sorted { $0.key < $1.key }.flatMap { name, values in
        zip(values, start[name] ?? []).map { $0 - $1 }
      }
    }
    let (a, b) = (moves(try desk.weights("masked")), moves(try desk.weights("alone")))
    let (x, y) = (a.map { abs($0) }.max() ?? 0, b.map { abs($0) }.max() ?? 0)
    #expect(x > 0 && y > 0 && a.count == b.count)
    for (one, other) in zip(a, b) { #expect(abs(one / x - other / y) < 1e-3) }
  }

  @Test(arguments: [2, 3])
  func `the thread count changes no bit, and a resumed run is the unbroken one`(
    threads: Int
  ) throws {
    let desk = try TokenDesk(SmallTokens(count: 70))
    let plan = try desk.plan("ce", epochs: 4)
    let (one, part) = (desk.folder.file("one"), desk.folder.file("part"))
    try train(
      plan,
      desk.options("one") { line in
        if line.hasPrefix("epoch 3/4") { try! copy(one, to: part) }
      })
    try train(plan, desk.options("many", threads: threads))
    try train(plan, desk.options("part"))
    #expect(try desk.modelBytes("one") == desk.modelBytes("many"))
    #expect(try desk.modelBytes("one") == desk.modelBytes("part"))
  }

  @Test func `a student of columns learns pictures with one label`() throws {
    let workshop = try Workshop(side: 8)
    let plan = try workshop.plan(
      "ce", epochs: 12, model: "cnn-8-16-columns", "test: \(workshop.data)")
    let metrics = try train(plan, workshop.options("one"))
    #expect(try #require(metrics[11].testAccuracy) > 0.9)
    #expect((0...1).contains(metrics[11].trainAccuracy))
    var options = workshop.options("many")
    options.threads = 2
    try train(plan, options)
    #expect(try workshop.modelBytes("one") == workshop.modelBytes("many"))
    let result = try evaluate(
      modelPath: workshop.folder.file("one/model.safetensors"), data: workshop.data,
      cachePath: nil)
    #expect(result.accuracy == metrics[11].testAccuracy)
    #expect(result.positions == nil)
  }

  @Test func `a student of columns learns pictures with a label for each column`() throws {
    let folder = ScratchFolder()
    let (count, columns) = (200, 4)
    var random = SeededGenerator(seed: 3)
    var (pixels, labels) = ([UInt8](repeating: 0, count: count * 8 * 16), [Int32]())
    for sample in 0..<count {
      for column in 0..<columns {
        let label = Int32.random(in: -1..<3, using: &random)
        labels.append(label)
        for y in 0..<8 {
          for x in 4 * column..<4 * column + 4 {
            let stripes = [y % 2, x % 2, (x + y) % 2, 0][Int(label) & 3]
            pixels[(sample * 8 + y) * 16 + x] = UInt8(
              200 * stripes + Int.random(in: 0..<50, using: &random))
          }
        }
      }
    }
    try NumPy.write(
      NamedArray(shape: [count, 8, 16], values: .uint8(pixels)), to: folder.file("images.npy"))
    try NumPy.write(
      NamedArray(shape: [count, columns], values: .int32(labels)), to: folder.file("labels.npy"))
    let data = try folder.write(
      """
      {kind: arrays, name: lines, images: images.npy, labels: labels.npy, classNames: [a, b, c]}
      """, to: "lines.yaml")
    let plan = try TrainingPlan(
      yamlAt: folder.write(
        """
        {version: 1, data: \(data), test: \(data), model: cnn-8-8-columns, loss: ce, epochs: 8,
         batch: 20, learning-rate: 0.05}
        """, to: "training.yaml"))
    let metrics = try train(
      plan,
      TrainingOptions(
        folder: folder.file("out"), checkedViews: .all, acceptsError: false, threads: 1,
        log: { _ in }))
    #expect(try #require(metrics[7].testAccuracy) > 0.9)
  }

  @Test(arguments: [
    ("lenet", "needs pictures"), ("cnn-4-columns", "needs pictures"),
  ])
  func `a network that does not look at tokens is refused`(model: String, words: String) throws {
    let desk = try TokenDesk(SmallTokens(count: 5))
    let problem = try #require(throws: Problem.self) {
      try train(desk.plan("ce", model: model), desk.options("out"))
    }
    #expect(problem.kind == .configuration)
    #expect(problem.message.contains(words), "\(problem)")
  }

  @Test func `mixed views are refused for a student of columns`() throws {
    let workshop = try Workshop()
    try workshop.folder.write("{version: 1, operations: [{op: mixup}]}", to: "recipe.yaml")
    let problem = try #require(throws: Problem.self) {
      try train(
        workshop.plan("ce", model: "cnn-4-columns", "recipe: recipe.yaml"), workshop.options())
    }
    #expect(problem.kind == .configuration)
    #expect(problem.message.contains("gives 4 distributions"), "\(problem)")
    #expect(problem.message.contains("mixup and cutmix"))
  }

  @Test(arguments: ["kd@4", "ce+nd"])
  func `records and features of whole samples are refused for a student of columns`(
    loss: String
  ) throws {
    let workshop = try Workshop()
    try precompute(workshop.job(features: true))
    let problem = try #require(throws: Problem.self) {
      try train(
        workshop.plan(loss, model: "cnn-4-columns", "cache: cache"), workshop.options())
    }
    #expect(problem.kind == .corrupt)
    #expect(problem.message.contains("records at 1 position of a view"), "\(problem)")
    // The views alone are as good for it as for any student.
    try train(
      workshop.plan("ce", epochs: 1, model: "cnn-4-columns", "cache: cache"), workshop.options())
  }

  @Test func `a test set that the student cannot be measured on is refused before training`() throws
  {
    let desk = try TokenDesk(SmallTokens(count: 20))
    let other = try SmallTokens(count: 20, positions: 6, width: 5).write(
      to: desk.folder, name: "other")
    let problem = try #require(throws: Problem.self) {
      try train(desk.plan("ce", "test: \(other)"), desk.options("out"))
    }
    #expect(problem.kind == .corrupt)
    #expect(problem.message.contains("gives 5 distributions for a sample; other has 6 labels"))
  }
}
