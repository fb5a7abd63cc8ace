import Basics

/// Checks of one stored block against its index entry, for `verify` and `merge`.
struct BlockCheck {
  let decoder: BlockDecoder

  /// Decodes a stored value and compares it with what the index says of it.
  ///
  /// - Returns: the block's header; its records and canonical bytes are left in the decoder.
  /// - Throws: `Problem(.corrupt)` naming the block.
  @discardableResult
  func check(_ value: RawSpan, as key: BlockKey, _ info: BlockInfo) throws -> BlockHeader {
    let header = try decoder.decode(value, as: key)
    func demand(_ fine: Bool, _ fault: String) throws {
      if !fine { throw Problem(.corrupt, "\(key) is damaged: \(fault)") }
    }
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
    return header
  }
}
