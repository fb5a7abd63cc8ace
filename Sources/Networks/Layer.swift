import Basics

/// A named array that training changes: its values, the gradient of the loss, the optimiser's momentum.
public final class Parameter {
  /// The name in weight files, "stage1.block0.convolution1.weight".
  public let name: String
  /// The shape, outermost first.
  public let shape: [Int]
  /// Whether the optimiser updates it; running statistics are stored but not trained.
  public let isTrained: Bool
  let values: FloatMemory
  let gradient: FloatMemory
  let momentum: FloatMemory

  init(_ name: String, _ shape: [Int], isTrained: Bool = true, fill: Float = 0) {
    self.name = name
    self.shape = shape
    self.isTrained = isTrained
    let count = shape.reduce(1, *)
    values = FloatMemory(count: count)
    values.base.update(repeating: fill, count: count)
    gradient = FloatMemory(count: isTrained ? count : 0)
    momentum = FloatMemory(count: isTrained ? count : 0)
  }

  /// How many numbers it has.
  public var count: Int { values.count }

  /// Whether weight decay applies: to matrices and filters, not to biases and scales.
  public var isDecayed: Bool { shape.count > 1 }

  /// Fills with numbers uniform in ±sqrt(6 / fanIn).
  ///
  /// He et al. 2015 (arXiv:1502.01852), in the uniform form.
  /// Uniform, not normal: it needs no libm function, so the bits are the same everywhere.
  func fillForReLU(fanIn: Int, from generator: inout SplitMix64) {
    fill(within: (6 / Float(fanIn)).squareRoot(), from: &generator)
  }

  /// Fills with numbers uniform in ±bound.
  func fill(within bound: Float, from generator: inout SplitMix64) {
    for i in 0..<count {
      // 24 random bits: every value is exact in Float.
      let unit = Float(generator.next() >> 40) * 0x1p-24
      values.base[i] = (2 * unit - 1) * bound
    }
  }
}

/// Whether a forward pass feeds a backward pass.
enum Mode {
  /// Batch statistics, gradients will be asked for.
  case training
  /// Running statistics, nothing is kept.
  case inference
}

/// One step of a network with a hand-written gradient.
///
/// A layer owns its output and its input gradient and reuses them from step to step, so a step
/// allocates nothing once the largest batch has been seen. `backward` belongs to the latest `forward`.
protocol Layer: AnyObject {
  var outputShape: LayerShape { get }
  var parameters: [Parameter] { get }
  func forward(_ input: Tensor, mode: Mode, parallel: Parallel) -> Tensor
  /// Turns the gradient at the output into the gradient at the input and sets the parameters'
  /// gradients. May overwrite `gradient`. Returns `nil` when the layer was told that nothing below
  /// it needs one.
  func backward(_ gradient: Tensor, parallel: Parallel) -> Tensor?
}

/// A tensor that grows to the largest batch seen.
struct Workspace {
  private var tensor: Tensor?

  mutating func tensor(_ shape: LayerShape, count: Int) -> Tensor {
    if let tensor, tensor.capacity >= count {
      tensor.count = count
      return tensor
    }
    let fresh = Tensor(shape, capacity: count)
    tensor = fresh
    return fresh
  }
}

extension Parameter {
  /// A copy of the values, row-major.
  package var allValues: [Float] {
    Array(UnsafeBufferPointer(start: values.base, count: values.count))
  }

  /// A copy of the gradient of the latest `backward`, row-major.
  package var gradientValues: [Float] {
    Array(UnsafeBufferPointer(start: gradient.base, count: gradient.count))
  }

  /// One value, by its place in row-major order.
  package func value(at place: Int) -> Float { values.base[place] }

  /// Replaces one value.
  package func setValue(_ value: Float, at place: Int) { values.base[place] = value }
}
