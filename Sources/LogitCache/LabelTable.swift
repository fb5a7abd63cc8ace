import Basics
import LMDB

/// The labels of a cache's samples: entries of table `meta`, one for each block of samples.
///
/// A label belongs to a sample, not to its views: stored once, it is known before a record is read, and orders of
/// classes can depend on it.
enum LabelTable {
  private static let prefix = Array("labels".utf8)

  private static func key(_ block: Int) -> [UInt8] {
    var writer = ByteWriter()
    writer.append(prefix)
    writer.append(UInt32(block).byteSwapped)
    return writer.bytes
  }

  /// Whether table `meta` of a cache has labels under a key.
  static func has(_ key: [UInt8], _ manifest: Manifest) -> Bool {
    guard key.count == prefix.count + 4, key.starts(with: prefix) else { return false }
    let block = key[prefix.count...].reduce(0) { $0 << 8 | Int($1) }
    return block < manifest.blocksPerView
  }

  /// Digest of labels as UInt32, in sample order: what the manifest names.
  static func digest(_ labels: [Int32]) -> Digest {
    var builder = DigestBuilder()
    for label in labels { builder.append(UInt32(bitPattern: label)) }
    return builder.finish()
  }

  /// Stores all labels.
  static func write(
    _ labels: [Int32], _ transaction: borrowing WriteTransaction, _ environment: Environment,
    _ manifest: Manifest
  ) throws {
    for block in 0..<manifest.blocksPerView {
      let samples = manifest.samples(of: BlockKey(view: 0, block: block))
      let packed = pack(labels[samples].lazy.map { UInt32($0) }, manifest.encoding)
      try transaction.put(Sealed.wrap(packed), forKey: key(block), in: environment.table("meta"))
    }
  }

  /// The labels of a block's samples as they are stored after their checksum.
  static func pack(_ labels: some Sequence<UInt32>, _ encoding: Encoding) -> [UInt8] {
    let width = Calibration.idWidth(encoding.classes)
    var bits = BitWriter()
    for label in labels { bits.append(label, width: width) }
    return bits.finish()
  }

  /// Reads what `pack` wrote: `count` labels, all below C.
  ///
  /// - Throws: `Problem(.corrupt)` when the bytes are not exactly that.
  static func unpack(_ bytes: [UInt8], count: Int, _ encoding: Encoding) throws -> [UInt32] {
    let width = Int(Calibration.idWidth(encoding.classes))
    let labels = try BitReader.unpack(bytes, count: count, width: width)
    guard labels.allSatisfy({ $0 < UInt32(encoding.classes) }) else {
      throw Problem(.corrupt, "one is not a class")
    }
    return labels
  }

  /// The labels of a block's samples, all below C.
  ///
  /// - Throws: `Problem(.corrupt)` when they are missing or damaged.
  static func read(
    _ block: Int, _ transaction: borrowing ReadTransaction, _ environment: Environment,
    _ manifest: Manifest
  ) throws -> [UInt32] {
    let count = manifest.samples(of: BlockKey(view: 0, block: block)).count
    do {
      guard
        let value = try transaction.value(forKey: key(block), in: environment.table("meta"))
      else { throw Problem(.corrupt, "they are missing") }
      let bytes = try Sealed.unwrap(value).withUnsafeBytes { Array($0) }
      return try unpack(bytes, count: count, manifest.encoding)
    } catch let problem as Problem {
      throw Problem(
        problem.kind,
        "\(environment.path): the labels of block \(block) are damaged: \(problem.message)")
    }
  }

  /// Checks all labels against the manifest's digest.
  static func check(
    _ transaction: borrowing ReadTransaction, _ environment: Environment, _ manifest: Manifest
  ) throws {
    var builder = DigestBuilder()
    for block in 0..<manifest.blocksPerView {
      for label in try read(block, transaction, environment, manifest) { builder.append(label) }
    }
    guard builder.finish() == manifest.dataSet.labels else {
      throw Problem(
        .corrupt, "\(environment.path): the labels are not those that the manifest names")
    }
  }
}

/// Integers of a fixed number of bits.
enum BitReader {
  /// Reads all of `bytes` as `count` integers of `width` bits, 1...32.
  static func unpack(_ bytes: [UInt8], count: Int, width: Int) throws -> [UInt32] {
    let entry = PlaneEntry(
      plane: PlaneID.header, group: 0, form: .plain, width: UInt8(width), length: bytes.count)
    return try [UInt32](unsafeUninitializedCapacity: count) { values, filled in
      try bytes.withUnsafeBytes {
        try entry.decode($0, into: UnsafeMutableBufferPointer(rebasing: values[..<count]))
      }
      filled = count
    }
  }
}
