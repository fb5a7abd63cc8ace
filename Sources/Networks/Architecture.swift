import Basics

/// The shape of a network, by its name: `mlp-256-128`, `lenet`, `resnet-8`, `cnn-32-64-128`, `ngram-8192-24`.
///
/// - `mlp-W1-W2...`: linear layers of these widths with ReLU between; `mlp` alone is a linear classifier.
/// - `lenet`: two 5x5 convolutions with max pooling, then 120 and 84 features (LeCun et al. 1998, with
///   ReLU and max pooling).
/// - `resnet-D`, D = 6n + 2: three stages of n residual blocks with 16, 32 and 64 channels, option A
///   shortcuts (He et al. 2015, arXiv:1512.03385, section 4.2).
/// - `cnn-W1-W2...`: 3x3 convolutions of these widths, each halving the picture, then one that covers all
///   that is left; batch normalisation and ReLU after each. Cheap, and made for pictures whose
///   content stands in the middle: `cnn-32-64-128-256-160` reads characters of 48 x 48 pixels.
/// - `cnn-W1-W2...-columns`: the same convolutions, then the mean over the rows that are left and one linear
///   layer for every column: a distribution for each of width / 2^n positions (rounded up) with n widths.
///   `cnn-32-64-128-columns` looks at 6 positions of 48 pixels, as readers of text lines do.
/// - `ngram-B-W`: for texts: the mean of embeddings of width W, a multiple of 8, of all runs of 1 to 4 bytes
///   hashed into B buckets, batch normalisation, then a linear classifier (`NGramMean`).
///
/// On data with labels for every position an `mlp` is applied to each position by itself.
public struct Architecture: Hashable, Sendable, CustomStringConvertible {
  private enum Family: Hashable {
    case perceptron(widths: [Int])
    case leNet
    case residual(blocksPerStage: Int)
    case convolutional(widths: [Int])
    case columns(widths: [Int])
    case nGrams(buckets: Int, width: Int)
  }

  private let family: Family
  /// The name it was read from.
  public let description: String

  /// Reads a name.
  ///
  /// - Throws: `Problem(.configuration)` that lists the names there are.
  public init(_ name: String) throws {
    description = name
    let parts = name.split(separator: "-", omittingEmptySubsequences: false)
    let hasColumns = parts.first == "cnn" && parts.last == "columns"
    let numbers = parts.dropFirst().dropLast(hasColumns ? 1 : 0).map { Int($0) ?? 0 }
    switch parts.first {
    case "mlp" where numbers.allSatisfy { (1...65_536).contains($0) }:
      family = .perceptron(widths: numbers)
    case "lenet" where numbers.isEmpty:
      family = .leNet
    case "resnet" where numbers.count == 1 && (8...110).contains(numbers[0]) && numbers[0] % 6 == 2:
      family = .residual(blocksPerStage: (numbers[0] - 2) / 6)
    case "cnn"
    where hasColumns && (1...8).contains(numbers.count)
      && numbers.allSatisfy { (1...4096).contains($0) }:
      family = .columns(widths: numbers)
    case "cnn"
    where (2...8).contains(numbers.count) && numbers.allSatisfy { (1...4096).contains($0) }:
      family = .convolutional(widths: numbers)
    case "ngram"
    where numbers.count == 2 && (1...1 << 24).contains(numbers[0])
      && (1...1024).contains(numbers[1]) && numbers[1] % NGramMean.lanes == 0:
      family = .nGrams(buckets: numbers[0], width: numbers[1])
    default:
      throw Problem(
        .configuration,
        "there is no network '\(name)'; choose mlp-WIDTH-WIDTH..., lenet, cnn-WIDTH-WIDTH..., "
          + "cnn-WIDTH-...-columns, resnet-D with D = 8, 14, 20, 32, 44, 56, 110, or for texts "
          + "ngram-BUCKETS-WIDTH with a width divisible by \(NGramMean.lanes)")
    }
  }

  /// Whether its input is the bytes of texts as they are, one row of them; otherwise it is pictures or
  /// features, normalised.
  public var readsTexts: Bool {
    if case .nGrams = family { true } else { false }
  }

  /// The layers, with fresh weights drawn from `seed`.
  ///
  /// - Parameter positions: the labels of a sample; an `mlp` is applied to as many parts of the input.
  /// - Throws: `Problem(.configuration)` when the input is too small for the network.
  func layers(
    input: LayerShape, classes: Int, positions: Int, seed: UInt64
  ) throws -> [any Layer] {
    var generator = SplitMix64(seed: seed)
    switch family {
    case .perceptron(let widths):
      guard positions > 1 else { return Self.perceptron(input, widths, classes, &generator) }
      guard input.height == 1, input.width == 1, input.count.isMultiple(of: positions) else {
        throw Problem(
          .configuration,
          "network '\(description)' cannot be applied to each of \(positions) positions of \(input) "
            + "inputs: it looks at features of shape [positions, d], at pictures cnn-WIDTH-...-columns"
        )
      }
      let split = SplitPositions(input: input, positions: positions)
      return [split] + Self.perceptron(split.outputShape, widths, classes, &generator)
    case .leNet:
      guard input.height >= 16, input.width >= 16 else { throw tooSmall(input, least: 16) }
      return Self.leNet(input, classes, &generator)
    case .residual(let blocks):
      guard input.height >= 4, input.width >= 4 else { throw tooSmall(input, least: 4) }
      return Self.residual(input, blocks, classes, &generator)
    case .convolutional(let widths):
      let least = 1 << (widths.count - 1)
      guard input.height >= least, input.width >= least else {
        throw tooSmall(input, least: least)
      }
      return Self.convolutional(input, widths, classes, &generator)
    case .columns(let widths):
      let least = 1 << widths.count
      guard input.height >= least, input.width >= least else {
        throw tooSmall(input, least: least)
      }
      return Self.columns(input, widths, classes, &generator)
    case .nGrams(let buckets, let width):
      return Self.nGrams(input, buckets, width, classes, &generator)
    }
  }

  private func tooSmall(_ input: LayerShape, least: Int) -> Problem {
    Problem(
      .configuration,
      "network '\(description)' needs pictures of at least \(least)x\(least) pixels, these are \(input)"
    )
  }

  private static func perceptron(
    _ input: LayerShape, _ widths: [Int], _ classes: Int, _ generator: inout SplitMix64
  ) -> [any Layer] {
    var layers: [any Layer] = []
    var shape = input
    for (index, width) in widths.enumerated() {
      layers.append(
        Linear(
          "hidden\(index)", input: shape, outputs: width, needsInputGradient: index > 0,
          generator: &generator))
      shape = LayerShape(features: width)
      layers.append(ReLU(shape: shape))
    }
    layers.append(
      Linear(
        "classifier", input: shape, outputs: classes, needsInputGradient: !widths.isEmpty,
        generator: &generator))
    return layers
  }

  private static func leNet(
    _ input: LayerShape, _ classes: Int, _ generator: inout SplitMix64
  ) -> [any Layer] {
    let first = Convolution(
      "convolution1", input: input, channels: 6, kernel: 5, padding: 2, needsInputGradient: false,
      generator: &generator)
    let firstPool = MaxPool(input: first.outputShape, size: 2)
    let second = Convolution(
      "convolution2", input: firstPool.outputShape, channels: 16, kernel: 5, padding: 0,
      generator: &generator)
    let secondPool = MaxPool(input: second.outputShape, size: 2)
    let hidden = Linear(
      "hidden1", input: secondPool.outputShape, outputs: 120, generator: &generator)
    let last = Linear("hidden2", input: hidden.outputShape, outputs: 84, generator: &generator)
    return [
      first, ReLU(shape: first.outputShape), firstPool,
      second, ReLU(shape: second.outputShape), secondPool,
      hidden, ReLU(shape: hidden.outputShape),
      last, ReLU(shape: last.outputShape),
      Linear("classifier", input: last.outputShape, outputs: classes, generator: &generator),
    ]
  }

  private static func residual(
    _ input: LayerShape, _ blocks: Int, _ classes: Int, _ generator: inout SplitMix64
  ) -> [any Layer] {
    let stem = Convolution(
      "stem.convolution", input: input, channels: 16, kernel: 3, padding: 1,
      needsInputGradient: false, generator: &generator)
    var layers: [any Layer] = [stem, BatchNorm("stem.norm", shape: stem.outputShape, relu: true)]
    var shape = stem.outputShape
    for stage in 0..<3 {
      for block in 0..<blocks {
        let layer = ResidualBlock(
          "stage\(stage + 1).block\(block)", input: shape, channels: 16 << stage,
          stride: stage > 0 && block == 0 ? 2 : 1, generator: &generator)
        layers.append(layer)
        shape = layer.outputShape
      }
    }
    let pool = AveragePool.overPixels(of: shape)
    layers.append(pool)
    layers.append(
      Linear("classifier", input: pool.outputShape, outputs: classes, generator: &generator))
    return layers
  }

  /// 3x3 convolutions that each halve the picture, with batch normalisation and ReLU.
  private static func halvings(
    _ input: LayerShape, _ widths: some Sequence<Int>, _ generator: inout SplitMix64
  ) -> (layers: [any Layer], shape: LayerShape) {
    var (layers, shape): ([any Layer], LayerShape) = ([], input)
    for (index, width) in widths.enumerated() {
      let convolution = Convolution(
        "convolution\(index + 1)", input: shape, channels: width, kernel: 3, stride: 2, padding: 1,
        needsInputGradient: index > 0, generator: &generator)
      shape = convolution.outputShape
      layers += [convolution, BatchNorm("norm\(index + 1)", shape: shape, relu: true)]
    }
    return (layers, shape)
  }

  private static func convolutional(
    _ input: LayerShape, _ widths: [Int], _ classes: Int, _ generator: inout SplitMix64
  ) -> [any Layer] {
    let (layers, shape) = halvings(input, widths.dropLast(), &generator)
    // A convolution over all that is left is a linear layer.
    let last = Linear(
      "convolution\(widths.count)", input: shape, outputs: widths.last!, generator: &generator)
    return layers + [
      last, BatchNorm("norm\(widths.count)", shape: last.outputShape, relu: true),
      Linear("classifier", input: last.outputShape, outputs: classes, generator: &generator),
    ]
  }

  private static func columns(
    _ input: LayerShape, _ widths: [Int], _ classes: Int, _ generator: inout SplitMix64
  ) -> [any Layer] {
    let (layers, shape) = halvings(input, widths, &generator)
    let average = AveragePool.overRows(of: shape)
    let split = SplitPositions(input: average.outputShape, positions: shape.width)
    return layers + [
      average, split,
      Linear("classifier", input: split.outputShape, outputs: classes, generator: &generator),
    ]
  }

  private static func nGrams(
    _ input: LayerShape, _ buckets: Int, _ width: Int, _ classes: Int,
    _ generator: inout SplitMix64
  ) -> [any Layer] {
    let mean = NGramMean(
      "embedding", input: input, buckets: buckets, width: width, generator: &generator)
    return [
      mean, BatchNorm("norm", shape: mean.outputShape, relu: false),
      Linear("classifier", input: mean.outputShape, outputs: classes, generator: &generator),
    ]
  }
}
