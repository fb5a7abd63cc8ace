import Basics

/// Widens a student's features to the teacher's for feature losses; used in training, then thrown away.
///
/// BatchNorm, dropout of half the features, a linear layer (the ND paper's repository). The student's own
/// logits do not pass through it.
public final class Projector {
  /// Every array, trained and running.
  public let parameters: [Parameter]
  private let layers: [any Layer]
  private let dropout: Dropout
  private var outputGradient = Workspace()

  /// A projector with fresh weights from features of `width` to features of `outputs`.
  public init(width: Int, outputs: Int, seed: UInt64) {
    // Another stream than the network's first weights.
    var generator = SplitMix64(seed: seed ^ 0x5052_4F4A_4543_5430)
    let shape = LayerShape(features: width)
    dropout = Dropout(shape: shape, seed: generator.next())
    layers = [
      BatchNorm("projector.norm", shape: shape, relu: false), dropout,
      Linear("projector.linear", input: shape, outputs: outputs, generator: &generator),
    ]
    parameters = layers.flatMap(\.parameters)
  }

  /// Projected features [count, outputs] of a training step.
  ///
  /// - Parameter step: counted over the whole run; decides which features are dropped.
  public func forward(_ features: Tensor, step: Int) -> Tensor {
    dropout.step = step
    let parallel = Parallel(threads: 1)
    return layers.reduce(features) { $1.forward($0, mode: .training, parallel: parallel) }
  }

  /// Room for the gradient of the loss at the projected features, [count, outputs].
  public func outputGradient(count: Int) -> Tensor {
    outputGradient.tensor(layers[layers.count - 1].outputShape, count: count)
  }

  /// The gradient at the features from the gradient at the projected ones; sets the parameters'.
  public func backward(_ gradient: Tensor) -> Tensor {
    let parallel = Parallel(threads: 1)
    return layers.reversed().reduce(gradient) { above, layer in
      guard let below = layer.backward(above, parallel: parallel) else {
        preconditionFailure("a projector layer gave no gradient")
      }
      return below
    }
  }
}

/// Sets half of the numbers to zero and doubles the others.
///
/// Srivastava et al. 2014.
/// The mask is a function of seed and step, so a resumed run drops the same numbers.
final class Dropout: Layer {
  let outputShape: LayerShape
  var step = 0
  private let seed: UInt64
  private var output = Workspace()
  private var factors: [Float] = []

  init(shape: LayerShape, seed: UInt64) {
    outputShape = shape
    self.seed = seed
  }

  var parameters: [Parameter] { [] }

  func forward(_ input: Tensor, mode: Mode, parallel: Parallel) -> Tensor {
    guard mode == .training else { return input }
    let output = output.tensor(outputShape, count: input.count)
    let count = input.count * outputShape.count
    draw(count)
    for i in 0..<count { output.base[i] = input.base[i] * factors[i] }
    return output
  }

  func backward(_ gradient: Tensor, parallel: Parallel) -> Tensor? {
    for i in 0..<gradient.count * outputShape.count { gradient.base[i] *= factors[i] }
    return gradient
  }

  /// One random bit for each number.
  private func draw(_ count: Int) {
    if factors.count < count { factors = [Float](repeating: 0, count: count) }
    var generator = SplitMix64(seed: seed &+ UInt64(step) &* 0x9E37_79B9_7F4A_7C15)
    for start in stride(from: 0, to: count, by: 64) {
      var bits = generator.next()
      for i in start..<min(start + 64, count) {
        factors[i] = Float(bits & 1) * 2
        bits >>= 1
      }
    }
  }
}
