import Basics
import LogitCache
import Losses
import Teachers

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
  /// Logits [rows or more, C] of the last fill.
  var logits: [Float] { get }
  /// Features [rows or more, D] of the last fill; empty unless they are wanted.
  var features: [Float] { get }
  /// The label of each row of the last fill.
  var labels: [Int32] { get }
  /// Where these rows belong; `nil` without positions.
  var places: RowPlaces? { get }

  /// Takes in the rows of samples of a view.
  ///
  /// - Returns: the digest of the tensors that the teacher saw.
  mutating func fill(_ samples: Range<Int>, view: Int) throws -> Digest
}

extension TeacherRows: FullRows {
  mutating func fill(_ samples: Range<Int>, view: Int) throws -> Digest {
    clear()
    return try add(samples, view: view)
  }
}

/// Records of full rows.
struct RowBlocks<Rows: FullRows>: BlockSource {
  private let manifest: Manifest
  private var rows: Rows

  /// - Parameter rows: has room for a block.
  init(_ manifest: Manifest, rows: Rows) {
    self.manifest = manifest
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
    let (encoding, count) = (manifest.encoding, rows.labels.count)
    return try encoder.measure(
      logits: rows.logits.span.extracting(0..<count * encoding.classes),
      labels: rows.labels, places: rows.places, view: key.view, block: key.block,
      firstSample: samples.lowerBound, viewDigest: digest,
      features: rows.features.span.extracting(0..<count * (encoding.featureWidth ?? 0)),
      forCalibration: learning != nil,
      keptRows: learning.map { Calibration.keptRows(encoding, block: $0.index, of: $0.count) } ?? 0)
  }
}

/// Records of a teacher's rows, measured batch by batch: a batch is still in the processor's cache, and with many
/// classes the rows of a block are a hundred megabytes.
///
/// For records that need no more than their own row: no subspace tail, no positions.
struct TeacherBlocks: BlockSource {
  private let manifest: Manifest
  private var rows: TeacherRows

  init(_ work: TeacherWork) throws {
    manifest = work.manifest
    rows = try TeacherRows(
      work.teacher, work.augmenter,
      samples: min(work.teacher.batchSize, manifest.encoding.blockRows), manifest.encoding)
  }

  /// See `RowBlocks`: batches start at the block's first sample and never cross its end.
  mutating func measure(
    _ key: BlockKey, _ encoder: BlockEncoder, learning: (index: Int, count: Int)?
  ) throws -> MeasuredBlock {
    let samples = manifest.samples(of: key)
    let encoding = manifest.encoding
    var inputs = DigestBuilder()
    encoder.begin(key, rows: samples.count, forCalibration: learning != nil)
    for first in stride(from: samples.lowerBound, to: samples.upperBound, by: rows.batchSize) {
      rows.clear()
      let batch = first..<min(first + rows.batchSize, samples.upperBound)
      try rows.add(batch, view: key.view, hashing: &inputs)
      try encoder.add(
        logits: rows.logits.span.extracting(0..<batch.count * encoding.classes),
        labels: rows.labels,
        features: rows.features.span.extracting(0..<batch.count * (encoding.featureWidth ?? 0)))
    }
    return encoder.finish(viewDigest: inputs.finish())
  }
}
