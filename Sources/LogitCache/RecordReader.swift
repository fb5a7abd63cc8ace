import Basics
public import Losses

/// Reads single records of a cache, by sample and view, in any order.
///
/// A cache is stored in blocks, so a lone record costs as much as its whole block: about 0.3 ms for
/// 2,048 records at k = 10. The blocks read last stay decoded; a record of one of them costs the copy
/// of a row, and no allocation. To read everything, `CacheReader.decode(view:block:into:)` is the
/// way: in order, or block by block in a random order and then rows in a random order among a few.
///
/// One reader serves one thread; any number of them share a `CacheReader`.
public struct RecordReader {
  /// The cache that is read.
  public let cache: CacheReader
  /// How many blocks were decoded so far: what the reads really cost.
  public private(set) var decodedBlocks = 0

  private let manifest: Manifest
  private let capacity: Int
  private let coefficients: Bool
  private let ranking: Bool
  private var held: [HeldBlock] = []
  /// The records of each held block.
  private var records: [TeacherBatch] = []
  /// Reads so far, the clock of `lastUse`.
  private var reads = 0

  private struct HeldBlock {
    /// `nil` after a failure to decode.
    var key: BlockKey?
    var lastUse: Int
  }

  /// A reader that keeps up to `blocks` decoded blocks, at least one.
  ///
  /// A decoded record takes 8 bytes for each of its k classes and about 30 more; with coefficients of a
  /// subspace tail 4 bytes for each axis, too, and with a ranking 4 bytes for each class.
  public init(
    _ cache: CacheReader, blocks: Int = 16, coefficients: Bool = false, ranking: Bool = false
  ) {
    precondition(blocks >= 1, "a reader keeps at least one block, not \(blocks)")
    self.cache = cache
    manifest = cache.manifest
    capacity = blocks
    self.coefficients = coefficients
    self.ranking = ranking
  }

  /// Copies a record into row `row` of a batch.
  ///
  /// - Parameter position: of a cache with positions, which one; `nil` for a cache without.
  /// - Precondition: the batch came from the cache's `makeBatch`, with coefficients or a ranking if this
  ///   reader has them, or has the same shape, and has that row.
  /// - Throws: `Problem(.usage)` when the cache has no such sample or view, or no record at this position;
  ///   `.corrupt` naming the block when it is damaged; `.noInput` when it is not stored.
  public mutating func read(
    sample: Int, view: Int, position: Int? = nil, into batch: inout TeacherBatch, row: Int
  ) throws {
    let (index, place) = try find(sample: sample, view: view)
    let source = try records.withUnsafeBufferPointer {
      try recordRow(of: place, position, $0[index].places, sample: sample, view: view)
    }
    records.withUnsafeBufferPointer { batch.copyRow(source, of: $0[index], to: row) }
  }

  /// The positions that have records, ascending; only 0 without positions.
  ///
  /// - Throws: as `read`.
  public mutating func positions(sample: Int, view: Int) throws -> [Int] {
    let (index, place) = try find(sample: sample, view: view)
    return records.withUnsafeBufferPointer { records in
      guard let places = records[index].places else { return [0] }
      return places.rows(of: place).map { Int(places.positions[$0]) }
    }
  }

  private func recordRow(
    of place: Int, _ position: Int?, _ places: RowPlaces?, sample: Int, view: Int
  ) throws -> Int {
    guard let places else {
      if position == nil || position == 0 { return place }
      throw Problem(.usage, "\(cache.path) has one record per view, at position 0")
    }
    guard let position else {
      throw Problem(
        .usage,
        "\(cache.path) has a record for each of up to \(manifest.encoding.positions?.maximum ?? 1) "
          + "positions: name one")
    }
    guard let row = places.row(of: place, position: position) else {
      throw Problem(
        .usage,
        "\(cache.path): sample \(sample), view \(view) has no record at position \(position)")
    }
    return row
  }

  /// Where a sample's block is held, and the sample's place in it.
  private mutating func find(sample: Int, view: Int) throws -> (index: Int, place: Int) {
    guard (0..<manifest.dataSet.samples).contains(sample), (0..<manifest.views).contains(view)
    else {
      throw Problem(
        .usage,
        "\(cache.path) has \(counted(manifest.dataSet.samples, "sample")) and \(counted(manifest.views, "view")), "
          + "counted from 0; there is no sample \(sample), view \(view)")
    }
    let (block, place) = sample.quotientAndRemainder(dividingBy: manifest.encoding.blockRows)
    let index = try hold(BlockKey(view: view, block: block))
    reads += 1
    held[index].lastUse = reads
    return (index, place)
  }

  /// Where a block is held, decoded in place of the one not used for the longest time if need be.
  private mutating func hold(_ key: BlockKey) throws -> Int {
    for index in held.indices where held[index].key == key { return index }
    let index = vacancy()
    held[index].key = nil
    try cache.decode(view: key.view, block: key.block, into: &records[index])
    held[index].key = key
    decodedBlocks += 1
    return index
  }

  private mutating func vacancy() -> Int {
    if held.count < capacity {
      held.append(HeldBlock(key: nil, lastUse: 0))
      records.append(cache.makeBatch(coefficients: coefficients, ranking: ranking))
      return held.count - 1
    }
    return held.indices.min { held[$0].lastUse < held[$1].lastUse } ?? 0
  }
}
