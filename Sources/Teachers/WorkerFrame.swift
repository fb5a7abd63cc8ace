import Basics
import Compression

/// A frame of the worker protocol (docs/WORKER.md): a header of 24 bytes and a payload.
struct WorkerFrame: Sendable {
  /// What a frame carries.
  enum Kind: UInt16 {
    case hello = 1
    case welcome, batch, logits, error, goodbye
  }

  /// "LCWP".
  static let magic: [UInt8] = [0x4C, 0x43, 0x57, 0x50]
  /// Of the protocol.
  static let version: UInt16 = 1
  static let headerSize = 24
  /// The longest payload.
  static let limit = 1 << 30

  var kind: Kind
  var request: UInt64
  var payload: [UInt8]

  /// What is sent.
  var bytes: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: WorkerFrame.headerSize) + payload
    WorkerFrame.writeHeader(kind, request, into: &bytes)
    return bytes
  }

  /// Writes the header of the payload that follows in `bytes`.
  static func writeHeader(_ kind: Kind, _ request: UInt64, into bytes: inout [UInt8]) {
    let length = bytes.count - headerSize
    precondition((0...limit).contains(length), "a payload of \(length) bytes")
    let checksum =
      length == 0 ? 0 : crc32(of: bytes.span.bytes.extracting(droppingFirst: headerSize))
    bytes.replaceSubrange(0..<4, with: magic)
    bytes.write(version, at: 4)
    bytes.write(kind.rawValue, at: 6)
    bytes.write(request, at: 8)
    bytes.write(UInt32(length), at: 16)
    bytes.write(checksum, at: 20)
  }

  /// Takes the next frame off a worker's output; `nil` at its end.
  ///
  /// - Parameter read: gives so many bytes, fewer at the end.
  /// - Throws: `Problem(.corrupt)` when what comes is no frame; `nil` is for a frame that is cut off, too.
  static func read(_ read: (Int) -> [UInt8]) throws -> WorkerFrame? {
    let header = read(headerSize)
    let begun = min(4, header.count)
    guard header[..<begun].elementsEqual(magic[..<begun]) else {
      throw Problem(
        .corrupt,
        "wrote \(shown(header)) in the place of a frame: standard output is for frames alone, print "
          + "to standard error")
    }
    guard header.count == headerSize else { return nil }
    let version: UInt16 = header.number(at: 4)
    guard version == WorkerFrame.version else {
      throw Problem(
        .corrupt,
        "speaks version \(version) of the worker protocol, this program speaks "
          + "\(WorkerFrame.version): use a worker and a program of the same release")
    }
    let (kind, length): (UInt16, UInt32) = (header.number(at: 6), header.number(at: 16))
    guard let known = Kind(rawValue: kind) else {
      throw Problem(.corrupt, "sent a frame of the unknown type \(kind)")
    }
    guard length <= limit else {
      throw Problem(.corrupt, "sent a frame of \(length) bytes, at most \(limit) are allowed")
    }
    let payload = read(Int(length))
    guard payload.count == length else { return nil }
    let (stored, computed): (UInt32, UInt32) = (
      header.number(at: 20), crc32(of: payload.span.bytes)
    )
    guard stored == computed else {
      throw Problem(
        .corrupt,
        "sent a frame of \(length) bytes with a wrong checksum: does something else write to its "
          + "standard output?")
    }
    return WorkerFrame(kind: known, request: header.number(at: 8), payload: payload)
  }

  /// The beginning of what is no frame, for people.
  private static func shown(_ bytes: [UInt8]) -> String {
    let line = bytes.prefix { $0 != UInt8(ascii: "\n") }
    let isText = line.allSatisfy { (0x20..<0x7F).contains($0) }
    return isText ? "'\(String(decoding: line, as: UTF8.self))'" : "the bytes \(hexadecimal(bytes))"
  }
}

extension [UInt8] {
  /// The little-endian number at a place.
  func number<Integer: FixedWidthInteger>(at place: Int) -> Integer {
    withUnsafeBytes {
      Integer(littleEndian: $0.loadUnaligned(fromByteOffset: place, as: Integer.self))
    }
  }

  /// Writes a number little-endian.
  mutating func write(_ number: some FixedWidthInteger, at place: Int) {
    withUnsafeMutableBytes {
      $0.storeBytes(of: number.littleEndian, toByteOffset: place, as: type(of: number))
    }
  }
}
