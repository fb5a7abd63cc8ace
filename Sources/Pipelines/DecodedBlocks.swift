import LogitCache
import Losses

/// Decodes blocks for replay and keeps what fits a budget, so that later epochs find it decoded.
///
/// What came first stays, nothing is replaced: epochs go through the views in the same cycle again
/// and again, and in a cycle the block that was not used for the longest time is the next one needed.
package struct DecodedBlocks {
  /// How many blocks were decoded so far.
  package private(set) var decoded = 0

  private let cache: CacheReader
  private let coefficients: Bool
  private let ranking: Bool
  private let budget: Int
  private var keptBytes = 0
  private var kept: [BlockKey: TeacherBatch] = [:]
  /// Memory of blocks that were used and not kept.
  private var spares: [TeacherBatch] = []

  /// - Parameters:
  ///   - coefficients: whether those of a subspace tail are wanted.
  ///   - ranking: whether the order of all classes is wanted.
  ///   - keepingBytes: how much memory kept blocks may take.
  package init(
    _ cache: CacheReader, coefficients: Bool = false, ranking: Bool = false, keepingBytes: Int
  ) {
    self.cache = cache
    self.coefficients = coefficients
    self.ranking = ranking
    budget = keepingBytes
  }

  /// A batch of the cache's shape with no rows.
  package func makeBatch() -> TeacherBatch {
    cache.makeBatch(coefficients: coefficients, ranking: ranking)
  }

  /// The records of a block; give them back with `recycle` after use.
  package mutating func records(of key: BlockKey) throws -> TeacherBatch {
    if let records = kept[key] { return records }
    var records = spares.popLast() ?? makeBatch()
    try cache.decode(view: key.view, block: key.block, into: &records)
    decoded += 1
    if keptBytes + records.byteCount <= budget {
      keptBytes += records.byteCount
      kept[key] = records
    }
    return records
  }

  /// Takes the memory of a block's records for others, unless they are kept.
  package mutating func recycle(_ records: consuming TeacherBatch, of key: BlockKey) {
    if kept[key] == nil { spares.append(records) }
  }
}
