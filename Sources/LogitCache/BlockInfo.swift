public import Basics

/// What is known of a block without reading it: the value of table `index`.
public struct BlockInfo: Equatable, Sendable {
  /// How many records it holds.
  public let rows: Int
  /// Bytes before compression.
  public let canonicalBytes: Int
  /// Bytes of the stored value, checksum included.
  public let storedBytes: Int
  /// SHA-256 of the canonical bytes.
  public let digest: Digest
  /// Digest of the exact inputs that the teacher saw.
  public let viewDigest: Digest
  /// Bytes of each plane.
  public let planes: [PlaneSize]
  /// The measured errors of its records.
  public let certificate: Certificate

  init(_ block: EncodedBlock) {
    rows = block.rows
    canonicalBytes = block.canonicalBytes.count
    storedBytes = block.storedValue.count
    digest = block.digest
    viewDigest = block.viewDigest
    planes = block.planes
    certificate = block.certificate
  }

  /// The stored value.
  var bytes: [UInt8] {
    var writer = ByteWriter()
    writer.append(UInt32(rows))
    writer.append(UInt32(canonicalBytes))
    writer.append(UInt32(storedBytes))
    writer.append(digest.bytes)
    writer.append(viewDigest.bytes)
    writer.append(UInt8(planes.count))
    for plane in planes {
      writer.append(plane.id)
      writer.append(variable: UInt64(plane.canonicalBytes))
      writer.append(variable: UInt64(plane.storedBytes))
    }
    certificate.append(to: &writer)
    return Sealed.wrap(writer.bytes)
  }

  /// Reads a stored entry of a block.
  ///
  /// - Parameter rows: how many records it can have.
  init(_ value: RawSpan, _ encoding: Encoding, rows: ClosedRange<Int>) throws {
    var reader = ByteReader(try Sealed.unwrap(value))
    guard let stored = reader.next(UInt32.self), rows.contains(Int(stored)),
      let canonicalBytes = reader.next(UInt32.self), let storedBytes = reader.next(UInt32.self),
      let digest = reader.next(count: 32).flatMap({ Digest(bytes: $0) }),
      let viewDigest = reader.next(count: 32).flatMap({ Digest(bytes: $0) }),
      let planes = BlockInfo.readPlanes(from: &reader),
      let certificate = Certificate.read(
        from: &reader, temperatures: encoding.temperatures, records: Int(stored)),
      reader.remaining == 0
    else { throw Problem(.corrupt, "its index entry is malformed") }
    self.rows = Int(stored)
    self.canonicalBytes = Int(canonicalBytes)
    self.storedBytes = Int(storedBytes)
    self.digest = digest
    self.viewDigest = viewDigest
    self.planes = planes
    self.certificate = certificate
  }

  @_lifetime(reader: copy reader)
  private static func readPlanes(from reader: inout ByteReader) -> [PlaneSize]? {
    guard let count = reader.next(UInt8.self) else { return nil }
    var planes: [PlaneSize] = []
    for _ in 0..<count {
      guard let id = reader.next(UInt8.self), let canonical = reader.nextVariable(),
        let stored = reader.nextVariable(), canonical <= UInt64(Limits.blockBytes),
        stored <= 2 * UInt64(Limits.blockBytes)
      else { return nil }
      planes.append(
        PlaneSize(canonicalBytes: Int(canonical), storedBytes: Int(stored), id: id))
    }
    return planes
  }
}
