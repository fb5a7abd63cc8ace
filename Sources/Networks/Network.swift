import Basics
import Arrays

/// A classifier: a stack of layers from a batch of pictures or feature vectors to logits.
///
/// Not thread-safe: each thread uses its own network (`replica()` copies the weights).
public final class Network {
  /// What it is built from.
  public let architecture: Architecture
  /// The shape of one input sample.
  public let inputShape: LayerShape
  /// C, the number of logits.
  public let classes: Int
  /// Every named array of the network, in the order of the layers.
  public let parameters: [Parameter]

  private let layers: [any Layer]
  private let parallel: Parallel
  private var input: Workspace
  private var logitsGradient: Workspace

  /// A network with fresh weights; the same seed gives the same bits.
  ///
  /// - Throws: `Problem(.configuration)` when the input is too small for the architecture.
  public init(
    _ architecture: Architecture, input: LayerShape, classes: Int, seed: UInt64,
    parallel: Parallel = Parallel(threads: 1)
  ) throws {
    self.architecture = architecture
    inputShape = input
    self.classes = classes
    self.parallel = parallel
    layers = try architecture.layers(input: input, classes: classes, seed: seed)
    parameters = layers.flatMap(\.parameters)
    self.input = Workspace()
    logitsGradient = Workspace()
  }

  /// The number of trained weights.
  public var weightCount: Int { parameters.filter(\.isTrained).reduce(0) { $0 + $1.count } }

  /// A second network with the same weights, for another thread.
  public func replica() throws -> Network {
    let copy = try Network(architecture, input: inputShape, classes: classes, seed: 0)
    for (source, target) in zip(parameters, copy.parameters) {
      target.values.base.update(from: source.values.base, count: source.count)
    }
    return copy
  }

  /// The batch to fill before `forward`: [count, height, width, channels].
  public func inputBatch(count: Int) -> Tensor { input.tensor(inputShape, count: count) }

  /// Logits [count, classes] of a batch, with running statistics.
  public func infer(_ batch: Tensor) -> Tensor { run(batch, mode: .inference) }

  /// Logits [count, classes] of a batch, with batch statistics, ready for `backward`.
  public func forward(_ batch: Tensor) -> Tensor { run(batch, mode: .training) }

  private func run(_ batch: Tensor, mode: Mode) -> Tensor {
    precondition(batch.shape == inputShape, "input \(batch.shape), the network takes \(inputShape)")
    return layers.reduce(batch) { $1.forward($0, mode: mode, parallel: parallel) }
  }

  /// Room for the gradient of the loss at the logits, [count, classes].
  public func logitsGradient(count: Int) -> Tensor {
    logitsGradient.tensor(LayerShape(features: classes), count: count)
  }

  /// Sets every parameter's gradient from the gradient at the logits of the latest `forward`.
  public func backward(_ gradient: Tensor) {
    var gradient = gradient
    for layer in layers.reversed() {
      guard let below = layer.backward(gradient, parallel: parallel) else { return }
      gradient = below
    }
  }
}

extension Network {
  /// The weights as arrays, by name.
  public func weights() -> [String: NamedArray] {
    Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, $0.array(of: $0.values)) })
  }

  /// The optimiser's momentum as arrays, by parameter name.
  public func momentum() -> [String: NamedArray] {
    Dictionary(
      uniqueKeysWithValues: parameters.filter(\.isTrained).map {
        ($0.name, $0.array(of: $0.momentum))
      })
  }

  /// Takes weights from arrays.
  ///
  /// - Throws: `Problem(.corrupt)` naming the first array that is missing, extra or of another shape.
  public func load(weights: [String: NamedArray], from source: String) throws {
    try copy(weights, into: parameters.map { ($0, $0.values) }, from: source)
  }

  /// Takes the optimiser's momentum from arrays.
  ///
  /// - Throws: `Problem(.corrupt)` naming the first array that is missing, extra or of another shape.
  public func load(momentum: [String: NamedArray], from source: String) throws {
    try copy(momentum, into: parameters.filter(\.isTrained).map { ($0, $0.momentum) }, from: source)
  }

  private func copy(
    _ arrays: [String: NamedArray], into targets: [(Parameter, FloatMemory)], from source: String
  ) throws {
    for (parameter, memory) in targets {
      guard let array = arrays[parameter.name] else {
        throw Problem(
          .corrupt,
          "\(source) has no array '\(parameter.name)'; it does not belong to a \(architecture) for \(inputShape) inputs and \(classes) classes"
        )
      }
      guard case .float32(let values) = array.values, array.shape == parameter.shape else {
        throw Problem(
          .corrupt,
          "\(source): array '\(parameter.name)' has shape \(array.shape), this network needs float32 \(parameter.shape)"
        )
      }
      guard values.allSatisfy(\.isFinite) else {
        throw Problem(
          .corrupt, "\(source): array '\(parameter.name)' holds values that are not finite")
      }
      values.withUnsafeBufferPointer {
        memory.base.update(from: $0.baseAddress!, count: memory.count)
      }
    }
    let known = Set(targets.map(\.0.name))
    if let extra = arrays.keys.filter({ !known.contains($0) }).min() {
      throw Problem(.corrupt, "\(source) has an array '\(extra)' that this network does not know")
    }
  }
}

extension Parameter {
  fileprivate func array(of memory: FloatMemory) -> NamedArray {
    NamedArray(
      shape: shape,
      values: .float32(Array(UnsafeBufferPointer(start: memory.base, count: memory.count))))
  }
}
