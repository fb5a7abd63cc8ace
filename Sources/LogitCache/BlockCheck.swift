import Basics

/// Checks of one stored block against its index entry, for `verify`, `merge` and `derive`.
struct BlockCheck {
  let decoder: BlockDecoder

  /// Decodes a stored value and compares it with what the index says of it.
  ///
  /// - Returns: the block's header; its records and canonical bytes are left in the decoder.
  /// - Throws: `Problem(.corrupt)` naming the block.
  @discardableResult
  func check(
    _ value: RawSpan, as key: BlockKey, labels: BlockLabels, _ info: BlockInfo
  ) throws -> BlockHeader {
    let header = try decoder.decode(value, as: key, labels: labels)
    func demand(_ fine: Bool, _ fault: String) throws {
      if !fine { throw Problem(.corrupt, "\(key) is damaged: \(fault)") }
    }
    try demand(header.rows == info.rows, "its index entry has another number of records")
    try demand(value.byteCount == info.storedBytes, "its index entry has another stored length")
    try demand(
      decoder.canonicalBytes.count == info.canonicalBytes,
      "its index entry has another canonical length")
    try demand(header.viewDigest == info.viewDigest, "its index entry has another view digest")
    try demand(
      Digest(of: decoder.canonicalBytes) == info.digest, "its content has another digest")
    try demand(
      info.planes.reduce(0) { $0 + $1.canonicalBytes } == info.canonicalBytes,
      "its planes do not add up")
    // All but the checksum and the length is the frame.
    try demand(
      info.planes.reduce(0) { $0 + $1.storedBytes } == info.storedBytes - 8,
      "its planes' stored bytes do not add up")
    return header
  }

  /// A block as a cache stores it, checked: to be put into another cache of the same bytes.
  func values(of key: BlockKey, in cache: CacheReader) throws -> BlockValues {
    try cache.withValues(of: key) { value, entry, labels, info in
      try check(value, as: key, labels: labels, info)
      return BlockValues(
        key: key, digest: info.digest, value: value.withUnsafeBytes { Array($0) },
        indexEntry: entry.withUnsafeBytes { Array($0) })
    }
  }
}
