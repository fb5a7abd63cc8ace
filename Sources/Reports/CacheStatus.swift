public import Basics
import LogitCache

/// How much of a cache is there, over all folders that hold parts of it: the content of `status --json`
/// (`schemas/status.schema.json`).
public struct CacheStatus: Codable, Equatable, Sendable {
  /// One folder.
  public struct Folder: Codable, Equatable, Sendable {
    /// Where it is.
    public var path: String
    /// "not begun", "unfinished" or "sealed".
    public var state: String
    /// The shard of the work that it notes to be, if any.
    public var shard: Shard?
    /// Blocks it holds.
    public var blocks: Int
    /// Records it holds.
    public var records: Int
  }

  /// The folders, as they were given.
  public var folders: [Folder]
  /// Digest of everything that decides the records.
  public var fingerprint: Digest
  /// Blocks that the folders hold together, each counted once.
  public var blocks: Int
  /// Records in these blocks.
  public var records: Int
  /// Blocks of the complete cache.
  public var totalBlocks: Int
  /// Records of the complete cache; with positions absent until all blocks are there.
  public var totalRecords: Int?
  /// The number of shards; absent when it is neither given nor noted.
  public var shards: Int?
  /// The shards with missing blocks, as `3,7,12-15`; empty when there are none.
  public var missingShards: String?
}

extension CacheStatus {
  /// Looks at the index of each cache; no block is read.
  ///
  /// - Parameters:
  ///   - paths: folders of one cache's parts.
  ///   - shards: the number of shards; `nil` takes it from what the folders note.
  /// - Throws: `Problem(.corrupt)` when the folders hold caches of different jobs, with what differs, or a
  ///   damaged one; `.noInput` when none holds a cache.
  public init(of paths: [String], shards: Int?) throws {
    var stored = BlockRuns()
    var first: CacheReader?
    records = 0
    folders = []
    for path in paths {
      guard let cache = try CacheReader.ifBegun(path) else {
        folders.append(Folder(path: path, state: "not begun", blocks: 0, records: 0))
        continue
      }
      if let first { try cache.demandSameJob(as: first) }
      first = first ?? cache
      let blocks = try cache.blocks
      records += try cache.records(in: blocks.subtracting(stored))
      stored = stored.union(blocks)
      folders.append(
        Folder(
          path: path, state: cache.isSealed ? "sealed" : "unfinished", shard: try cache.shard,
          blocks: blocks.count, records: try cache.records(in: blocks)))
    }
    guard let first else {
      throw Problem(.noInput, "there is no cache in \(paths.joined(separator: ", "))")
    }
    let manifest = first.manifest
    fingerprint = first.fingerprint
    blocks = stored.count
    totalBlocks = manifest.blockCount
    let isKnown = manifest.encoding.positions == nil || blocks == totalBlocks
    totalRecords =
      isKnown ? (manifest.encoding.positions == nil ? manifest.records : records) : nil
    let noted = Set(folders.compactMap(\.shard?.count))
    self.shards = shards ?? (noted.count == 1 ? noted.first : nil)
    missingShards = self.shards.map { count in
      numberList(
        (1...count).filter { index in
          let owned = Shard(index, of: count)!.blocks(of: manifest)
          return !BlockRuns(owned).subtracting(stored).isEmpty
        })
    }
  }

  /// The report for people.
  public var text: String {
    var text = ""
    for folder in folders {
      let shard = folder.shard.map { ", shard \($0)" } ?? ""
      text +=
        "\(folder.path): \(folder.state)\(shard), \(counted(folder.blocks, "block")), "
        + counted(folder.records, "record") + "\n"
    }
    let total =
      totalRecords.map { "\(records) of \(counted($0, "record"))" } ?? counted(records, "record")
    text += "together \(blocks) of \(counted(totalBlocks, "block")), \(total)\n"
    guard let shards, let missingShards else { return text }
    return text
      + (missingShards.isEmpty
        ? shards == 1 ? "the only shard is done\n" : "all \(shards) shards are done\n"
        : "shards of \(shards) not done: \(missingShards)\n")
  }
}

/// Ascending numbers with runs joined: `3,7,12-15`.
func numberList(_ numbers: [Int]) -> String {
  var runs: [ClosedRange<Int>] = []
  for number in numbers {
    if let last = runs.last, last.upperBound + 1 == number {
      runs[runs.count - 1] = last.lowerBound...number
    } else {
      runs.append(number...number)
    }
  }
  return runs.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
    .joined(separator: ",")
}
