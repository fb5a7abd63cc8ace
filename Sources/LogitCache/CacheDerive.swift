public import Basics
import LMDB

/// What `deriveCache` did.
public struct DeriveReport: Codable, Equatable, Sendable {
  /// The identity of the derived cache's content.
  public var cacheDigest: Digest
  /// The identity of the source's content.
  public var derivedFrom: Digest
  /// Records of the derived cache.
  public var records: Int
  /// Blocks that this call made; the others were there.
  public var newBlocks: Int
  /// Stored bytes of all blocks.
  public var storedBytes: Int
}

/// Makes a smaller cache out of a sealed one, without the teacher.
///
/// The derived cache names the source in its manifest. Its certificate is an upper bound of the error
/// against the teacher's rows (`InheritedErrors`). A call that was cut short is continued by the same call.
/// - Parameters:
///   - source: the folder of a sealed cache.
///   - path: the folder of the derived cache, created when there is none.
///   - commitBytes: how much is made between commits: what a kill can cost.
///   - progress: called after each commit with the blocks made and the blocks to make; what it throws ends
///     the call after that commit.
/// - Throws: `Problem(.usage)` when the source does not have what is asked for; `.corrupt` when it is
///   damaged, not sealed, or has a label that is not among the classes to keep.
public func deriveCache(
  from source: String, into path: String, keeping derivation: Derivation,
  commitBytes: Int = 8 << 20,
  progress: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }
) throws -> DeriveReport {
  let cache = try CacheReader(path: source)
  guard let origin = cache.cacheDigest else {
    throw Problem(
      .corrupt, "\(source) is not sealed: finish it with precompute, or merge its shards first")
  }
  let manifest = try derivation.manifest(
    of: cache.manifest, Origin(cacheDigest: origin, fingerprint: cache.fingerprint))
  if derivation.classes != nil { try demandLabels(of: cache, among: derivation) }
  let calibration = manifest.encoding == cache.manifest.encoding ? cache.calibration : []
  let writer = try CacheWriter(path: path, manifest: manifest, calibration: calibration)
  if manifest.encoding.featureWidth != nil, writer.countedBlocks.isEmpty {
    let names = derivation.classes.map { classes in
      Dictionary(uniqueKeysWithValues: classes.sorted().enumerated().map { ($1, UInt32($0)) })
    }
    try writer.countSums(
      of: [(sums: cache, blocks: BlockRuns(0..<manifest.blockCount))], classes: names)
  }
  let missing = writer.missingBlocks()
  try deriveBlocks(missing, of: cache, derivation, writer, commitBytes, progress)
  let digest = try writer.seal()
  let planes = try CacheReader(path: path).sizeByPlane()
  return DeriveReport(
    cacheDigest: digest, derivedFrom: origin, records: manifest.records,
    newBlocks: missing.count, storedBytes: planes.reduce(0) { $0 + $1.storedBytes })
}

/// Records must keep the data set's samples, so none can be left out.
private func demandLabels(of cache: CacheReader, among derivation: Derivation) throws {
  let kept = Set((derivation.classes ?? []).map { UInt32($0) })
  let decoder = try cache.borrowDecoder()
  for block in 0..<cache.manifest.blocksPerView {
    let key = BlockKey(view: 0, block: block)
    try cache.withValues(of: key) { value, _, _ in
      try decoder.decode(value, as: key)
      guard let row = decoder.columns.labels.firstIndex(where: { !kept.contains($0) }) else {
        return
      }
      let sample = cache.manifest.samples(of: key).lowerBound + row
      let name = cache.manifest.dataSet.classNames[Int(decoder.columns.labels[row])]
      throw Problem(
        .usage,
        "sample \(sample) has the label '\(name)', which is not among the classes to keep: samples "
          + "keep their numbers, so none can be left out; keep all classes that are labels")
    }
  }
}

private func deriveBlocks(
  _ keys: [BlockKey], of cache: CacheReader, _ derivation: Derivation, _ writer: CacheWriter,
  _ commitBytes: Int, _ progress: (Int, Int) throws -> Void
) throws {
  let maker = try BlockDeriver(cache, writer.manifest, derivation)
  var pending: [BlockValues] = []
  var bytes = 0
  for (index, key) in keys.enumerated() {
    let block = try maker.derive(key)
    pending.append(block)
    bytes += block.value.count + block.indexEntry.count
    guard bytes >= commitBytes || index == keys.count - 1 else { continue }
    try writer.append(pending)
    pending.removeAll()
    bytes = 0
    try progress(index + 1, keys.count)
  }
}

/// Makes blocks of a derived cache.
private final class BlockDeriver {
  private let cache: CacheReader
  private let check: BlockCheck
  private let encoder: BlockEncoder
  private var records: RecordDerivation
  /// Whether blocks stay as they are: only views were left out.
  private let isCopy: Bool

  init(_ cache: CacheReader, _ target: Manifest, _ derivation: Derivation) throws {
    self.cache = cache
    check = BlockCheck(decoder: try cache.borrowDecoder())
    encoder = try BlockEncoder(manifest: target)
    records = RecordDerivation(
      from: cache.manifest, to: target.encoding, classes: derivation.classes)
    isCopy = target.encoding == cache.manifest.encoding
  }

  func derive(_ key: BlockKey) throws -> BlockValues {
    try cache.withValues(of: key) { value, entry, info in
      let header = try check.check(value, as: key, info)
      if isCopy {
        return BlockValues(
          key: key, digest: info.digest, value: value.withUnsafeBytes { Array($0) },
          indexEntry: entry.withUnsafeBytes { Array($0) })
      }
      let certificate = records.derive(check.decoder.columns, info.certificate)
      return BlockValues(try encoder.encode(records.columns, header, certificate))
    }
  }
}
