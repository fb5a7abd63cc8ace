import Basics

/// Names a block: `blockRows` consecutive samples of one view.
public struct BlockKey: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The view, 0..<V.
  public let view: Int
  /// The block within the view; it starts at sample `block * blockRows`.
  public let block: Int

  /// Names a block.
  ///
  /// Both numbers are in 0..<2^32.
  public init(view: Int, block: Int) {
    precondition(
      UInt32(exactly: view) != nil && UInt32(exactly: block) != nil,
      "view \(view) and block \(block) must fit 32 bits")
    self.view = view
    self.block = block
  }

  /// Keys order by view, then block; their stored bytes do too.
  public static func < (a: BlockKey, b: BlockKey) -> Bool { (a.view, a.block) < (b.view, b.block) }

  /// "view 0, block 12".
  public var description: String { "view \(view), block \(block)" }

  /// Both numbers as big-endian UInt32.
  var bytes: [UInt8] {
    var writer = ByteWriter()
    writer.append(UInt32(view).byteSwapped)
    writer.append(UInt32(block).byteSwapped)
    return writer.bytes
  }

  /// Reads a stored key; `nil` unless there are exactly eight bytes.
  init?(_ bytes: RawSpan) {
    guard bytes.byteCount == 8 else { return nil }
    var reader = ByteReader(bytes)
    guard let view = reader.next(UInt32.self), let block = reader.next(UInt32.self) else {
      return nil
    }
    self.init(view: Int(view.byteSwapped), block: Int(block.byteSwapped))
  }
}

/// Appends little-endian integers to a byte array.
struct ByteWriter {
  private(set) var bytes: [UInt8] = []

  mutating func append(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func append(_ more: [UInt8]) { bytes.append(contentsOf: more) }

  /// LEB128: seven bits a byte, low ones first, the top bit set on all but the last byte.
  mutating func append(variable value: UInt64) {
    var rest = value
    while rest >= 128 {
      bytes.append(UInt8(rest & 127) | 128)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}

/// Reads little-endian integers in order; every read is checked.
struct ByteReader: ~Escapable {
  private let bytes: RawSpan
  private(set) var offset = 0

  @_lifetime(copy bytes)
  init(_ bytes: RawSpan) { self.bytes = bytes }

  var remaining: Int { bytes.byteCount - offset }

  @_lifetime(self: copy self)
  mutating func next<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) -> T? {
    guard remaining >= MemoryLayout<T>.size else { return nil }
    let value = bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: T.self)
    offset += MemoryLayout<T>.size
    return T(littleEndian: value)
  }

  @_lifetime(self: copy self)
  mutating func next(count: Int) -> [UInt8]? {
    guard count >= 0, remaining >= count else { return nil }
    let start = offset
    offset += count
    return bytes.withUnsafeBytes { Array($0[start..<start + count]) }
  }

  /// Reads LEB128 in its shortest form; `nil` for anything else.
  @_lifetime(self: copy self)
  mutating func nextVariable() -> UInt64? {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 63, by: 7) {
      guard let byte = next(UInt8.self) else { return nil }
      value |= UInt64(byte & 127) << shift
      if byte < 128 { return byte == 0 && shift > 0 ? nil : value }
    }
    return nil
  }
}
