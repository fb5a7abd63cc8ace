public import Basics
import LMDB

/// What `verifyCache` read and found in order.
public struct VerifyReport: Codable, Equatable, Sendable {
  /// Blocks read.
  public var blocks = 0
  /// Records read.
  public var records = 0
  /// Blocks that are not stored yet; 0 when the cache is sealed.
  public var missingBlocks = 0
  /// Bytes of the stored blocks.
  public var storedBytes = 0
  /// Bytes of the same blocks before compression.
  public var canonicalBytes = 0
  /// Digest of everything that decides the records.
  public var fingerprint: Digest
  /// The identity of the content; `nil` unless the cache is sealed.
  public var cacheDigest: Digest?
}

/// Reads a whole cache again and checks every byte of it.
///
/// The sealed file against its chunk digests; the pages; every block's checksum, length, structure
/// and digest; that each block is stored in the one canonical way; that the index agrees, no block is
/// missing from a sealed cache and none is foreign; that class sums of features count the records'
/// labels; the cache digest.
/// - Parameter progress: called after each block with the blocks done and the blocks in all.
/// - Throws: `Problem(.corrupt)` listing what is wrong, with byte ranges, views and blocks.
public func verifyCache(
  path: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
) throws -> VerifyReport {
  let folder = CacheFolder(path: path)
  var findings = Findings(path: path)
  if let seal = try Seal.read(folder), folder.hasData {
    try seal.checkLength(folder)
    for range in try seal.damagedRanges(folder) {
      findings.add(
        "data.mdb differs from what was sealed in bytes \(range.lowerBound)..<\(range.upperBound)")
    }
  }
  do {
    let reader = try CacheReader(path: path)
    var verifier = try Verifier(reader, findings)
    return try verifier.run(progress)
  } catch let problem as Problem where problem.kind == .corrupt && !findings.lines.isEmpty {
    findings.add(problem.message)
    throw findings.problem
  }
}

/// What is wrong with a cache, as lines; the first hundred are kept.
private struct Findings {
  let path: String
  private(set) var lines: [String] = []
  private var more = 0

  init(path: String) { self.path = path }

  mutating func add(_ line: String) {
    if lines.count < 100 { lines.append(line) } else { more += 1 }
  }

  var problem: Problem {
    let rest = more > 0 ? "  and \(more) more\n" : ""
    return Problem(
      .corrupt,
      "\(path) is damaged:\n" + lines.map { "  \($0)\n" }.joined() + rest
        + "Fetch it again, or precompute it into a new folder.")
  }
}

/// Checks the blocks of an open cache in key order.
private struct Verifier {
  private let reader: CacheReader
  private let decoder: BlockDecoder
  private let total: Int
  private var findings: Findings
  private var report: VerifyReport
  private var digest: CacheDigest
  /// Records of each class in the blocks read.
  private var labelCounts: [Int]

  init(_ reader: CacheReader, _ findings: Findings) throws {
    self.reader = reader
    self.findings = findings
    decoder = try BlockDecoder(reader.manifest, reader.calibration)
    total = reader.manifest.blockCount
    report = VerifyReport(fingerprint: reader.fingerprint, cacheDigest: reader.cacheDigest)
    digest = CacheDigest(fingerprint: reader.fingerprint, blocks: total)
    labelCounts = Array(repeating: 0, count: reader.manifest.encoding.classes)
  }

  mutating func run(_ progress: (Int, Int) -> Void) throws -> VerifyReport {
    try checkMeta()
    let known = try checkKeys()
    let count = known.count
    for (done, position) in known.positions.enumerated() {
      try check(reader.manifest.blockKey(at: position))
      progress(done + 1, count)
    }
    report.missingBlocks = total - count
    if findings.lines.isEmpty { try checkClassSums() }
    if reader.isSealed, findings.lines.isEmpty, digest.finish() != reader.cacheDigest {
      findings.add("the blocks' cache digest is \(digest.finish()), another one was sealed")
    }
    guard findings.lines.isEmpty else { throw findings.problem }
    return report
  }

  private mutating func checkMeta() throws {
    do {
      try reader.environment.read { transaction in
        try LabelTable.check(transaction, reader.environment, reader.manifest)
      }
    } catch let problem as Problem {
      findings.add(problem.message)
    }
  }

  /// Class sums cannot be computed again without the teacher, but they count the same records.
  private mutating func checkClassSums() throws {
    let (environment, manifest) = (reader.environment, reader.manifest)
    var rest: [Int] = []
    do {
      if manifest.encoding.featureWidth != nil { try countAwaitedBlocks() }
      rest = labelCounts
      try environment.read { transaction in
        try ClassTable.forEach(transaction, environment, manifest) { label, sum in
          rest[label] -= sum.records
        }
        guard manifest.encoding.featureWidth != nil else { return }
        digest.append(classSums: try ClassTable.digest(transaction, environment, manifest))
      }
    } catch let problem as Problem where problem.kind == .corrupt {
      return findings.add(problem.message)
    }
    guard manifest.encoding.featureWidth != nil else { return }
    for (label, difference) in rest.enumerated() where difference != 0 {
      findings.add(
        "the feature sums of class \(label) hold \(counted(labelCounts[label] - difference, "record")), the "
          + "blocks \(labelCounts[label])")
    }
  }

  /// An interrupted merge has added the class sums of blocks that it has not copied yet.
  private mutating func countAwaitedBlocks() throws {
    let (environment, manifest) = (reader.environment, reader.manifest)
    let stored = try reader.blocks
    try environment.read { transaction in
      let awaited = try MetaTable.awaited(transaction, environment, manifest)
      // By block and not by position: a manifest may claim any number of views.
      let views = awaited.subtracting(stored).views(blocksPerView: manifest.blocksPerView)
      for (block, views) in views.enumerated() where views > 0 {
        for label in try LabelTable.read(block, transaction, environment, manifest).values {
          labelCounts[Int(label)] += views
        }
      }
    }
  }

  /// The blocks that either table names; every key must be one that a cache with this manifest has.
  private mutating func checkKeys() throws -> BlockRuns {
    let manifest = reader.manifest
    var known = BlockRuns()
    for name in ["blocks", "index"] {
      try checkKeys(of: name) { bytes in
        guard let key = BlockKey(bytes), manifest.contains(key) else { return false }
        known.insert(manifest.position(of: key))
        return true
      }
    }
    let isSealed = reader.isSealed
    try checkKeys(of: "meta") { bytes in
      MetaTable.knows(bytes.withUnsafeBytes { Array($0) }, manifest, isSealed: isSealed)
    }
    return known
  }

  private mutating func checkKeys(of name: String, _ isKnown: (RawSpan) -> Bool) throws {
    let table = reader.environment.table(name)
    var foreign = 0
    try reader.environment.read { transaction in
      try transaction.forEach(in: table) { key, _ in
        foreign += isKnown(key) ? 0 : 1
        return true
      }
    }
    if foreign > 0 { findings.add("table '\(name)' holds \(foreign) foreign keys") }
  }

  private mutating func check(_ key: BlockKey) throws {
    do {
      guard let info = try reader.blockInfo(key) else {
        throw Problem(.corrupt, "\(key) has no index entry")
      }
      try checkBlock(key, info)
      digest.append(key, info)
      report.blocks += 1
      report.records += info.rows
      report.storedBytes += info.storedBytes
      report.canonicalBytes += info.canonicalBytes
    } catch let problem as Problem where problem.kind == .corrupt {
      findings.add(problem.message)
    }
  }

  private mutating func checkBlock(_ key: BlockKey, _ info: BlockInfo) throws {
    try reader.environment.read { transaction in
      let table = reader.environment.table("blocks")
      guard let value = try transaction.value(forKey: key.bytes, in: table) else {
        throw Problem(.corrupt, "\(key) has an index entry but no content")
      }
      let labels = try LabelTable.read(
        key.block, transaction, reader.environment, reader.manifest)
      let header = try BlockCheck(decoder: decoder).check(value, as: key, labels: labels, info)
      guard decoder.encodeAgain(header) == decoder.canonicalBytes else {
        throw Problem(.corrupt, "\(key) is damaged: it is not stored canonically")
      }
      for label in decoder.columns.labels { labelCounts[Int(label)] += 1 }
    }
  }
}
