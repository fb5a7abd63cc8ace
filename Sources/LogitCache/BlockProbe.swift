import Basics
import Compression
import Losses

/// Decodes single stored values outside a cache, for tests that hand it hostile bytes.
package final class BlockProbe {
  /// What a value holds, once it has passed every check of a reader.
  package struct Content: Equatable {
    /// The canonical bytes.
    package let canonicalBytes: [UInt8]
    /// The same records as the writer would store them.
    package let writtenAgain: [UInt8]
  }

  private let encoding: Encoding
  private let decoder: BlockDecoder
  private let compressor: ZstdCompressor

  /// A probe for blocks of one cache.
  ///
  /// - Parameter calibration: what the cache learned; nothing when left out.
  package init(_ manifest: Manifest, _ calibration: Calibration? = nil) throws {
    try manifest.validate()
    encoding = manifest.encoding
    decoder = try BlockDecoder(manifest, calibration ?? .plain(encoding))
    compressor = try ZstdCompressor(level: encoding.zstdLevel)
  }

  /// Bytes behind a checksum that agrees with them.
  package static func withChecksum(_ payload: [UInt8]) -> [UInt8] { Sealed.wrap(payload) }

  /// The value of a block with these canonical bytes, sound or not, in one sound frame.
  package func storedValue(ofCanonical bytes: [UInt8]) throws -> [UInt8] {
    let frame = try compressor.compress(bytes, pieces: [bytes.count])
    return StoredBlock.wrap(frame.bytes, canonicalLength: bytes.count)
  }

  /// The labels of a block as table `meta` has them after the checksum.
  package func packLabels(_ labels: BlockLabels) -> [UInt8] { LabelTable.pack(labels, encoding) }

  /// Reads what `packLabels` wrote.
  ///
  /// - Throws: `Problem(.corrupt)` unless the bytes are labels of `samples` samples.
  package func unpackLabels(_ bytes: [UInt8], samples: Int) throws -> BlockLabels {
    try LabelTable.unpack(bytes, samples: samples, encoding)
  }

  /// Decodes a stored value as a reader does, and writes it again as `verify` does.
  ///
  /// - Parameter labels: the labels of the block, below C.
  /// - Throws: `Problem(.corrupt)` naming the block.
  package func decode(
    _ value: [UInt8], as key: BlockKey, labels: BlockLabels, into batch: inout TeacherBatch
  ) throws -> Content {
    let header = try decoder.decode(value.span.bytes, as: key, labels: labels)
    decoder.columns.write(to: &batch, encoding)
    return Content(
      canonicalBytes: decoder.canonicalBytes, writtenAgain: decoder.encodeAgain(header))
  }
}
