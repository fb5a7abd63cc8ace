import Basics
import Compression

/// Every value of every table starts with the CRC-32 of the bytes after it.
enum Sealed {
  static func wrap(_ payload: [UInt8]) -> [UInt8] {
    var writer = ByteWriter()
    writer.append(crc32(of: payload.span.bytes))
    writer.append(payload)
    return writer.bytes
  }

  /// The bytes after a CRC-32 that agrees with them.
  @_lifetime(copy value)
  static func unwrap(_ value: RawSpan) throws -> RawSpan {
    guard value.byteCount >= 4 else {
      throw Problem(.corrupt, "its value has only \(value.byteCount) bytes")
    }
    let stored = UInt32(
      littleEndian: value.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt32.self))
    let payload = value.extracting(droppingFirst: 4)
    let computed = crc32(of: payload)
    guard stored == computed else {
      throw Problem(
        .corrupt,
        "its checksum is \(computed.hexadecimal) over \(payload.byteCount) bytes, "
          + "\(stored.hexadecimal) is stored")
    }
    return payload
  }

  /// A copy of the bytes after a CRC-32 that agrees with them.
  static func bytes(of value: RawSpan) throws -> [UInt8] {
    try unwrap(value).withUnsafeBytes { Array($0) }
  }
}

extension UInt32 {
  /// Eight hexadecimal digits.
  fileprivate var hexadecimal: String {
    let digits = String(self, radix: 16)
    return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
  }
}

/// The value of table `blocks`: CRC-32, canonical length, zstd frame.
enum StoredBlock {
  static func wrap(_ frame: [UInt8], canonicalLength: Int) -> [UInt8] {
    var writer = ByteWriter()
    writer.append(UInt32(canonicalLength))
    writer.append(frame)
    return Sealed.wrap(writer.bytes)
  }

  /// Unpacks a value into canonical bytes; nothing is allocated before its length is bounded.
  static func unwrap(
    _ value: RawSpan, _ encoding: Encoding, with decompressor: ZstdDecompressor,
    into canonical: inout [UInt8]
  ) throws {
    let payload = try Sealed.unwrap(value)
    guard payload.byteCount >= 4 else { throw Problem(.corrupt, "its length is missing") }
    let stored = payload.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt32.self)
    let length = Int(UInt32(littleEndian: stored))
    guard length <= encoding.largestBlock else {
      throw Problem(
        .corrupt,
        "it claims \(length) bytes, the manifest allows at most \(encoding.largestBlock)")
    }
    let frame = payload.extracting(droppingFirst: 4)
    try decompressor.decompress(frame, to: length, into: &canonical)
  }
}
