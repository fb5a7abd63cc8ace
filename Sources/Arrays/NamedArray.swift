/// The elements of an array file, in C order (the last axis varies fastest).
public enum ArrayValues: Hashable, Sendable {
  case uint8([UInt8])
  case int32([Int32])
  case int64([Int64])
  case float32([Float])
  case float64([Double])

  /// The number of elements.
  public var count: Int {
    switch self {
    case .uint8(let values): values.count
    case .int32(let values): values.count
    case .int64(let values): values.count
    case .float32(let values): values.count
    case .float64(let values): values.count
    }
  }

  /// The element type, for people: "uint8", "float32" and so on.
  public var typeName: String {
    switch self {
    case .uint8: "uint8"
    case .int32: "int32"
    case .int64: "int64"
    case .float32: "float32"
    case .float64: "float64"
    }
  }
}

/// An array as array files hold it: a shape and its elements in C order.
public struct NamedArray: Hashable, Sendable {
  /// The length of each axis; empty for a scalar, which has one element.
  public var shape: [Int]
  /// As many elements as the product of `shape`.
  public var values: ArrayValues

  /// Joins a shape and its elements.
  ///
  /// - Precondition: the product of `shape` is the number of values.
  public init(shape: [Int], values: ArrayValues) {
    let count = shape.reduce(1, *)
    precondition(count == values.count, "shape \(shape) needs \(count), has \(values.count)")
    self.shape = shape
    self.values = values
  }
}

/// The product of a shape read from a file; `nil` when it does not fit an `Int`.
func elementCount(of shape: [Int]) -> Int? {
  var count = 1
  for length in shape {
    guard length >= 0 else { return nil }
    let (product, overflow) = count.multipliedReportingOverflow(by: length)
    guard !overflow else { return nil }
    count = product
  }
  return count
}

/// Element types as they lie in files: little-endian, no padding.
///
/// Both half-width floats are read as float32, which holds them exactly, and never written.
enum ElementType: String, CaseIterable {
  case uint8, int32, int64, float16, bfloat16, float32, float64

  init(of values: ArrayValues) {
    switch values {
    case .uint8: self = .uint8
    case .int32: self = .int32
    case .int64: self = .int64
    case .float32: self = .float32
    case .float64: self = .float64
    }
  }

  var size: Int {
    switch self {
    case .uint8: 1
    case .float16, .bfloat16: 2
    case .int32, .float32: 4
    case .int64, .float64: 8
    }
  }

  /// Reads elements.
  ///
  /// - Precondition: `bytes` holds whole elements.
  func decode(_ bytes: ArraySlice<UInt8>) -> ArrayValues {
    switch self {
    case .uint8: .uint8(Array(bytes))
    case .int32: .int32(littleEndianIntegers(bytes))
    case .int64: .int64(littleEndianIntegers(bytes))
    case .float16: .float32(littleEndianIntegers(bytes).map(float(half:)))
    case .bfloat16:
      .float32(littleEndianIntegers(bytes).map { (bits: UInt16) in float(bfloat: bits) })
    case .float32:
      .float32(littleEndianIntegers(bytes).map { (bits: UInt32) in Float(bitPattern: bits) })
    case .float64:
      .float64(littleEndianIntegers(bytes).map { (bits: UInt64) in Double(bitPattern: bits) })
    }
  }
}

/// The value of an IEEE 754 half.
@inline(__always)
func float(half bits: UInt16) -> Float {
  let sign = UInt32(bits & 0x8000) << 16
  let (exponent, fraction) = (UInt32(bits & 0x7C00) >> 10, UInt32(bits & 0x03FF))
  if exponent == 0 {  // subnormal: the fraction counts steps of 2^-24
    let magnitude = Float(fraction) * 0x1p-24
    return sign == 0 ? magnitude : -magnitude
  }
  if exponent == 31 { return Float(bitPattern: sign | 0x7F80_0000 | fraction << 13) }
  return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
}

/// The value of a bfloat16: the upper half of a float32.
@inline(__always)
func float(bfloat bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

private func littleEndianIntegers<Integer: FixedWidthInteger>(
  _ bytes: ArraySlice<UInt8>
) -> [Integer] {
  let size = Integer.bitWidth / 8
  precondition(bytes.count % size == 0, "\(bytes.count) bytes are not whole elements of \(size)")
  return bytes.withUnsafeBytes { raw in
    (0..<bytes.count / size).map { index in
      Integer(littleEndian: raw.loadUnaligned(fromByteOffset: index * size, as: Integer.self))
    }
  }
}

extension ArrayValues {
  /// Appends the elements' little-endian bytes.
  func append(to bytes: inout [UInt8]) {
    switch self {
    case .uint8(let values): bytes += values
    case .int32(let values): bytes.appendLittleEndian(values)
    case .int64(let values): bytes.appendLittleEndian(values)
    case .float32(let values): bytes.appendLittleEndian(values.map(\.bitPattern))
    case .float64(let values): bytes.appendLittleEndian(values.map(\.bitPattern))
    }
  }
}

extension [UInt8] {
  mutating func appendLittleEndian(_ values: [some FixedWidthInteger]) {
    for value in values { appendLittleEndian(value) }
  }

  mutating func appendLittleEndian(_ value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }
}
