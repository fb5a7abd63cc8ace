import Basics

/// Both stored values of a block, ready to be put into a cache.
struct BlockValues {
  let key: BlockKey
  let digest: Digest
  /// The value of table `blocks`.
  let value: [UInt8]
  /// The value of table `index`.
  let indexEntry: [UInt8]
  /// What the block adds to the class sums; empty without features.
  var classSums: [UInt32: ClassSum] = [:]
}

extension BlockValues {
  init(_ block: EncodedBlock) {
    self.init(
      key: block.key, digest: block.digest, value: block.storedValue,
      indexEntry: BlockInfo(block).bytes, classSums: block.classSums)
  }
}

extension CacheWriter {
  /// Makes blocks one after the other and stores them.
  ///
  /// - Parameters:
  ///   - blocks: what to make each of the blocks from.
  ///   - count: how many there are.
  ///   - commitBytes: how much is stored in one commit: what a kill can cost.
  ///   - progress: called after each commit with the blocks made and their number.
  func append<Source>(
    _ blocks: some Sequence<Source>, count: Int, commitBytes: Int,
    progress: (_ done: Int, _ total: Int) throws -> Void, make: (Source) throws -> BlockValues
  ) throws {
    var pending: [BlockValues] = []
    var (bytes, done) = (0, 0)
    for source in blocks {
      let block = try make(source)
      pending.append(block)
      bytes += block.value.count + block.indexEntry.count
      done += 1
      guard bytes >= commitBytes || done == count else { continue }
      try append(pending)
      pending.removeAll()
      bytes = 0
      try progress(done, count)
    }
  }
}
