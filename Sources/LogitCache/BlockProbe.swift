import Basics
import Compression
import Losses

/// Decodes single stored values outside a cache, for tests that hand it hostile bytes.
package final class BlockProbe {
  /// What a value holds, once it has passed every check of a reader.
  package struct Content: Equatable {
    /// The canonical bytes.
    package let canonicalBytes: [UInt8]
    /// The same records as the writer would store them; `nil` when a record names a class twice,
    /// which `verify` refuses.
    package let writtenAgain: [UInt8]?
  }

  private let decoder: BlockDecoder
  private let compressor: ZstdCompressor

  /// A probe for blocks of one cache.
  package init(_ manifest: Manifest) throws {
    try manifest.validate()
    decoder = try BlockDecoder(manifest)
    compressor = try ZstdCompressor(level: manifest.encoding.zstdLevel)
  }

  /// Bytes behind a checksum that agrees with them.
  package static func withChecksum(_ payload: [UInt8]) -> [UInt8] { Sealed.wrap(payload) }

  /// The value of a block with these canonical bytes, sound or not, in one sound frame.
  package func storedValue(ofCanonical bytes: [UInt8]) throws -> [UInt8] {
    let frame = try compressor.compress(bytes, pieces: [bytes.count])
    return StoredBlock.wrap(frame.bytes, canonicalLength: bytes.count)
  }

  /// Decodes a stored value as a reader does, and writes it again as `verify` does.
  ///
  /// - Throws: `Problem(.corrupt)` naming the block.
  package func decode(
    _ value: [UInt8], as key: BlockKey, into batch: inout TeacherBatch
  ) throws -> Content {
    try decoder.decode(value.span.bytes, as: key, into: &batch)
    let header = try decoder.decode(value.span.bytes, as: key)
    return Content(
      canonicalBytes: decoder.canonicalBytes,
      writtenAgain: decoder.columns.headsAreDistinct() ? decoder.encodeAgain(header) : nil)
  }
}
