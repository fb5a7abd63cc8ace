import Arrays
import Basics

/// A classifier: a stack of layers from a batch of pictures or feature vectors to logits.
///
/// Not thread-safe: each thread uses its own network.
public final class Network {
  /// What it is built from.
  public let architecture: Architecture
  /// The shape of one input sample.
  public let inputShape: LayerShape
  /// C, the number of logits of a position.
  public let classes: Int
  /// T, the distributions that a sample gets: 1, or one for each of its positions.
  public let positions: Int
  /// Every named array of the network, in the order of the layers.
  public let parameters: [Parameter]

  private let layers: [any Layer]
  private let classifier: Linear
  private var latestFeatures: Tensor?
  private let parallel: Parallel
  private var input: Workspace
  private var logitsGradient: Workspace
  private var featureGradient: Workspace

  /// A network with fresh weights; the same seed gives the same bits.
  ///
  /// - Parameters:
  ///   - architecture: what to build.
  ///   - input: the shape of a sample.
  ///   - classes: C.
  ///   - positions: how many labels a sample has; with more than one, the network must give as many
  ///     distributions.
  ///   - seed: decides the weights.
  ///   - parallel: the threads to work on.
  /// - Throws: `Problem(.configuration)` when the input is too small for the architecture, or the
  ///   network gives another number of distributions.
  public init(
    _ architecture: Architecture, input: LayerShape, classes: Int, positions: Int = 1, seed: UInt64,
    parallel: Parallel = Parallel(threads: 1)
  ) throws {
    precondition(positions >= 1, "\(positions) labels of a sample")
    self.architecture = architecture
    inputShape = input
    self.classes = classes
    self.parallel = parallel
    layers = try architecture.layers(
      input: input, classes: classes, positions: positions, seed: seed)
    self.positions = layers.lazy.compactMap { ($0 as? SplitPositions)?.positions }.first ?? 1
    guard positions == 1 || positions == self.positions else {
      throw Problem(
        .configuration,
        "network '\(architecture)' gives \(self.positions) distributions for a sample of \(input), "
          + "but a sample has \(counted(positions, "label")): choose mlp-WIDTH..., which looks at every position, "
          + "or cnn-WIDTH-...-columns with as many columns left")
    }
    guard let last = layers.last as? Linear else {
      preconditionFailure("network \(architecture) must end in a linear layer")
    }
    classifier = last
    parameters = layers.flatMap(\.parameters)
    self.input = Workspace()
    logitsGradient = Workspace()
    featureGradient = Workspace()
  }

  /// The number of trained weights.
  public var weightCount: Int { parameters.filter(\.isTrained).reduce(0) { $0 + $1.count } }

  /// The batch to fill before `forward`: [count, height, width, channels].
  public func inputBatch(count: Int) -> Tensor { input.tensor(inputShape, count: count) }

  /// Logits [count * positions, classes] of a batch, with running statistics.
  public func infer(_ batch: Tensor) -> Tensor { run(batch, mode: .inference) }

  /// Logits [count * positions, classes] of a batch, with batch statistics, ready for `backward`.
  public func forward(_ batch: Tensor) -> Tensor { run(batch, mode: .training) }

  private func run(_ batch: Tensor, mode: Mode) -> Tensor {
    precondition(batch.shape == inputShape, "input \(batch.shape), the network takes \(inputShape)")
    let features = layers.dropLast().reduce(batch) {
      $1.forward($0, mode: mode, parallel: parallel)
    }
    latestFeatures = features
    return classifier.forward(features, mode: mode, parallel: parallel)
  }

  /// D, the width of the features: the input of the last linear layer.
  public var featureWidth: Int { classifier.inputWidth }

  /// Whether features come from a trained layer; a linear classifier's are its input.
  public var hasTrainedFeatures: Bool { layers.dropLast().contains { !$0.parameters.isEmpty } }

  /// The features of the latest batch, [count * positions, featureWidth].
  public var features: Tensor {
    guard let latestFeatures else { preconditionFailure("features before forward") }
    return latestFeatures
  }

  /// Room for the gradient of the loss at `count` rows of logits, [count, classes].
  public func logitsGradient(count: Int) -> Tensor {
    logitsGradient.tensor(LayerShape(features: classes), count: count)
  }

  /// Room for the gradient of a loss at the features, [count, featureWidth].
  public func featureGradient(count: Int) -> Tensor {
    featureGradient.tensor(LayerShape(features: featureWidth), count: count)
  }

  /// Sets every parameter's gradient from the gradient at the logits of the latest `forward`.
  ///
  /// - Parameter featureGradient: added at the features, [count, featureWidth], when a loss looks at them
  ///   too.
  public func backward(_ gradient: Tensor, featureGradient: Tensor? = nil) {
    guard var below = classifier.backward(gradient, parallel: parallel) else { return }
    if let featureGradient {
      add(featureGradient.base, to: below.base, count: below.count * featureWidth)
    }
    for layer in layers.dropLast().reversed() {
      guard let next = layer.backward(below, parallel: parallel) else { return }
      below = next
    }
  }
}

extension Network {
  /// The weights as arrays, by name.
  public func weights() -> [String: NamedArray] { parameters.weights() }

  /// Takes weights from arrays.
  ///
  /// - Throws: `Problem(.corrupt)` naming the first array that is missing, extra or of another shape.
  public func load(weights: [String: NamedArray], from source: String) throws {
    try parameters.load(
      weights: weights, from: source,
      owner:
        "a \(architecture) for \(inputShape) inputs and \(counted(classes, "class", "classes"))")
  }
}

extension [Parameter] {
  /// The values as arrays, by name.
  public func weights() -> [String: NamedArray] {
    Dictionary(uniqueKeysWithValues: map { ($0.name, $0.array(of: $0.values)) })
  }

  /// The optimiser's momentum as arrays, by parameter name.
  public func momentum() -> [String: NamedArray] {
    Dictionary(
      uniqueKeysWithValues: filter(\.isTrained).map { ($0.name, $0.array(of: $0.momentum)) })
  }

  /// Takes values from arrays.
  ///
  /// - Parameter owner: what the parameters belong to, for the error.
  /// - Throws: `Problem(.corrupt)` naming the first array that is missing, extra or of another shape.
  public func load(weights: [String: NamedArray], from source: String, owner: String) throws {
    try copy(weights, into: map { ($0, $0.values) }, from: source, owner: owner)
  }

  /// Takes the optimiser's momentum from arrays.
  ///
  /// - Parameter owner: what the parameters belong to, for the error.
  /// - Throws: `Problem(.corrupt)` naming the first array that is missing, extra or of another shape.
  public func load(momentum: [String: NamedArray], from source: String, owner: String) throws {
    try copy(
      momentum, into: filter(\.isTrained).map { ($0, $0.momentum) }, from: source, owner: owner)
  }

  private func copy(
    _ arrays: [String: NamedArray], into targets: [(Parameter, FloatMemory)], from source: String,
    owner: String
  ) throws {
    for (parameter, memory) in targets {
      guard let array = arrays[parameter.name] else {
        throw Problem(
          .corrupt,
          "\(source) has no array '\(parameter.name)'; it does not belong to \(owner)"
        )
      }
      guard case .float32(let values) = array.values, array.shape == parameter.shape else {
        throw Problem(
          .corrupt,
          "\(source): array '\(parameter.name)' has shape \(array.shape), \(owner) needs float32 \(parameter.shape)"
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
      throw Problem(.corrupt, "\(source) has an array '\(extra)' that does not belong to \(owner)")
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
