public import Basics

/// What one sample is made of.
public enum SampleShape: Hashable, Sendable, CustomStringConvertible {
  /// uint8 pixels, rows from the top, channels together (HWC).
  case image(height: Int, width: Int, channels: Int)
  /// Finite float32 numbers.
  case features(width: Int)
  /// uint8: at least one character in UTF-8 and no zero among them, then zeros to the end.
  case text(bytes: Int)

  /// Numbers per sample.
  public var elementCount: Int {
    switch self {
    case .image(let height, let width, let channels): height * width * channels
    case .features(let width): width
    case .text(let bytes): bytes
    }
  }

  /// "28 x 28 x 1 pixels", "64 features" or "128 bytes of text".
  public var description: String {
    switch self {
    case .image(let height, let width, let channels): "\(height) x \(width) x \(channels) pixels"
    case .features(let width): "\(width) features"
    case .text(let bytes): "\(bytes) bytes of text"
    }
  }
}

/// Labelled samples in a fixed order, all of one shape.
///
/// Samples are numbered 0..<count; that order, the labels and every pixel are part of what a cache
/// belongs to, and `fingerprint` stands for them.
public protocol DataSet: Sendable {
  /// What people call it; not part of the fingerprint.
  var name: String { get }
  /// The number of samples, at least 1.
  var count: Int { get }
  /// The shape of every sample.
  var shape: SampleShape { get }
  /// One name per class; a label is an index into it.
  var classNames: [String] { get }
  /// T, the labels of a sample: 1, or one for each of its positions (tokens, time steps).
  var positions: Int { get }
  /// Labels [count, positions], row-major, each in 0..<classNames.count.
  ///
  /// With more than one position, -1 where a position has no label and does not count; a sample may have
  /// none at all.
  var labels: [Int32] { get }
  /// SHA-256 over shape, count, class names, labels, all elements and what drew them, if they were
  /// drawn (docs/VIEWS.md, "Data sets"); the same for the same data, whatever files it came from.
  var fingerprint: Digest { get }

  /// Copies the pixels of a sample, HWC order, or the bytes of a text.
  ///
  /// - Precondition: `shape` is an image or a text, `sample` is in 0..<count, `pixels` has `elementCount`.
  func copyPixels(of sample: Int, into pixels: inout MutableSpan<UInt8>)

  /// Whether every picture has a size of its own, which views bring to that of `shape`: then
  /// `readPicture` gives the samples, not `copyPixels`.
  var picturesHaveOwnSizes: Bool { get }

  /// Gives a sample's picture in its own size, with the channels of `shape`.
  ///
  /// - Precondition: `shape` is an image, `sample` is in 0..<count.
  /// - Throws: `Problem` when its file is gone, damaged, or another than when the data set was opened.
  func readPicture(of sample: Int, into picture: inout Picture) throws

  /// Copies the features of a sample.
  ///
  /// - Precondition: `shape` is features, `sample` is in 0..<count, `features` has `elementCount`.
  func copyFeatures(of sample: Int, into features: inout MutableSpan<Float>)
}

extension DataSet {
  /// One label per sample.
  public var positions: Int { 1 }

  /// All pictures have the size of `shape`.
  public var picturesHaveOwnSizes: Bool { false }

  /// Copies the pixels of a sample.
  public func readPicture(of sample: Int, into picture: inout Picture) throws {
    guard case .image(let height, let width, let channels) = shape else {
      preconditionFailure("\(name) has \(shape), no pictures")
    }
    (picture.height, picture.width, picture.channels) = (height, width, channels)
    picture.pixels.setCount(shape.elementCount, filler: 0)
    var pixels = picture.pixels.mutableSpan
    copyPixels(of: sample, into: &pixels)
  }
}
