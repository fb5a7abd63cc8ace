import Basics
import LMDB

/// What an unfinished cache notes for itself; sealing removes it, and no digest covers it.
extension MetaTable {
  private static let shardKey = Array("shard".utf8)
  private static let awaitedKey = Array("awaited".utf8)

  static func isNote(_ key: [UInt8]) -> Bool { key == shardKey || key == awaitedKey }

  /// The shard of the work that the cache is; `nil` when none is noted.
  static func shard(
    _ transaction: borrowing ReadTransaction, _ environment: Environment
  ) throws -> Shard? {
    guard let bytes = try note(shardKey, transaction, environment) else { return nil }
    guard let shard = Shard(String(decoding: bytes, as: UTF8.self)) else {
      throw Problem(.corrupt, "\(environment.path): the noted shard is damaged")
    }
    return shard
  }

  static func put(
    _ shard: Shard?, _ transaction: borrowing WriteTransaction, _ environment: Environment
  ) throws {
    let meta = environment.table("meta")
    guard let shard else { return try transaction.remove(shardKey, in: meta) }
    let value = Sealed.wrap(Array(shard.description.utf8))
    try transaction.put(value, forKey: shardKey, in: meta)
  }

  /// The blocks that the class sums counted before a merge copied them; some may be stored by now.
  static func awaited(
    _ transaction: borrowing ReadTransaction, _ environment: Environment, _ manifest: Manifest
  ) throws -> BlockRuns {
    guard let bytes = try note(awaitedKey, transaction, environment) else { return BlockRuns() }
    guard let runs = BlockRuns(bytes, end: manifest.blockCount) else {
      throw Problem(.corrupt, "\(environment.path): the awaited blocks are damaged")
    }
    return runs
  }

  static func put(
    awaited: BlockRuns, _ transaction: borrowing WriteTransaction, _ environment: Environment
  ) throws {
    let value = Sealed.wrap(awaited.bytes)
    try transaction.put(value, forKey: awaitedKey, in: environment.table("meta"))
  }

  static func removeNotes(
    _ transaction: borrowing WriteTransaction, _ environment: Environment
  ) throws {
    for key in [shardKey, awaitedKey] {
      try transaction.remove(key, in: environment.table("meta"))
    }
  }

  private static func note(
    _ key: [UInt8], _ transaction: borrowing ReadTransaction, _ environment: Environment
  ) throws -> [UInt8]? {
    guard let value = try transaction.value(forKey: key, in: environment.table("meta")) else {
      return nil
    }
    do {
      return try Sealed.bytes(of: value)
    } catch let problem as Problem {
      throw Problem(.corrupt, "\(environment.path): a note in table 'meta': \(problem.message)")
    }
  }
}
