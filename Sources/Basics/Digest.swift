import Crypto
import Foundation

/// A SHA-256 digest: 32 bytes, written as 64 lower-case hexadecimal digits.
public struct Digest: Hashable, Sendable, CustomStringConvertible, Codable {
  /// The 32 bytes.
  public let bytes: [UInt8]

  /// Wraps 32 bytes; `nil` for any other count.
  public init?(bytes: [UInt8]) {
    guard bytes.count == 32 else { return nil }
    self.bytes = bytes
  }

  /// Reads 64 hexadecimal digits; `nil` for anything else.
  public init?(hex: String) {
    let digits = Array(hex.utf8)
    // `UInt8(_:radix:)` alone would take signs too; they sort before the digits.
    guard digits.count == 64, digits.allSatisfy({ $0 >= UInt8(ascii: "0") }) else { return nil }
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: 64, by: 2) {
      guard let pair = String(bytes: digits[index...index + 1], encoding: .ascii),
        let byte = UInt8(pair, radix: 16)
      else { return nil }
      bytes.append(byte)
    }
    self.bytes = bytes
  }

  /// The digest of a string's UTF-8 bytes.
  public init(of string: String) {
    var hasher = DigestBuilder()
    hasher.append(string)
    self = hasher.finish()
  }

  /// The digest of bytes.
  public init(of bytes: [UInt8]) {
    var hasher = DigestBuilder()
    hasher.append(bytes)
    self = hasher.finish()
  }

  fileprivate init(_ digest: SHA256.Digest) { bytes = Array(digest) }

  /// All 64 hexadecimal digits.
  public var description: String { hexadecimal(bytes) }

  /// The first 12 digits, for people.
  public var short: String { String(description.prefix(12)) }

  /// Reads 64 hexadecimal digits.
  public init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let digest = Digest(hex: text) else {
      throw Problem(.corrupt, "'\(text)' is not a SHA-256 digest (64 hexadecimal digits)")
    }
    self = digest
  }

  /// Writes 64 hexadecimal digits.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

/// SHA-256 over pieces.
public struct DigestBuilder: Sendable {
  private var hasher = SHA256()

  /// Starts with nothing hashed.
  public init() {}

  /// Hashes bytes.
  public mutating func append(_ bytes: [UInt8]) { hasher.update(data: bytes) }

  /// Hashes raw bytes.
  public mutating func append(_ bytes: UnsafeRawBufferPointer) {
    hasher.update(bufferPointer: bytes)
  }

  /// Hashes a string's UTF-8 bytes.
  public mutating func append(_ string: String) { hasher.update(data: Array(string.utf8)) }

  /// Hashes the number of a string's UTF-8 bytes as UInt64, and the bytes.
  public mutating func append(sized value: String) {
    append(UInt64(value.utf8.count))
    append(value)
  }

  /// Hashes an integer's little-endian bytes.
  public mutating func append(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.littleEndian) { hasher.update(bufferPointer: $0) }
  }

  /// Hashes the little-endian bytes of integers.
  public mutating func append(_ values: [some FixedWidthInteger]) {
    values.map(\.littleEndian).withUnsafeBytes { hasher.update(bufferPointer: $0) }
  }

  /// The digest of everything appended so far.
  public func finish() -> Digest { Digest(hasher.finalize()) }
}

/// Lower-case hexadecimal digits of bytes.
public func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
  let digits = Array("0123456789abcdef".utf8)
  var text: [UInt8] = []
  for byte in bytes {
    text.append(digits[Int(byte >> 4)])
    text.append(digits[Int(byte & 15)])
  }
  return String(decoding: text, as: UTF8.self)
}
