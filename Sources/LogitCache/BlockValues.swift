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
