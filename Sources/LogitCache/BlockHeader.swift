import Basics

/// The fixed part of a block's canonical bytes (docs/FORMAT.md, "Block header").
struct BlockHeader: Equatable {
  static let magic: UInt32 = 0x4243_474C  // "LGCB" in file order
  static let size = 72
  static let entrySize = 8
  /// At most 25 groups of ids and as many of gaps, as 2^24 classes have.
  static let largestDirectory = entrySize * (2 * 25 + 4 + Limits.temperatures)

  /// At most 13 groups of coefficients, as 4,096 axes have, and the offsets.
  static let largestSubspaceDirectory = entrySize * (13 + 1)

  /// At most 17 groups of a ranking, as 2^16 classes have.
  static let largestRankingDirectory = entrySize * 17

  var key: BlockKey
  var firstSample: Int
  var rows: Int
  var viewDigest: Digest

  func append(to writer: inout ByteWriter, _ encoding: Encoding, planes: Int) {
    writer.append(BlockHeader.magic)
    writer.append(UInt16(Manifest.currentVersion))
    writer.append(UInt16(encoding.codec))
    writer.append(UInt32(key.view))
    writer.append(UInt32(key.block))
    writer.append(UInt64(firstSample))
    writer.append(UInt32(rows))
    writer.append(UInt32(encoding.classes))
    writer.append(UInt32(encoding.k))
    writer.append(UInt16(planes))
    writer.append(UInt16(0))
    writer.append(viewDigest.bytes)
  }

  /// Reads a header and checks every field against what the manifest says of block `key`.
  @_lifetime(reader: copy reader)
  static func read(
    from reader: inout ByteReader, expecting key: BlockKey, _ manifest: Manifest, planes: Int
  ) throws -> BlockHeader {
    let encoding = manifest.encoding
    let samples = manifest.samples(of: key)
    let expected: [(String, UInt64, UInt64?)] = [
      ("magic", UInt64(magic), reader.next(UInt32.self).map { UInt64($0) }),
      ("version", UInt64(Manifest.currentVersion), reader.next(UInt16.self).map { UInt64($0) }),
      ("codec", UInt64(encoding.codec), reader.next(UInt16.self).map { UInt64($0) }),
      ("view", UInt64(key.view), reader.next(UInt32.self).map { UInt64($0) }),
      ("block", UInt64(key.block), reader.next(UInt32.self).map { UInt64($0) }),
      ("first sample", UInt64(samples.lowerBound), reader.next(UInt64.self)),
      ("rows", UInt64(samples.count), reader.next(UInt32.self).map { UInt64($0) }),
      ("classes", UInt64(encoding.classes), reader.next(UInt32.self).map { UInt64($0) }),
      ("k", UInt64(encoding.k), reader.next(UInt32.self).map { UInt64($0) }),
      ("planes", UInt64(planes), reader.next(UInt16.self).map { UInt64($0) }),
      ("reserved", 0, reader.next(UInt16.self).map { UInt64($0) }),
    ]
    for (name, wanted, found) in expected where found != wanted {
      let text = found.map(String.init) ?? "missing"
      throw Problem(.corrupt, "its header says \(name) \(text), the manifest \(wanted)")
    }
    guard let bytes = reader.next(count: 32), let digest = Digest(bytes: bytes) else {
      throw Problem(.corrupt, "its header is cut off")
    }
    return BlockHeader(
      key: key, firstSample: samples.lowerBound, rows: samples.count, viewDigest: digest)
  }
}
