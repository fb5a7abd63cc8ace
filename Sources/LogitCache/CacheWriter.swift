public import Basics
import Glibc
import LMDB
import Synchronization

/// Creates a cache or continues one; the same job continues where it stopped.
///
/// One writer at a time; threads may share it, calls run one after another.
public final class CacheWriter: Sendable {
  /// The cache's folder.
  public let path: String
  /// What the cache is.
  public let manifest: Manifest

  private let folder: CacheFolder
  private let fingerprint: Digest
  private let lock: FolderLock
  private let state: Mutex<State>

  private enum State {
    case writing(Content)
    case sealed(Digest)
    case busy
  }

  /// An open cache and what is in it.
  private struct Content {
    let environment: Environment
    var stored: BlockRuns
    /// Blocks that the class sums count already and that a merge has still to copy.
    var awaited: BlockRuns
  }

  /// Opens the cache in folder `path`, creating it when there is none.
  ///
  /// - Parameters:
  ///   - labels: the label of every sample, or, where positions have labels, of these [samples, M], -1
  ///     for none; their digest is the manifest's.
  ///   - calibration: the calibration whose digest is the manifest's; nothing learned when left out.
  /// - Throws: `Problem(.corrupt)` with a list of what differs when the folder holds another job's
  ///   cache, which stays untouched; `.cannotCreate` when another process is writing or reading it;
  ///   `.configuration` when calibration or labels are not the manifest's, or a label is no class.
  public init(
    path: String, manifest: Manifest, labels: [Int32], calibration: Calibration? = nil
  ) throws {
    fingerprint = try manifest.fingerprint
    let calibration = calibration ?? .plain(manifest.encoding)
    guard calibration.digest == manifest.calibration else {
      throw Problem(.configuration, "the calibration is not the one that the manifest names")
    }
    guard LabelTable.digest(labels) == manifest.dataSet.labels else {
      throw Problem(.configuration, "the labels are not those that the manifest names")
    }
    try LabelTable.demandClasses(labels, manifest)
    self.path = path
    self.manifest = manifest
    folder = CacheFolder(path: path)
    if !Files.exists(path) { try Files.makeFolder(path) }
    lock = try CacheWriter.lock(path, .exclusive)
    let existing = try CacheWriter.inspect(folder, wanting: manifest)
    if case .sealed(let digest) = existing {
      if try Seal.read(folder) == nil {
        try CacheWriter.writeSeal(folder, digest, fingerprint)
      }
      state = Mutex(.sealed(digest))
      return
    }
    let isNew = !folder.hasData
    let environment: Environment
    do {
      environment = try CacheWriter.open(folder, manifest)
    } catch {
      // A first write that took only a part must not be taken for a damaged cache.
      if isNew { unlink(folder.dataFile) }
      throw error
    }
    if case .absent = existing {
      try CacheWriter.begin(environment, manifest, labels, calibration)
    }
    let content = try environment.read { transaction in
      let stored = try IndexTable.blocks(transaction, environment, manifest)
      return Content(
        environment: environment, stored: stored,
        awaited: try MetaTable.awaited(transaction, environment, manifest).subtracting(stored))
    }
    state = Mutex(.writing(content))
    OpenWriters.add(path)
  }

  deinit { OpenWriters.remove(path) }

  /// The digest of a sealed cache; `nil` while blocks can still be added.
  public var sealedDigest: Digest? {
    state.withLock { if case .sealed(let digest) = $0 { digest } else { nil } }
  }

  /// The blocks that are not stored yet, in key order; none when the cache is sealed.
  public func missingBlocks() -> [BlockKey] { missingBlocks(in: 0..<manifest.blockCount) }

  /// The blocks at some positions in key order that are not stored yet, in key order.
  public func missingBlocks(in positions: Range<Int>) -> [BlockKey] {
    state.withLock { state in
      guard case .writing(let content) = state else { return [] }
      return BlockRuns(positions).subtracting(content.stored).positions.map {
        manifest.blockKey(at: $0)
      }
    }
  }

  /// The stored blocks; all of them when the cache is sealed.
  package var storedBlocks: BlockRuns {
    state.withLock { state in
      if case .writing(let content) = state { return content.stored }
      return manifest.allBlocks
    }
  }

  /// The number of records in some of the stored blocks.
  package func records(in blocks: BlockRuns) throws -> Int {
    if manifest.encoding.positions == nil { return manifest.viewedSamples(in: blocks) }
    let records: Int? = try state.withLock { state in
      guard case .writing(let content) = state else { return nil }
      return try content.environment.read {
        try IndexTable.records(in: blocks, $0, content.environment, manifest)
      }
    }
    return try records ?? CacheReader(path: path).records(in: blocks)
  }

  /// Notes in an unfinished cache which shard of the work it is, for people.
  ///
  /// - Throws: `Problem(.usage)` when another shard is noted.
  public func note(_ shard: Shard?) throws {
    try state.withLock { state in
      guard case .writing(let content) = state else { return }
      let environment = content.environment
      let noted = try environment.read { try MetaTable.shard($0, environment) }
      if noted == shard { return }
      if let noted, let shard {
        throw Problem(
          .usage, "\(path) is shard \(noted), this run is shard \(shard): use another folder")
      }
      try environment.write { try MetaTable.put(shard, $0, environment) }
    }
  }

  /// Stores blocks in one commit: after a crash either all of them are there or none.
  ///
  /// A block that is stored already is left alone when it is equal.
  /// - Throws: `Problem(.inputOutput)` when the disk is full: earlier commits are intact;
  ///   `.corrupt` when another content is stored under a block's key.
  public func append(_ blocks: [EncodedBlock]) throws {
    try append(blocks.map { BlockValues($0) })
  }

  /// Stores blocks whose values are at hand in one commit, as `append(_:)` of encoded ones.
  func append(_ blocks: [BlockValues]) throws {
    try state.withLock { state in
      guard case .writing(var content) = state else {
        throw Problem(.usage, "\(path) is sealed: nothing can be added")
      }
      state = .busy  // so that `content` is not shared, and its insertions do not copy it
      defer { state = .writing(content) }
      for block in blocks {
        precondition(manifest.contains(block.key), "\(block.key) is not part of \(path)")
      }
      try content.environment.write { transaction in
        var sums: [UInt32: ClassSum] = [:]
        for block in blocks where try self.store(block, transaction, content.environment) {
          if content.awaited.contains(manifest.position(of: block.key)) { continue }
          for (label, sum) in block.classSums {
            sums[label, default: ClassSum(width: sum.steps.count)].add(sum)
          }
        }
        try ClassTable.add(sums, transaction, content.environment, manifest)
      }
      for block in blocks { content.stored.insert(manifest.position(of: block.key)) }
    }
  }

  /// Returns whether the block is new.
  private func store(
    _ block: BlockValues, _ transaction: borrowing WriteTransaction, _ environment: Environment
  ) throws -> Bool {
    let index = environment.table("index")
    let key = block.key.bytes
    if let existing = try transaction.value(forKey: key, in: index) {
      let rows = manifest.rows(of: block.key)
      let info = try BlockInfo(existing.span.bytes, manifest.encoding, rows: rows)
      guard info.digest == block.digest else {
        throw Problem(
          .corrupt,
          "\(path): \(block.key) is stored with digest \(info.digest.short), now it has "
            + "\(block.digest.short): the teacher does not repeat itself")
      }
      return false
    }
    try transaction.put(block.value, forKey: key, in: environment.table("blocks"))
    try transaction.put(block.indexEntry, forKey: key, in: index)
    return true
  }

  /// Counts the class sums of other caches, in one commit, before their blocks are copied here.
  ///
  /// Sums are kept for a whole cache, not for each block: the blocks they count are noted with them, and
  /// add nothing when they are stored.
  /// - Parameter classes: what each class is called here; `nil` when it is the same.
  func countSums(
    of caches: [(sums: CacheReader, blocks: BlockRuns)], classes: [Int: UInt32]? = nil
  ) throws {
    try state.withLock { state in
      guard case .writing(var content) = state else { return }
      for (_, blocks) in caches { content.awaited = content.awaited.union(blocks) }
      content.awaited = content.awaited.subtracting(content.stored)
      try content.environment.write { transaction in
        for (cache, _) in caches {
          try cache.forEachClassSum { label, sum in
            let label = classes.map { $0[label]! } ?? UInt32(label)
            try ClassTable.add([label: sum], transaction, content.environment, manifest)
          }
        }
        try MetaTable.put(awaited: content.awaited, transaction, content.environment)
      }
      state = .writing(content)
    }
  }

  /// The blocks that the class sums count: those stored, and those that a merge has still to copy.
  var countedBlocks: BlockRuns {
    state.withLock { state in
      guard case .writing(let content) = state else {
        return manifest.allBlocks
      }
      return content.stored.union(content.awaited)
    }
  }

  /// Ends the writing: computes the cache digest, stores it, and writes `seal.json`.
  ///
  /// Sealing a sealed cache only returns its digest.
  /// - Throws: `Problem(.interrupted)` when blocks are missing.
  public func seal() throws -> Digest {
    try state.withLock { state in
      let digest = try commitSeal(&state)
      // LMDB has closed the file: nothing changes it from here on.
      if try Seal.read(folder) == nil {
        try CacheWriter.writeSeal(folder, digest, fingerprint)
      }
      OpenWriters.remove(path)
      return digest
    }
  }

  /// Stores the digest and lets go of the environment.
  private func commitSeal(_ state: inout State) throws -> Digest {
    switch state {
    case .sealed(let digest): return digest
    case .busy: preconditionFailure("\(path) is sealed while a block is added")
    case .writing(let content):
      let environment = content.environment
      try demandComplete(content.stored)
      let digest = try cacheDigest(environment)
      try environment.write { transaction in
        try MetaTable.removeNotes(transaction, environment)
        try transaction.put(
          Sealed.wrap(digest.bytes), forKey: MetaTable.seal, in: environment.table("meta"))
      }
      state = .sealed(digest)
      return digest
    }
  }

  private func demandComplete(_ stored: BlockRuns) throws {
    let missing = manifest.allBlocks.subtracting(stored)
    guard let first = missing.runs.first?.lowerBound else { return }
    throw Problem(
      .interrupted,
      "\(path) cannot be sealed: \(counted(missing.count, "block")) missing, the first is "
        + "\(manifest.blockKey(at: first)); run the same command again")
  }

  private func cacheDigest(_ environment: Environment) throws -> Digest {
    var digest = CacheDigest(fingerprint: fingerprint, blocks: manifest.blockCount)
    try environment.read { transaction in
      try CacheWriter.checkStoredBlocks(transaction, environment, manifest)
      try IndexTable.forEach(transaction, environment, manifest) { key, entry in
        digest.append(key, try IndexTable.info(entry, key, manifest))
      }
      if manifest.encoding.featureWidth != nil {
        digest.append(classSums: try ClassTable.digest(transaction, environment, manifest))
      }
    }
    return digest.finish()
  }
}
