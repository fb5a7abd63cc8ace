/// The shape of one sample inside a network: height, width, channels (features are 1 x 1 x width).
public struct LayerShape: Hashable, Sendable, CustomStringConvertible {
  /// Rows of pixels.
  public var height: Int
  /// Pixels in a row.
  public var width: Int
  /// Numbers per pixel.
  public var channels: Int

  /// A shape of height x width x channels.
  public init(height: Int, width: Int, channels: Int) {
    self.height = height
    self.width = width
    self.channels = channels
  }

  /// A flat vector of `features` numbers.
  public init(features: Int) { self.init(height: 1, width: 1, channels: features) }

  /// How many numbers one sample has.
  public var count: Int { height * width * channels }

  /// "28x28x1".
  public var description: String { "\(height)x\(width)x\(channels)" }
}

/// Floats at one place for their whole life, aligned to a cache line.
final class FloatMemory {
  /// Floats allocated beyond `count`, so that short rows can be moved eight floats at a time.
  static let slack = 8

  let base: UnsafeMutablePointer<Float>
  let count: Int

  init(count: Int) {
    self.count = count
    let bytes = UnsafeMutableRawPointer.allocate(
      byteCount: (count + Self.slack) * MemoryLayout<Float>.stride, alignment: 64)
    base = bytes.bindMemory(to: Float.self, capacity: count + Self.slack)
    base.initialize(repeating: 0, count: count + Self.slack)
  }

  deinit { base.deallocate() }

  func zero() { base.update(repeating: 0, count: count) }
}

/// A batch of activations or gradients, [count, height, width, channels], row-major.
public final class Tensor {
  /// The shape of one sample.
  public let shape: LayerShape
  /// The number of samples in use.
  public internal(set) var count: Int
  private let memory: FloatMemory

  /// Room for `capacity` samples, zeroed.
  init(_ shape: LayerShape, capacity: Int) {
    self.shape = shape
    count = capacity
    memory = FloatMemory(count: capacity * shape.count)
  }

  /// The memory of another tensor, seen as `count` samples of another shape.
  init(viewing other: Tensor, as shape: LayerShape, count: Int) {
    self.shape = shape
    self.count = count
    memory = other.memory
  }

  /// Whether both have the same memory.
  func sharesMemory(with other: Tensor) -> Bool { memory === other.memory }

  var capacity: Int { shape.count == 0 ? 0 : memory.count / shape.count }
  var base: UnsafeMutablePointer<Float> { memory.base }

  /// The first number of a sample.
  func sample(_ index: Int) -> UnsafeMutablePointer<Float> { memory.base + index * shape.count }

  /// The numbers in use, [count, height, width, channels].
  public func withValues<R>(_ body: (Span<Float>) throws -> R) rethrows -> R {
    try body(UnsafeBufferPointer(start: memory.base, count: count * shape.count).span)
  }

  /// The numbers in use, to be written.
  public func withMutableValues<R>(_ body: (inout MutableSpan<Float>) throws -> R) rethrows -> R {
    let buffer = UnsafeMutableBufferPointer(start: memory.base, count: count * shape.count)
    var span = buffer.mutableSpan
    return try body(&span)
  }
}
