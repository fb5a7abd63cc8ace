import Basics
import LMDB

/// The table `index`: what is known of every stored block without reading it.
enum IndexTable {
  /// Visits the stored blocks with their entries, in key order.
  ///
  /// - Throws: `Problem(.corrupt)` for a block that the manifest does not know.
  static func forEach(
    _ transaction: borrowing ReadTransaction, _ environment: Environment, _ manifest: Manifest,
    _ body: (_ key: BlockKey, _ entry: RawSpan) throws -> Void
  ) throws {
    try transaction.forEach(in: environment.table("index")) { stored, entry in
      guard let key = BlockKey(stored), manifest.contains(key) else {
        throw Problem(
          .corrupt, "\(environment.path) holds a block that its manifest does not know")
      }
      try body(key, entry)
      return true
    }
  }

  /// Reads an entry.
  ///
  /// - Throws: `Problem(.corrupt)` naming the block.
  static func info(_ entry: RawSpan, _ key: BlockKey, _ manifest: Manifest) throws -> BlockInfo {
    do {
      return try BlockInfo(entry, manifest.encoding, rows: manifest.rows(of: key))
    } catch let problem as Problem {
      throw Problem(.corrupt, "\(key): its index entry is damaged: \(problem.message)")
    }
  }

  /// The positions of the stored blocks.
  static func blocks(
    _ transaction: borrowing ReadTransaction, _ environment: Environment, _ manifest: Manifest
  ) throws -> BlockRuns {
    var blocks = BlockRuns()
    try forEach(transaction, environment, manifest) { key, _ in
      blocks.insert(manifest.position(of: key))
    }
    return blocks
  }

  /// The number of records in some of the stored blocks.
  static func records(
    in blocks: BlockRuns, _ transaction: borrowing ReadTransaction, _ environment: Environment,
    _ manifest: Manifest
  ) throws -> Int {
    var records = 0
    try forEach(transaction, environment, manifest) { key, entry in
      if blocks.contains(manifest.position(of: key)) {
        records += try info(entry, key, manifest).rows
      }
    }
    return records
  }
}
