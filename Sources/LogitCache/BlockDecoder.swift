import Basics
import Compression
import Losses

/// Turns stored values back into records; keeps its working memory between blocks.
///
/// Used by one thread at a time: `CacheReader` lends each call its own.
final class BlockDecoder: @unchecked Sendable {
  private let encoding: Encoding
  private let decompressor: ZstdDecompressor
  private var codec: BlockCodec
  private(set) var columns: RecordColumns
  private(set) var canonicalBytes: [UInt8] = []

  init(_ manifest: Manifest, _ calibration: Calibration) throws {
    encoding = manifest.encoding
    codec = BlockCodec(manifest, calibration)
    columns = RecordColumns(manifest.encoding, axes: calibration.axes)
    decompressor = try ZstdDecompressor()
  }

  /// Decodes a stored value into `columns` and `canonicalBytes`.
  ///
  /// - Throws: `Problem(.corrupt)` naming the block.
  @discardableResult
  func decode(
    _ value: RawSpan, as key: BlockKey, labels: BlockLabels, skippingTail: Bool = false
  ) throws -> BlockHeader {
    do {
      try StoredBlock.unwrap(value, encoding, with: decompressor, into: &canonicalBytes)
      let canonical = canonicalBytes
      return try codec.decode(
        canonical.span.bytes, as: key, labels: labels, into: &columns, skippingTail: skippingTail)
    } catch let problem as Problem {
      throw Problem(problem.kind, "\(key) is damaged: \(problem.message)")
    }
  }

  /// Decodes a stored value into a batch of this cache's shape, a ranking or coefficients only if it has
  /// them.
  func decode(
    _ value: RawSpan, as key: BlockKey, labels: BlockLabels, into batch: inout TeacherBatch
  ) throws {
    try decode(value, as: key, labels: labels, skippingTail: batch.axes == nil && !batch.hasRanking)
    columns.write(to: &batch, encoding)
  }

  /// What the block's digest is over, computed again from the decoded records: differs when the
  /// stored bytes say the same in another way.
  func encodeAgain(_ header: BlockHeader) -> [UInt8] { codec.encode(columns, header).bytes }
}
