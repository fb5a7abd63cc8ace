import BLAS
public import Basics
public import DataSets
import Losses
public import Networks
public import Views

/// A network of this package as teacher.
public struct NativeTeacher: Teacher {
  /// See `Teacher`.
  public let identity: JSONValue
  /// See `Teacher`.
  public let classes: Int
  /// See `Teacher`; 0 for a linear classifier, whose features would be its input.
  public let featureWidth: Int
  /// See `Teacher`: as many as the network gives distributions, or the data set's when the network is
  /// applied to each position by itself.
  public let positions: Int
  /// See `Teacher`.
  public let batchSize: Int
  /// Whether the network sees one position at a time.
  private let seesPositions: Bool
  private let weightsPath: String
  /// The weight file, read once: what is digested is what runs, on every thread.
  private let weights: [UInt8]

  /// Reads weights and describes them.
  ///
  /// - Parameters:
  ///   - weightsPath: a safetensors file written by `Model.save`.
  ///   - batchSize: views per forward pass, >= 1.
  ///   - positions: the labels of a sample; features hold as many equal parts.
  /// - Throws: `Problem` naming the file when it is missing, damaged, or made for another input shape.
  public init(
    weightsPath: String, batchSize: Int, inputShape: SampleShape, positions: Int = 1
  ) throws {
    weights = try Files.read(weightsPath)
    let model = try Model.decode(weights, source: weightsPath)
    try model.network.architecture.demandReading(inputShape, of: "the data set")
    let shape = model.network.inputShape
    let part = inputShape.part(of: positions).map { LayerShape($0) }
    seesPositions = positions > 1 && model.network.positions == 1 && shape == part
    guard seesPositions || shape == LayerShape(inputShape) else {
      throw Problem(
        .corrupt,
        "teacher \(weightsPath) takes \(shape) inputs, the data set has \(LayerShape(inputShape))"
      )
    }
    self.weightsPath = weightsPath
    self.batchSize = batchSize
    classes = model.network.classes
    self.positions = seesPositions ? positions : model.network.positions
    featureWidth = model.network.hasTrainedFeatures ? model.network.featureWidth : 0
    identity = .object([
      "kind": .string("native"),
      "weights": .string(Digest(of: weights).description),
      "architecture": .string(model.network.architecture.description),
      "batch": .integer(batchSize),
      "runtime": .string(BLASCore.version),
      "blasCore": .string(BLASCore.active),
    ])
  }

  /// See `Teacher`.
  public func makeSession() throws -> any TeacherSession {
    NativeSession(
      model: try Model.decode(weights, source: weightsPath), positions: positions,
      parts: seesPositions ? positions : 1)
  }
}

private final class NativeSession: TeacherSession {
  private let model: Model
  private let positions: Int
  /// As how many samples the network sees a view.
  private let parts: Int

  init(model: Model, positions: Int, parts: Int) {
    self.model = model
    self.positions = positions
    self.parts = parts
  }

  /// All positions count.
  func logits(
    of batch: borrowing ViewBatch, into logits: inout MutableSpan<Float>,
    places: inout RowPlaces
  ) throws {
    try self.logits(of: batch, into: &logits)
    for _ in 0..<batch.count { places.append(sampleAt: 0..<Int32(positions)) }
  }

  func logits(of batch: borrowing ViewBatch, into logits: inout MutableSpan<Float>) throws {
    let output = model.network.infer(model.inputBatch(of: batch, parts: parts))
    output.withValues { values in
      for i in 0..<values.count { logits[i] = values[i] }
    }
  }

  func features(into features: inout MutableSpan<Float>) {
    model.network.features.withValues { values in
      for i in 0..<values.count { features[i] = values[i] }
    }
  }
}

extension LayerShape {
  /// The network input that holds a sample of this shape.
  public init(_ shape: SampleShape) {
    switch shape {
    case .image(let height, let width, let channels):
      self.init(height: height, width: width, channels: channels)
    case .features(let width):
      self.init(features: width)
    case .text(let bytes):
      self.init(height: 1, width: bytes, channels: 1)
    }
  }
}

extension SampleShape {
  /// The shape of each of some equal parts of features; `nil` when there are none.
  fileprivate func part(of parts: Int) -> SampleShape? {
    guard case .features(let width) = self, width.isMultiple(of: parts) else { return nil }
    return .features(width: width / parts)
  }
}

extension Architecture {
  /// Refuses samples of a kind that the network does not read.
  ///
  /// - Parameter owner: what has the samples, for the error.
  /// - Throws: `Problem(.configuration)`.
  public func demandReading(_ shape: SampleShape, of owner: String) throws {
    var isText = false
    if case .text = shape { isText = true }
    guard readsTexts != isText else { return }
    throw Problem(
      .configuration,
      "network '\(self)' reads \(readsTexts ? "texts" : "pictures or features"), \(owner) has \(shape)"
        + (isText ? "; choose ngram-BUCKETS-WIDTH" : ""))
  }
}

extension Model {
  /// Normalises views into the network's input batch; the bytes of texts stay as they are.
  ///
  /// - Parameter parts: how many samples each view is to the network.
  public func inputBatch(of views: borrowing ViewBatch, parts: Int = 1) -> Tensor {
    let input = network.inputBatch(count: views.count * parts)
    input.withMutableValues { values in
      switch views.shape {
      case .image:
        normalisation.apply(views.pixels.span.extracting(0..<values.count), into: &values)
      case .features:
        normalisation.apply(views.features.span.extracting(0..<values.count), into: &values)
      case .text:
        for i in 0..<values.count { values[i] = Float(views.pixels[i]) }
      }
    }
    return input
  }
}
