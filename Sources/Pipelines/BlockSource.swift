import Basics
import LogitCache

/// One thread's source of a cache's records: a teacher, or files that hold what a teacher said.
protocol BlockSource {
  /// Makes the records of a block.
  ///
  /// - Parameters:
  ///   - encoder: measures full rows.
  ///   - learning: which of how many blocks it is that the cache learns from.
  mutating func measure(
    _ key: BlockKey, _ encoder: BlockEncoder, learning: (index: Int, count: Int)?
  ) throws -> MeasuredBlock
}

/// Whoever gives full rows.
protocol FullRows {
  /// Logits [rows, C] of the last fill.
  var logits: [Float] { get }
  /// Features [rows, D] of the last fill; empty unless they are wanted.
  var features: [Float] { get }

  /// Takes in the rows of samples of a view.
  ///
  /// - Returns: the digest of the tensors that the teacher saw.
  mutating func fill(_ samples: Range<Int>, view: Int) throws -> Digest
}

extension TeacherRows: FullRows {
  mutating func fill(_ samples: Range<Int>, view: Int) throws -> Digest {
    try fill(samples, view: view, row: 0)
  }
}

/// Records of full rows.
struct RowBlocks<Rows: FullRows>: BlockSource {
  private let manifest: Manifest
  private let labels: [Int32]
  private var rows: Rows

  /// - Parameter rows: has room for a block.
  init(_ manifest: Manifest, labels: [Int32], rows: Rows) {
    self.manifest = manifest
    self.labels = labels
    self.rows = rows
  }

  /// Asks for the rows of the whole block at once.
  ///
  /// A teacher's batches start at the block's first sample and never cross its end: a block is always run in the
  /// same batch shapes, so its bytes do not depend on who makes it, or when.
  mutating func measure(
    _ key: BlockKey, _ encoder: BlockEncoder, learning: (index: Int, count: Int)?
  ) throws -> MeasuredBlock {
    let samples = manifest.samples(of: key)
    let digest = try rows.fill(samples, view: key.view)
    let encoding = manifest.encoding
    return try encoder.measure(
      logits: rows.logits.span.extracting(0..<samples.count * encoding.classes),
      labels: Array(labels[samples]), view: key.view, block: key.block,
      firstSample: samples.lowerBound, viewDigest: digest,
      features: rows.features.span.extracting(0..<samples.count * (encoding.featureWidth ?? 0)),
      forCalibration: learning != nil,
      keptRows: learning.map { Calibration.keptRows(encoding, block: $0.index, of: $0.count) } ?? 0)
  }
}
