public import Basics
public import DataSets

/// Views of several samples, rendered by an `Augmenter`; make one and use it again and again.
public struct ViewBatch: Sendable {
  /// The shape of every view.
  public let shape: SampleShape
  /// The number of views, B.
  public private(set) var count = 0
  /// [B, elementCount] for images, HWC order, and for the bytes of texts; empty for features.
  public internal(set) var pixels: [UInt8] = []
  /// [B, elementCount] for features; empty for images and texts.
  public internal(set) var features: [Float] = []
  /// The sample mixed into each view, [B]; the view's own sample where there is none.
  public internal(set) var partners: [Int32] = []
  /// The share of each view's own sample, [B], from 0 to 1; 1 where nothing is mixed in.
  public internal(set) var ownShares: [Float] = []

  var own: Canvas
  var partner: Canvas
  var source = SourcePicture()

  /// An empty batch for views of `shape`.
  public init(shape: SampleShape) {
    self.shape = shape
    own = Canvas(size: ImageSize(shape))
    partner = own
  }

  /// Makes room for `count` views; keeps memory from earlier uses.
  mutating func resize(to count: Int) {
    self.count = count
    switch shape {
    case .image, .text: pixels.setCount(count * shape.elementCount, filler: 0)
    case .features: features.setCount(count * shape.elementCount, filler: 0)
    }
    partners.setCount(count, filler: 0)
    ownShares.setCount(count, filler: 1)
  }

  /// Takes the finished image or text on the own canvas as a view.
  mutating func takeBytes(at index: Int, partner: Int, share: Int) {
    copy(own.image, to: index * own.image.count, of: &pixels)
    partners[index] = Int32(partner)
    ownShares[index] = Float(share) / 65536
  }

  /// Hashes what a teacher or student is given: view after view its elements (uint8, or float32
  /// little-endian), its partner (int32) and its own share (float32).
  ///
  /// Hashing several batches one after another is the same as hashing one long batch.
  public func appendTensors(to builder: inout DigestBuilder) {
    let size = shape.elementCount
    for index in 0..<count {
      switch shape {
      case .image, .text:
        pixels.withUnsafeBytes {
          builder.append(UnsafeRawBufferPointer(rebasing: $0[index * size..<(index + 1) * size]))
        }
      case .features:
        for feature in features[index * size..<(index + 1) * size] {
          builder.append(feature.bitPattern)
        }
      }
      builder.append(partners[index])
      builder.append(ownShares[index].bitPattern)
    }
  }
}

extension ImageSize {
  /// The size of an image; a text is one row of bytes; nothing for features.
  init(_ shape: SampleShape) {
    switch shape {
    case .image(let height, let width, let channels):
      self.init(height: height, width: width, channels: channels)
    case .text(let bytes): self.init(height: 1, width: bytes, channels: 1)
    case .features: self.init(height: 0, width: 0, channels: 0)
    }
  }
}

private func copy(_ source: [UInt8], to start: Int, of destination: inout [UInt8]) {
  precondition(start + source.count <= destination.count, "a view beyond the batch's end")
  let source = source.span
  var destination = destination.mutableSpan
  for index in 0..<source.count {
    destination[unchecked: start &+ index] = source[unchecked: index]
  }
}
