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

  /// How many records samples have, and their positions.
  static let positionsDirectory = entrySize * 2

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
    let allowed = manifest.rows(of: key)
    func demand(_ name: String, _ wanted: Int, _ found: (some FixedWidthInteger)?) throws {
      if let found, found == wanted { return }
      throw mismatch(name, found.map { "\($0)" }, "\(wanted)")
    }
    try demand("magic", Int(magic), reader.next(UInt32.self))
    try demand("version", Manifest.currentVersion, reader.next(UInt16.self))
    try demand("codec", encoding.codec, reader.next(UInt16.self))
    try demand("view", key.view, reader.next(UInt32.self))
    try demand("block", key.block, reader.next(UInt32.self))
    try demand("first sample", samples.lowerBound, reader.next(UInt64.self))
    let rows = reader.next(UInt32.self).map { Int($0) }
    guard let rows, allowed.contains(rows) else {
      let wanted = allowed.count == 1 ? "" : "\(allowed.lowerBound) to "
      throw mismatch("rows", rows.map { "\($0)" }, wanted + "\(allowed.upperBound)")
    }
    try demand("classes", encoding.classes, reader.next(UInt32.self))
    try demand("k", encoding.k, reader.next(UInt32.self))
    try demand("planes", planes, reader.next(UInt16.self))
    try demand("reserved", 0, reader.next(UInt16.self))
    guard let bytes = reader.next(count: 32), let digest = Digest(bytes: bytes) else {
      throw Problem(.corrupt, "its header is cut off")
    }
    return BlockHeader(
      key: key, firstSample: samples.lowerBound, rows: rows, viewDigest: digest)
  }

  private static func mismatch(_ name: String, _ found: String?, _ wanted: String) -> Problem {
    Problem(
      .corrupt, "its header says \(name) \(found ?? "missing"), the manifest \(wanted)")
  }
}
