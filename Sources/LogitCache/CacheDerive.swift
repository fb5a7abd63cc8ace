public import Basics

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
  var manifest = try derivation.manifest(
    of: cache.manifest, Origin(cacheDigest: origin, fingerprint: cache.fingerprint))
  let labels = try derivation.labels(of: cache)
  manifest.dataSet.labels = LabelTable.digest(labels)
  let deriver = try BlockDeriver(cache, &manifest, derivation)
  let writer = try CacheWriter(
    path: path, manifest: manifest, labels: labels, calibration: deriver.calibration)
  if manifest.encoding.featureWidth != nil, writer.countedBlocks.isEmpty {
    try writer.countSums(
      of: [(sums: cache, blocks: manifest.allBlocks)],
      classes: derivation.classNumbers)
  }
  let missing = writer.missingBlocks()
  try writer.append(
    missing, count: missing.count, commitBytes: commitBytes, progress: progress
  ) { key in try deriver.derive(key) }
  let digest = try writer.seal()
  let derived = try CacheReader(path: path)
  let planes = try derived.sizeByPlane()
  return DeriveReport(
    cacheDigest: digest, derivedFrom: origin,
    records: try derived.records(in: manifest.allBlocks),
    newBlocks: missing.count, storedBytes: planes.reduce(0) { $0 + $1.storedBytes })
}

extension Derivation {
  /// The new number of each class that remains; `nil` when all do.
  fileprivate var classNumbers: [Int: UInt32]? {
    classes.map { classes in
      Dictionary(uniqueKeysWithValues: classes.sorted().enumerated().map { ($1, UInt32($0)) })
    }
  }

  /// The labels of all samples, or of all positions, under their new numbers.
  ///
  /// - Throws: `Problem(.usage)` when one is not among the classes that remain.
  fileprivate func labels(of cache: CacheReader) throws -> [Int32] {
    let labels = try cache.labels
    guard let numbers = classNumbers else { return labels }
    let each = labels.count / cache.manifest.dataSet.samples
    return try labels.enumerated().map { index, label in
      if label < 0 { return label }
      guard let number = numbers[Int(label)] else {
        let name = cache.manifest.dataSet.classNames[Int(label)]
        throw Problem(
          .usage,
          "sample \(index / each) has the label '\(name)', which is not among the classes to keep: samples "
            + "keep their numbers, so none can be left out; keep all classes that are labels")
      }
      return Int32(number)
    }
  }
}

/// Makes blocks of a derived cache.
private final class BlockDeriver {
  /// What the derived cache learned.
  let calibration: Calibration
  private let cache: CacheReader
  private let check: BlockCheck
  private var records: RecordDerivation
  /// `nil` when blocks stay as they are: only views were left out.
  private let encoder: BlockEncoder?

  /// Settles the calibration, and names it in the derived cache's manifest.
  ///
  /// It is learned as precompute does, from the derived records of the same blocks.
  init(_ cache: CacheReader, _ target: inout Manifest, _ derivation: Derivation) throws {
    self.cache = cache
    let check = BlockCheck(decoder: try cache.borrowDecoder())
    var records = RecordDerivation(
      from: cache.manifest, to: target.encoding, classes: derivation.classes)
    if target.encoding == cache.manifest.encoding {
      (calibration, encoder) = (cache.calibration, nil)
    } else {
      let learned = try target.calibrationBlocks.map { try records.derive($0, of: cache, check) }
      calibration = try Calibration.learn(learned, target)
      target.calibration = calibration.digest
      encoder = try BlockEncoder(manifest: target, calibration: calibration)
    }
    self.check = check
    self.records = records
  }

  func derive(_ key: BlockKey) throws -> BlockValues {
    guard let encoder else { return try check.values(of: key, in: cache) }
    return BlockValues(try encoder.pack(records.derive(key, of: cache, check)))
  }
}

extension RecordDerivation {
  /// Derives a block of a cache.
  fileprivate mutating func derive(
    _ key: BlockKey, of cache: CacheReader, _ check: BlockCheck
  ) throws -> MeasuredBlock {
    try cache.withValues(of: key) { value, _, labels, info in
      let header = try check.check(value, as: key, labels: labels, info)
      let certificate = derive(check.decoder.columns, info.certificate)
      return MeasuredBlock(
        header: header, columns: columns, certificate: certificate, classSums: [:],
        firstClasses: firstClasses, keptRows: [])
    }
  }
}
