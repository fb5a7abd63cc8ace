import Networks
import TestSupport
import Testing

/// The loss of these tests: the sum of logits times fixed random weights, in double precision.
private struct Probe {
  let network: Network
  let batch: [Float]
  let count: Int
  let weights: [Float]

  init(
    _ name: String, input: LayerShape, classes: Int, positions: Int = 1, count: Int, seed: UInt64
  ) throws {
    var random = SeededGenerator(seed: seed)
    network = try Network(
      Architecture(name), input: input, classes: classes, positions: positions, seed: seed)
    self.count = count
    batch =
      name.hasPrefix("ngram")
      ? (0..<count).flatMap { _ in randomText(input.width, &random) }
      : (0..<count * input.count).map { _ in Float(random.normal()) }
    weights = (0..<count * network.positions * classes).map { _ in Float(random.normal()) }
  }

  func loss() -> Double {
    let input = network.inputBatch(count: count)
    input.withMutableValues { values in for i in batch.indices { values[i] = batch[i] } }
    return network.forward(input).withValues { logits in
      weights.indices.reduce(0) { $0 + Double(weights[$1]) * Double(logits[$1]) }
    }
  }

  func backward() {
    let gradient = network.logitsGradient(count: count * network.positions)
    gradient.withMutableValues { values in for i in weights.indices { values[i] = weights[i] } }
    network.backward(gradient)
  }
}

/// The bytes of a text of random length, then zeros.
private func randomText(_ bytes: Int, _ random: inout SeededGenerator) -> [Float] {
  let length = Int.random(in: 1...bytes, using: &random)
  return (0..<bytes).map { $0 < length ? Float(Int.random(in: 1...255, using: &random)) : 0 }
}

@Suite struct GradientTests {
  /// Kinks of ReLU and max pooling make single directions fail by chance; most must agree.
  @Test(arguments: [
    ("mlp", LayerShape(features: 7), 3, 1),
    ("mlp-9-5", LayerShape(height: 3, width: 4, channels: 2), 4, 1),
    ("lenet", LayerShape(height: 17, width: 19, channels: 2), 5, 1),
    ("resnet-8", LayerShape(height: 9, width: 7, channels: 3), 6, 1),
    ("resnet-14", LayerShape(height: 8, width: 8, channels: 1), 2, 1),
    ("cnn-5-7-6", LayerShape(height: 9, width: 11, channels: 2), 4, 1),
    ("mlp", LayerShape(features: 12), 3, 4),
    ("mlp-9-5", LayerShape(features: 15), 4, 3),
    ("cnn-5-7-columns", LayerShape(height: 10, width: 13, channels: 2), 4, 4),
    ("cnn-6-columns", LayerShape(height: 3, width: 2, channels: 1), 3, 1),
    ("ngram-50-8", LayerShape(height: 1, width: 12, channels: 1), 3, 1),
  ])
  func `backward agrees with finite differences for every parameter`(
    name: String, input: LayerShape, classes: Int, positions: Int
  ) throws {
    let seed: UInt64 = 11
    let probe = try Probe(
      name, input: input, classes: classes, positions: positions, count: 6, seed: seed)
    #expect(probe.network.positions == positions)
    _ = probe.loss()
    probe.backward()
    var random = SeededGenerator(seed: seed + 1)
    var (failures, checks) = (0, 0)
    for parameter in probe.network.parameters where parameter.isTrained {
      let analytic = parameter.gradientValues
      // The largest entry has the best signal against rounding; two random ones cover the rest.
      var places = [analytic.indices.max { abs(analytic[$0]) < abs(analytic[$1]) }!]
      places += (0..<2).map { _ in Int.random(in: analytic.indices, using: &random) }
      let scale = analytic.reduce(0) { max($0, abs($1)) }
      for place in places {
        let step: Float = 2e-3
        let original = parameter.value(at: place)
        parameter.setValue(original + step, at: place)
        let above = probe.loss()
        parameter.setValue(original - step, at: place)
        let below = probe.loss()
        parameter.setValue(original, at: place)
        let numeric = (above - below) / Double(2 * step)
        checks += 1
        if abs(numeric - Double(analytic[place])) > 0.03 * Double(scale) + 2e-3 { failures += 1 }
      }
    }
    #expect(failures * 12 <= checks, "\(failures) of \(checks) directions disagree, seed \(seed)")
  }

  @Test func `a wrong gradient is noticed`() throws {
    let probe = try Probe("mlp-4", input: LayerShape(features: 5), classes: 3, count: 4, seed: 3)
    _ = probe.loss()
    probe.backward()
    let bias = probe.network.parameters.last!
    let wrong = bias.gradientValues.map { $0 * 1.1 }
    let step: Float = 1e-2
    bias.setValue(bias.value(at: 0) + step, at: 0)
    let above = probe.loss()
    bias.setValue(bias.value(at: 0) - 2 * step, at: 0)
    let below = probe.loss()
    let numeric = (above - below) / Double(2 * step)
    #expect(abs(numeric - Double(wrong[0])) > 0.03 * Double(abs(wrong[0])))
  }
}

@Suite struct NetworkTests {
  @Test(arguments: [1, 2, 3, 8])
  func `the thread count does not change a bit of a training step`(threads: Int) throws {
    func trained(threads: Int) throws -> [[Float]] {
      try self.trained(
        "resnet-8", LayerShape(height: 8, width: 8, channels: 1), threads: threads
      ) { count, random in (0..<count).map { _ in Float(random.normal()) } }
    }
    #expect(try trained(threads: threads) == trained(threads: 1))
  }

  @Test(arguments: [1, 2, 3, 8])
  func `the thread count does not change a bit of what n-grams learn`(threads: Int) throws {
    func trained(threads: Int) throws -> [[Float]] {
      try self.trained(
        "ngram-300-16", LayerShape(height: 1, width: 40, channels: 1), threads: threads
      ) { count, random in (0..<count / 40).flatMap { _ in randomText(40, &random) } }
    }
    #expect(try trained(threads: threads) == trained(threads: 1))
  }

  /// The weights after three steps; `values` makes the numbers of a batch.
  private func trained(
    _ architecture: String, _ input: LayerShape, threads: Int,
    _ values: (_ count: Int, inout SeededGenerator) -> [Float]
  ) throws -> [[Float]] {
    let network = try Network(
      Architecture(architecture), input: input, classes: 4, seed: 5,
      parallel: Parallel(threads: threads))
    var random = SeededGenerator(seed: 7)
    let optimizer = StochasticGradientDescent(momentum: 0.9, weightDecay: 5e-4)
    for _ in 0..<3 {
      let input = network.inputBatch(count: 13)
      input.withMutableValues { x in
        let values = values(x.count, &random)
        for i in 0..<x.count { x[i] = values[i] }
      }
      _ = network.forward(input)
      let gradient = network.logitsGradient(count: 13)
      gradient.withMutableValues { x in for i in 0..<x.count { x[i] = Float(random.normal()) } }
      network.backward(gradient)
      optimizer.step(network.parameters, learningRate: 0.05)
    }
    return network.parameters.map(\.allValues)
  }

  @Test(arguments: [UInt64(1), 2, 3, 4])
  func `a text's features are the mean over its hashed runs of bytes`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let (bytes, buckets, width) = (20, 64, 8)
    let network = try Network(
      Architecture("ngram-\(buckets)-\(width)"),
      input: LayerShape(height: 1, width: bytes, channels: 1), classes: 2, seed: seed)
    let text = randomText(bytes, &random)
    let input = network.inputBatch(count: 1)
    input.withMutableValues { x in for i in 0..<x.count { x[i] = text[i] } }
    _ = network.infer(input)
    let table = network.parameters[0].allValues
    let letters = text.prefix { $0 > 0 }.map { UInt64($0) }
    var (sum, count) = ([Double](repeating: 0, count: width), 0.0)
    for length in 1...4 where length <= letters.count {
      for start in 0...letters.count - length {
        var hash: UInt64 = 2_166_136_261
        for letter in letters[start..<start + length] {
          hash = (hash ^ letter) * 16_777_619 % 4_294_967_296
        }
        let bucket = Int(hash * 2_654_435_761 % 4_294_967_296 * UInt64(buckets) / 4_294_967_296)
        for i in 0..<width { sum[i] += Double(table[bucket * width + i]) }
        count += 1
      }
    }
    // Fresh running statistics: the normalisation only divides by sqrt(1 + 1e-5).
    network.features.withValues { features in
      for i in 0..<width {
        let expected = sum[i] / count / (1 + 1e-5).squareRoot()
        #expect(abs(Double(features[i]) - expected) < 1e-7, "seed \(seed), \(i)")
      }
    }
  }

  @Test func `the same seed gives the same weights and another seed others`() throws {
    let shape = LayerShape(height: 28, width: 28, channels: 1)
    func weights(seed: UInt64) throws -> [[Float]] {
      try Network(Architecture("lenet"), input: shape, classes: 10, seed: seed).parameters
        .map(\.allValues)
    }
    #expect(try weights(seed: 1) == weights(seed: 1))
    #expect(try weights(seed: 1) != weights(seed: 2))
  }

  @Test(arguments: [
    ("resnet-20", 269_434), ("resnet-8", 75_002), ("lenet", 61_684), ("mlp-32", 25_450),
  ])
  func `architectures have the weights their papers say`(name: String, weights: Int) throws {
    // 269,722 and 75,290 are the known counts of the three-channel forms; one channel has 288 fewer.
    // LeNet-5 has 61,706, here without the 22 biases of its convolutions.
    let network = try Network(
      Architecture(name), input: LayerShape(height: 28, width: 28, channels: 1), classes: 10,
      seed: 1)
    #expect(network.weightCount == weights)
  }

  @Test(arguments: [
    "", "resnet", "resnet-9", "resnet-x", "mlp-0", "lenet-5", "vgg", "ngram-8192", "ngram-8192-20",
  ])
  func `an unknown architecture is refused with the list of known ones`(name: String) {
    #expect {
      try Architecture(name)
    } throws: { "\($0)".contains("choose mlp-WIDTH") }
  }

  @Test func `a picture too small for a network is refused`() throws {
    #expect {
      try Network(
        Architecture("lenet"), input: LayerShape(height: 8, width: 8, channels: 1), classes: 10,
        seed: 1)
    } throws: { "\($0)".contains("at least 16x16") }
  }

  @Test func `weights survive saving and loading, and foreign ones are refused by name`() throws {
    let shape = LayerShape(height: 8, width: 8, channels: 1)
    let network = try Network(Architecture("resnet-8"), input: shape, classes: 4, seed: 5)
    let other = try Network(Architecture("resnet-8"), input: shape, classes: 4, seed: 6)
    try other.load(weights: network.weights(), from: "weights")
    #expect(other.parameters.map(\.allValues) == network.parameters.map(\.allValues))
    let wider = try Network(Architecture("resnet-8"), input: shape, classes: 5, seed: 6)
    #expect {
      try wider.load(weights: network.weights(), from: "a.safetensors")
    } throws: { "\($0)".contains("a.safetensors: array 'classifier.weight' has shape [64, 4]") }
    var broken = network.weights()
    broken["classifier.bias"] = nil
    #expect {
      try other.load(weights: broken, from: "b")
    } throws: { "\($0)".contains("no array 'classifier.bias'") }
  }

  @Test func `the schedule warms up linearly and ends near zero`() {
    let schedule = CosineSchedule(peak: 0.4, warmUpSteps: 4, steps: 104)
    #expect(schedule.learningRate(at: 0) == 0.1)
    #expect(schedule.learningRate(at: 3) == 0.4)
    #expect(schedule.learningRate(at: 4) == 0.4)
    #expect(schedule.learningRate(at: 54) == 0.2)
    #expect(schedule.learningRate(at: 103) < 0.001)
  }
}

@Suite struct ProjectorTests {
  @Test(arguments: [UInt64(1), 2, 3])
  func `a projector's backward agrees with finite differences`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let network = try Network(
      Architecture("mlp-12"), input: LayerShape(features: 6), classes: 3, seed: seed)
    let projector = Projector(width: 12, outputs: 5, seed: seed)
    let input = network.inputBatch(count: 7)
    input.withMutableValues { x in for i in 0..<x.count { x[i] = Float(random.normal()) } }
    let weights = (0..<35).map { _ in Float(random.normal()) }
    func loss() -> Double {
      _ = network.forward(input)
      return projector.forward(network.features, step: 4).withValues { y in
        weights.indices.reduce(0) { $0 + Double(weights[$1]) * Double(y[$1]) }
      }
    }
    _ = loss()
    let above = network.logitsGradient(count: 7)
    above.withMutableValues { x in for i in 0..<x.count { x[i] = 0 } }
    let gradient = projector.outputGradient(count: 7)
    gradient.withMutableValues { x in for i in weights.indices { x[i] = weights[i] } }
    network.backward(above, featureGradient: projector.backward(gradient))
    for parameter in network.parameters.dropLast(2) + projector.parameters where parameter.isTrained
    {
      let analytic = parameter.gradientValues
      let place = analytic.indices.max { abs(analytic[$0]) < abs(analytic[$1]) }!
      let (step, original) = (Float(1e-2), parameter.value(at: place))
      parameter.setValue(original + step, at: place)
      let higher = loss()
      parameter.setValue(original - step, at: place)
      let lower = loss()
      parameter.setValue(original, at: place)
      let numeric = (higher - lower) / Double(2 * step)
      #expect(
        abs(numeric - Double(analytic[place])) < 0.05 * Double(abs(analytic[place])) + 1e-3,
        "\(parameter.name): \(numeric) against \(analytic[place]), seed \(seed)")
    }
  }

  @Test func `the same step drops the same features and another step others`() throws {
    func projected(step: Int) throws -> [Float] {
      let network = try Network(
        Architecture("mlp-12"), input: LayerShape(features: 6), classes: 3, seed: 1)
      let input = network.inputBatch(count: 4)
      input.withMutableValues { x in for i in 0..<x.count { x[i] = Float(i) } }
      _ = network.forward(input)
      return Projector(width: 12, outputs: 5, seed: 1).forward(network.features, step: step)
        .withValues { y in (0..<y.count).map { y[$0] } }
    }
    #expect(try projected(step: 3) == projected(step: 3))
    #expect(try projected(step: 3) != projected(step: 4))
  }
}
