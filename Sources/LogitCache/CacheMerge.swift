public import Basics

/// What `mergeCaches` did.
public struct MergeReport: Codable, Equatable, Sendable {
  /// The caches that were joined.
  public var caches: Int
  /// Blocks in the merged cache.
  public var blocks: Int
  /// Blocks that this call copied; the others were there.
  public var newBlocks: Int
  /// Records in the merged cache.
  public var records: Int
  /// Blocks that no cache had; 0 when the merged cache is sealed.
  public var missingBlocks: Int
  /// The first block that no cache had: "view 0, block 12".
  public var firstMissing: String?
  /// The identity of the content; `nil` when blocks are missing.
  public var cacheDigest: Digest?
}

/// Joins caches of the same job, such as its shards, into one, and seals it when nothing is missing.
///
/// Inputs are only read; they may be sealed or unfinished, and overlap where they are equal. Every block
/// is checked (checksum, structure, digest) and copied as it is stored. A call that was cut short is
/// continued by the same call. Everything that can be refused is, before the merged cache is touched.
/// - Parameters:
///   - inputs: the folders of the caches; one that is named twice counts once.
///   - path: the folder of the merged cache, created when there is none.
///   - commitBytes: how much is copied between commits: what a kill can cost.
///   - progress: called after each commit with the blocks copied and the blocks to copy; what it throws
///     ends the call after that commit.
/// - Throws: `Problem(.corrupt)`: caches of other settings, with a list of what differs; blocks that
///   differ or are damaged, by name; with features, caches that share some of their blocks (see
///   `MergePlan`).
public func mergeCaches(
  _ inputs: [String], into path: String, commitBytes: Int = 32 << 20,
  progress: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }
) throws -> MergeReport {
  let sources = try openSources(inputs, apartFrom: path)
  let first = sources[0].cache
  for source in sources.dropFirst() { try source.cache.demandSameJob(as: first) }
  try compareOverlaps(sources, alreadyIn: path, like: first)
  let writer = try CacheWriter(
    path: path, manifest: first.manifest, labels: first.labels, calibration: first.calibration)
  let plan = try MergePlan(sources, onto: writer)
  if !plan.counted.isEmpty {
    try writer.countSums(of: plan.counted.map { (sums: $0.cache, blocks: $0.blocks) })
  }
  try copyBlocks(plan, to: writer, commitBytes, progress)
  return try report(writer, caches: sources.count, newBlocks: plan.newBlocks)
}

private func report(
  _ writer: CacheWriter, caches: Int, newBlocks: Int
) throws -> MergeReport {
  let manifest = writer.manifest
  let stored = writer.storedBlocks
  let missing = manifest.allBlocks.subtracting(stored)
  return MergeReport(
    caches: caches, blocks: stored.count, newBlocks: newBlocks,
    records: try writer.records(in: stored), missingBlocks: missing.count,
    firstMissing: missing.runs.first.map { "\(manifest.blockKey(at: $0.lowerBound))" },
    cacheDigest: missing.isEmpty ? try writer.seal() : nil)
}

/// A cache to be merged, and the blocks it holds.
private struct Source {
  let cache: CacheReader
  let blocks: BlockRuns
}

private func openSources(_ inputs: [String], apartFrom path: String) throws -> [Source] {
  var seen: Set<String> = []
  let distinct = inputs.filter { seen.insert(CacheFolder.realPath($0)).inserted }
  guard !distinct.isEmpty else { throw Problem(.usage, "there are no caches to merge") }
  guard !seen.contains(CacheFolder.realPath(path)) else {
    throw Problem(.usage, "\(path) cannot be merged into itself: name another folder first")
  }
  return try distinct.map { input in
    let cache = try CacheReader(path: input)
    guard !cache.isBeingWritten else {
      throw Problem(
        .cannotCreate, "\(input) is in use: another process is writing it; wait for it to end")
    }
    return Source(cache: cache, blocks: try cache.blocks)
  }
}

/// Blocks that several caches hold must be equal, also those that the merged cache holds already.
private func compareOverlaps(
  _ sources: [Source], alreadyIn path: String, like first: CacheReader
) throws {
  var earlier: [Source] = []
  if CacheFolder(path: path).hasData, let existing = try? CacheReader(path: path),
    existing.fingerprint == first.fingerprint, !existing.isBeingWritten
  {
    earlier.append(Source(cache: existing, blocks: try existing.blocks))
  }
  for source in sources {
    for other in earlier {
      for position in source.blocks.intersection(other.blocks).positions {
        try demandEqual(first.manifest.blockKey(at: position), source.cache, other.cache)
      }
    }
    earlier.append(source)
  }
}

private func demandEqual(_ key: BlockKey, _ a: CacheReader, _ b: CacheReader) throws {
  let (one, other) = (try a.blockInfo(key), try b.blockInfo(key))
  guard one?.digest == other?.digest else {
    throw Problem(
      .corrupt,
      "\(key) differs: \(a.path) has digest \(one?.digest.short ?? "none"), \(b.path) "
        + "\(other?.digest.short ?? "none"); nothing was merged: the same teacher gave different "
        + "rows, or a cache is damaged (run 'verify' on both)")
  }
}

/// Which blocks are copied from where, and whose class sums count.
///
/// Class sums are kept for a whole cache. Sums of caches without a common block add up; a cache whose
/// blocks others hold all adds nothing. Of caches that share only some blocks, the shared ones would
/// count twice and cannot be taken out: they are refused.
private struct MergePlan {
  /// Runs of blocks in key order, each from one cache.
  private(set) var runs: [(run: Range<Int>, cache: CacheReader)] = []
  /// The caches whose class sums are to be added, with the blocks these count.
  private(set) var counted: [Source] = []

  var newBlocks: Int { runs.reduce(0) { $0 + $1.run.count } }

  init(_ sources: [Source], onto writer: CacheWriter) throws {
    var taken = writer.storedBlocks
    for source in sources {
      for run in source.blocks.subtracting(taken).runs { runs.append((run, source.cache)) }
      taken = taken.union(source.blocks)
    }
    runs.sort { $0.run.lowerBound < $1.run.lowerBound }
    if writer.manifest.encoding.featureWidth != nil { try chooseSums(sources, writer) }
  }

  /// Larger caches first, so that a cache inside another one is found to be.
  private mutating func chooseSums(_ sources: [Source], _ writer: CacheWriter) throws {
    var covered = writer.countedBlocks
    let sizes = sources.map(\.blocks.count)
    let order = sources.indices.sorted { (sizes[$0], $1) > (sizes[$1], $0) }
    for source in order.map({ sources[$0] }) {
      let more = source.blocks.subtracting(covered)
      if more.isEmpty { continue }
      guard let shared = source.blocks.intersection(covered).runs.first else {
        counted.append(source)
        covered = covered.union(source.blocks)
        continue
      }
      let key = writer.manifest.blockKey(at: shared.lowerBound)
      throw Problem(
        .corrupt,
        "\(source.cache.path) shares some of its blocks (\(key) is the first) with the other caches "
          + "and not all: class means of features are kept for a whole cache, so the shared blocks "
          + "would count twice; nothing was merged: merge caches without common blocks, into a new "
          + "folder")
    }
  }
}

/// Copies in key order.
private func copyBlocks(
  _ plan: MergePlan, to writer: CacheWriter, _ commitBytes: Int,
  _ progress: (Int, Int) throws -> Void
) throws {
  guard let first = plan.runs.first?.cache else { return }
  let check = BlockCheck(decoder: try first.borrowDecoder())
  let blocks = plan.runs.lazy.flatMap { run, cache in run.lazy.map { ($0, cache) } }
  try writer.append(blocks, count: plan.newBlocks, commitBytes: commitBytes, progress: progress) {
    position, cache in
    try check.values(of: writer.manifest.blockKey(at: position), in: cache)
  }
}
