import Basics
import LMDB

// What the commands that join, compare and rewrite caches ask of a reader.

extension CacheReader {
  /// The stored blocks.
  package var blocks: BlockRuns {
    get throws {
      if isSealed { return manifest.allBlocks }
      return try environment.read { try IndexTable.blocks($0, environment, manifest) }
    }
  }

  /// The shard of the work that an unfinished cache is; `nil` when none is noted.
  public var shard: Shard? {
    get throws { try environment.read { try MetaTable.shard($0, environment) } }
  }

  /// Whether another process adds blocks to it while it is read.
  package var isBeingWritten: Bool { !isSealed && lock == nil }

  /// A sealed cache has exactly the manifest's blocks, or a huge number of views could keep readers
  /// busy for years.
  func demandComplete() throws {
    try environment.read { transaction in
      for name in ["blocks", "index"] {
        let count = try transaction.count(of: environment.table(name))
        guard count == manifest.blockCount else {
          throw Problem(
            .corrupt,
            "\(path) is sealed with \(count) entries in table '\(name)', its manifest asks for "
              + "\(counted(manifest.blockCount, "block"))")
        }
      }
    }
  }

  /// The label of every sample; where positions have labels, of these [samples, M], -1 for none.
  ///
  /// - Throws: `Problem(.corrupt)` when they are damaged.
  package var labels: [Int32] {
    get throws {
      try environment.read { transaction in
        try (0..<manifest.blocksPerView).flatMap { block in
          try LabelTable.read(block, transaction, environment, manifest).all(manifest.encoding)
        }
      }
    }
  }

  /// Lends both stored values of a block, its labels, and what its index entry says.
  ///
  /// - Throws: `Problem(.noInput)` when it is not stored; `.corrupt` naming the block.
  func withValues<R>(
    of key: BlockKey,
    _ body: (_ value: RawSpan, _ entry: RawSpan, _ labels: BlockLabels, BlockInfo) throws -> R
  ) throws -> R {
    try environment.read { transaction in
      guard let entry = try transaction.value(forKey: key.bytes, in: environment.table("index")),
        let value = try transaction.value(forKey: key.bytes, in: environment.table("blocks"))
      else { throw Problem(.noInput, "\(path) does not hold \(key): precompute it first") }
      do {
        let labels = try LabelTable.read(key.block, transaction, environment, manifest)
        return try body(value, entry, labels, try IndexTable.info(entry, key, manifest))
      } catch let problem as Problem where problem.kind == .corrupt {
        throw Problem(.corrupt, "\(path): \(problem.message); run 'verify' for the full list")
      }
    }
  }

  /// The number of records in some of the stored blocks.
  package func records(in blocks: BlockRuns) throws -> Int {
    if manifest.encoding.positions == nil { return manifest.viewedSamples(in: blocks) }
    return try environment.read {
      try IndexTable.records(in: blocks, $0, environment, manifest)
    }
  }

  /// Visits the sums of the teacher's features, in order of the classes.
  func forEachClassSum(_ body: (_ label: Int, _ sum: ClassSum) throws -> Void) throws {
    try environment.read { try ClassTable.forEach($0, environment, manifest, body) }
  }
}

extension CacheReader {
  /// What the cache learned, for another part of the same job.
  ///
  /// - Parameter manifest: the job's, whatever its calibration.
  /// - Throws: `Problem(.corrupt)` with a list of what differs when it is another job's cache.
  package func calibration(for manifest: Manifest) throws -> Calibration {
    let differences = try manifest.learningNothing().differences(
      from: self.manifest.learningNothing(), calling: path)
    guard differences.isEmpty else {
      throw Manifest.mismatch(
        "\(path) is the cache of another job: what it learned does not fit; nothing was done.",
        differences, "Name a shard of the same job, or leave out --calibration.")
    }
    return calibration
  }

  /// Opens a cache in which something is stored; `nil` when the folder is missing, or nothing is.
  package static func ifBegun(_ path: String) throws -> CacheReader? {
    do {
      return try CacheReader(path: path)
    } catch let problem as Problem where problem.kind == .noInput {
      return nil
    }
  }

  /// Refuses caches whose blocks do not belong together, with a list of what differs.
  package func demandSameJob(as other: CacheReader) throws {
    let differences = try manifest.differences(
      from: other.manifest, calling: other.path, path)
    guard differences.isEmpty else {
      throw Manifest.mismatch(
        "\(path) and \(other.path) are caches of different jobs; nothing was done.", differences,
        "Name caches that one precompute command made, such as its shards.")
    }
  }
}
