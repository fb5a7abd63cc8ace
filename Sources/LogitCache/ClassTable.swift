import Basics
import LMDB

/// The class sums of a cache with features: entries of table `meta`, one for each class that occurs.
///
/// An entry for each class, not one for all, so that a commit writes only the classes it has.
enum ClassTable {
  private static let prefix = Array("classSums".utf8)

  /// "classSums", then the class as big-endian UInt32: classes in order, after the calibration.
  private static func key(_ label: UInt32) -> [UInt8] {
    var writer = ByteWriter()
    writer.append(prefix)
    writer.append(label.byteSwapped)
    return writer.bytes
  }

  /// Adds to the stored sums, in the transaction that stores the blocks they come from.
  static func add(
    _ sums: [UInt32: ClassSum], _ transaction: borrowing WriteTransaction,
    _ environment: Environment, _ manifest: Manifest
  ) throws {
    let meta = environment.table("meta")
    for (label, sum) in sums.sorted(by: { $0.key < $1.key }) {
      var total = sum
      if let stored = try transaction.value(forKey: key(label), in: meta) {
        total.add(try read(stored.span.bytes, label, environment, manifest))
      }
      try transaction.put(Sealed.wrap(total.bytes), forKey: key(label), in: meta)
    }
  }

  /// Visits the classes that have records, in order.
  ///
  /// - Throws: `Problem(.corrupt)` naming the class whose entry is damaged, or does not belong here.
  static func forEach(
    _ transaction: borrowing ReadTransaction, _ environment: Environment, _ manifest: Manifest,
    _ body: (_ label: Int, _ sum: ClassSum) throws -> Void
  ) throws {
    try transaction.forEach(in: environment.table("meta")) { stored, value in
      guard let label = try label(stored, environment) else { return true }
      try body(Int(label), try read(value, label, environment, manifest))
      return true
    }
  }

  /// Whether a key of table `meta` names class sums; `forEach` checks of which class.
  static func isKey(_ key: [UInt8]) -> Bool { key.starts(with: prefix) }

  /// The class of a key; `nil` for keys of something else.
  private static func label(_ stored: RawSpan, _ environment: Environment) throws -> UInt32? {
    let bytes = stored.withUnsafeBytes { Array($0) }
    guard isKey(bytes) else { return nil }
    guard bytes.count == prefix.count + 4 else {
      throw Problem(.corrupt, "\(environment.path): table 'meta' holds a malformed key")
    }
    return bytes[prefix.count...].reduce(0) { $0 << 8 | UInt32($1) }
  }

  private static func read(
    _ value: RawSpan, _ label: UInt32, _ environment: Environment, _ manifest: Manifest
  ) throws -> ClassSum {
    do {
      guard let width = manifest.encoding.featureWidth, label < UInt32(manifest.encoding.classes)
      else { throw Problem(.corrupt, "the manifest knows no such sums") }
      return try ClassSum(try Sealed.unwrap(value), width: width, limit: manifest.records)
    } catch let problem as Problem where problem.kind == .corrupt {
      throw Problem(
        .corrupt,
        "\(environment.path): the feature sums of class \(label) are damaged: \(problem.message)")
    }
  }

  /// SHA-256 over every class that has records, its number of records and its sums.
  static func digest(
    _ transaction: borrowing ReadTransaction, _ environment: Environment, _ manifest: Manifest
  ) throws -> Digest {
    var builder = DigestBuilder()
    try forEach(transaction, environment, manifest) { label, sum in
      builder.append(UInt32(label))
      builder.append(sum.bytes)
    }
    return builder.finish()
  }
}
