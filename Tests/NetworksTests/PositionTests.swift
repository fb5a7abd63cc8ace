import Basics
import Networks
import TestSupport
import Testing

@Suite struct PositionTests {
  /// Logits and the gradients of all parameters, for one random batch.
  private func step(
    _ network: Network, count: Int, seed: UInt64
  ) -> (logits: [Float], gradients: [[Float]]) {
    var random = SeededGenerator(seed: seed)
    let input = network.inputBatch(count: count)
    input.withMutableValues { x in for i in 0..<x.count { x[i] = Float(random.normal()) } }
    let logits = network.forward(input)
    let gradient = network.logitsGradient(count: logits.count)
    gradient.withMutableValues { x in for i in 0..<x.count { x[i] = Float(random.normal()) } }
    let values = logits.withValues { y in (0..<y.count).map { y[$0] } }
    network.backward(gradient)
    return (values, network.parameters.filter(\.isTrained).map(\.gradientValues))
  }

  @Test(arguments: 1...6 as ClosedRange<UInt64>)
  func `an mlp does to every position what it does to a sample`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let (positions, width) = (
      Int.random(in: 2...5, using: &random), Int.random(in: 1...6, using: &random)
    )
    let several = try Network(
      Architecture("mlp-7-4"), input: LayerShape(features: positions * width), classes: 3,
      positions: positions, seed: seed)
    let one = try Network(
      Architecture("mlp-7-4"), input: LayerShape(features: width), classes: 3, seed: seed)
    #expect(several.weightCount == one.weightCount)
    // Batches of several sizes: views of memory that has grown must follow it.
    for count in [2, 5, 3, 9] {
      let (a, b) = (
        step(several, count: count, seed: seed + 10),
        step(one, count: count * positions, seed: seed + 10)
      )
      #expect(a.logits == b.logits, "seed \(seed), \(count) samples")
      #expect(a.gradients == b.gradients, "seed \(seed), \(count) samples")
    }
  }

  @Test(arguments: [
    (48, 48, "cnn-4-4-4-columns", 6), (32, 320, "cnn-2-2-2-columns", 40),
    (9, 11, "cnn-3-3-columns", 3), (8, 2, "cnn-3-columns", 1),
  ])
  func `a picture has a distribution for each column that the convolutions leave`(
    height: Int, width: Int, name: String, positions: Int
  ) throws {
    let network = try Network(
      Architecture(name), input: LayerShape(height: height, width: width, channels: 1), classes: 5,
      seed: 1)
    #expect(network.positions == positions)
    #expect(network.infer(network.inputBatch(count: 3)).count == 3 * positions)
  }

  @Test func `a column depends on what stands near it alone`() throws {
    let network = try Network(
      Architecture("cnn-4-4-columns"), input: LayerShape(height: 8, width: 32, channels: 1),
      classes: 3, seed: 2)
    func logits(bright: Int?) -> [Float] {
      let input = network.inputBatch(count: 1)
      input.withMutableValues { x in
        for i in 0..<x.count { x[i] = i % 32 == bright ? 5 : Float(i % 7) / 7 }
      }
      return network.infer(input).withValues { y in (0..<y.count).map { y[$0] } }
    }
    let (plain, changed) = (logits(bright: nil), logits(bright: 31))
    #expect(plain[..<15] == changed[..<15])
    #expect(plain[21...] != changed[21...])
  }

  @Test(arguments: [2, 3, 8])
  func `the thread count does not change a bit of a step with columns`(threads: Int) throws {
    func stepped(_ threads: Int) throws -> [[Float]] {
      let network = try Network(
        Architecture("cnn-5-6-columns"), input: LayerShape(height: 9, width: 12, channels: 2),
        classes: 4, seed: 3, parallel: Parallel(threads: threads))
      return step(network, count: 13, seed: 4).gradients
    }
    #expect(try stepped(threads) == stepped(1))
  }

  @Test func `a model file says its positions, and one without several is as it was`() throws {
    let folder = ScratchFolder()
    let normalisation = Normalisation(mean: 0.5, deviation: 0.25)
    for (name, input, positions) in [
      ("mlp-4", LayerShape(features: 12), 3),
      ("cnn-3-3-columns", LayerShape(height: 7, width: 9, channels: 1), 1),
    ] {
      let network = try Network(
        Architecture(name), input: input, classes: 3, positions: positions, seed: 1)
      let model = Model(network: network, normalisation: normalisation)
      #expect(model.metadata["positions"] == "3")
      try model.save(to: folder.file("model"))
      let loaded = try Model.load(from: folder.file("model"))
      #expect(loaded.network.positions == 3)
      #expect(loaded.network.parameters.map(\.allValues) == network.parameters.map(\.allValues))
    }
    let plain = try Network(
      Architecture("mlp-4"), input: LayerShape(features: 12), classes: 3, seed: 1)
    #expect(Model(network: plain, normalisation: normalisation).metadata["positions"] == nil)
  }

  @Test(arguments: [
    ("lenet", LayerShape(height: 16, width: 16, channels: 1), "gives 1 distributions"),
    ("cnn-4-columns", LayerShape(height: 16, width: 16, channels: 1), "gives 8 distributions"),
    ("mlp-4", LayerShape(height: 3, width: 3, channels: 1), "cannot be applied to each of 3"),
    ("mlp-4", LayerShape(features: 10), "cannot be applied to each of 3"),
  ])
  func `a network that gives another number of distributions is refused`(
    name: String, input: LayerShape, words: String
  ) throws {
    let problem = try #require(throws: Problem.self) {
      try Network(Architecture(name), input: input, classes: 2, positions: 3, seed: 1)
    }
    #expect(problem.kind == .configuration)
    #expect(problem.message.contains(words), "\(problem)")
  }

  @Test(arguments: ["cnn-columns", "cnn-0-columns", "cnn-4-columns-4", "mlp-4-columns", "columns"])
  func `a columns network without sound widths is unknown`(name: String) {
    #expect { try Architecture(name) } throws: { "\($0)".contains("cnn-WIDTH-...-columns") }
  }

  @Test func `a picture with less than a column left is refused`() {
    #expect {
      try Network(
        Architecture("cnn-2-2-2-columns"), input: LayerShape(height: 8, width: 7, channels: 1),
        classes: 2, seed: 1)
    } throws: { "\($0)".contains("at least 8x8") }
  }
}
