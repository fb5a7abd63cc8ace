/// Where an array lies in a file; its size is that of its shape.
struct ArrayPlace: Hashable, Sendable {
  var type: ElementType
  var shape: [Int]
  var bytes: Range<Int>

  /// The same array so many bytes further on.
  func moved(by offset: Int) -> ArrayPlace {
    ArrayPlace(
      type: type, shape: shape, bytes: bytes.lowerBound + offset..<bytes.upperBound + offset)
  }
}
