public import Basics
import Foundation
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
    case writing(Environment, stored: Set<BlockKey>)
    case sealed(Digest)
    case busy
  }

  /// Opens the cache in folder `path`, creating it when there is none.
  ///
  /// - Parameters:
  ///   - labels: the label of every sample, whose digest is the manifest's.
  ///   - calibration: the calibration whose digest is the manifest's; nothing learned when left out.
  /// - Throws: `Problem(.corrupt)` with a list of what differs when the folder holds another job's
  ///   cache, which stays untouched; `.cannotCreate` when another process is writing or reading it.
  public init(
    path: String, manifest: Manifest, labels: [Int32], calibration: Calibration? = nil
  ) throws {
    fingerprint = try manifest.fingerprint
    let calibration = calibration ?? .plain(manifest.encoding)
    guard calibration.digest == manifest.calibration else {
      throw Problem(.configuration, "the calibration is not the one that the manifest names")
    }
    guard
      LabelTable.digest(labels.lazy.map { UInt32(bitPattern: $0) }) == manifest.dataSet.labels
    else { throw Problem(.configuration, "the labels are not those that the manifest names") }
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
    state = Mutex(.writing(environment, stored: try CacheWriter.storedBlocks(environment)))
    OpenWriters.add(path)
  }

  deinit { OpenWriters.remove(path) }

  private static func lock(_ path: String, _ mode: FolderLock.Mode) throws -> FolderLock {
    if let lock = try FolderLock(path, mode) { return lock }
    throw Problem(
      .cannotCreate,
      "\(path) is in use: another process is writing this cache, or reading it unfinished; "
        + "wait for it to end")
  }

  /// The folder's cache, looked at without changing anything.
  private enum Existing {
    case absent
    case unfinished
    case sealed(Digest)
  }

  private static func inspect(
    _ folder: CacheFolder, wanting manifest: Manifest
  ) throws -> Existing {
    guard folder.hasData else { return .absent }
    try Seal.read(folder)?.checkLength(folder)
    let report = try PageCheck.check(
      path: folder.dataFile, tables: CacheFolder.tables, freeList: true)
    guard report.entries.count == CacheFolder.tables.count else { return .absent }
    let environment = try Environment(
      path: folder.path, tables: CacheFolder.tables,
      access: .readUnchanging(mapBytes: report.fileBytes))
    return try environment.read { transaction in
      guard let stored = try MetaTable.readManifest(transaction, environment) else {
        guard report.entries == ["blocks": 0, "index": 0, "meta": 0] else {
          throw Problem(.corrupt, "\(folder.path) holds blocks but no manifest")
        }
        return .absent
      }
      let differences = try manifest.differences(from: stored)
      guard differences.isEmpty else { throw mismatch(folder, differences) }
      _ = try MetaTable.readCalibration(transaction, environment, stored)
      try LabelTable.check(transaction, environment, stored)
      if let digest = try MetaTable.readSeal(transaction, environment) {
        // A kill between the seal and its file: what is signed now must be what was stored.
        if let seal = try Seal.read(folder) {
          try seal.checkBelongs(to: folder, fingerprint: manifest.fingerprint, stored: digest)
        } else {
          try checkStoredBlocks(transaction, environment, manifest)
        }
        return .sealed(digest)
      }
      return .unfinished
    }
  }

  private static func mismatch(_ folder: CacheFolder, _ differences: [String]) -> Problem {
    Problem(
      .corrupt,
      "\(folder.path) holds the cache of another job; nothing was changed. What differs:\n"
        + differences.map { "  \($0)\n" }.joined()
        + "Use another folder, or the settings of the cache.")
  }

  private static func open(_ folder: CacheFolder, _ manifest: Manifest) throws -> Environment {
    // About the size of plain records; LMDB only reserves addresses, and grows when it must.
    let record = 16 + 4 * manifest.encoding.k
    let (bytes, overflow) = manifest.records.multipliedReportingOverflow(by: record)
    let expected = min(overflow ? .max : bytes, 1 << 38)
    return try Environment(
      path: folder.path, tables: CacheFolder.tables,
      access: .write(mapBytes: max(expected, 2 * folder.fileBytes, 1 << 24)))
  }

  private static func begin(
    _ environment: Environment, _ manifest: Manifest, _ labels: [Int32],
    _ calibration: Calibration
  ) throws {
    let text = Array(try canonicalJSON(manifest).utf8)
    try environment.write { transaction in
      let meta = environment.table("meta")
      try transaction.put(
        Sealed.wrap(calibration.bytes), forKey: MetaTable.calibration, in: meta)
      try LabelTable.write(labels, transaction, environment, manifest)
      try transaction.put(Sealed.wrap(text), forKey: MetaTable.manifest, in: meta)
    }
  }

  private static func storedBlocks(_ environment: Environment) throws -> Set<BlockKey> {
    try environment.read { transaction in
      var keys: Set<BlockKey> = []
      try transaction.forEach(in: environment.table("index")) { key, _ in
        guard let key = BlockKey(key) else {
          throw Problem(.corrupt, "\(environment.path) holds a malformed block key")
        }
        keys.insert(key)
        return true
      }
      return keys
    }
  }

  /// What the cache in folder `path` learned, if there is one; the same job goes on with it.
  ///
  /// - Parameter manifest: the job's, whatever its calibration.
  /// - Throws: `Problem(.corrupt)` with a list of what differs when it is another job's cache;
  ///   `.cannotCreate` when another process is writing it.
  public static func storedCalibration(
    path: String, manifest: Manifest
  ) throws -> Calibration? {
    let folder = CacheFolder(path: path)
    guard folder.hasData else { return nil }
    // A writer would change pages while they are checked.
    let lock = try lock(path, .shared)
    defer { withExtendedLifetime(lock) {} }
    try Seal.read(folder)?.checkLength(folder)
    let report = try PageCheck.check(
      path: folder.dataFile, tables: CacheFolder.tables, freeList: true)
    guard report.entries.count == CacheFolder.tables.count else { return nil }
    let environment = try Environment(
      path: path, tables: CacheFolder.tables,
      access: .readUnchanging(mapBytes: report.fileBytes))
    return try environment.read { transaction in
      guard let stored = try MetaTable.readManifest(transaction, environment) else { return nil }
      let differences = try manifest.learningNothing().differences(from: stored.learningNothing())
      guard differences.isEmpty else { throw mismatch(folder, differences) }
      return try MetaTable.readCalibration(transaction, environment, stored)
    }
  }

  // MARK: - Writing

  /// The digest of a sealed cache; `nil` while blocks can still be added.
  public var sealedDigest: Digest? {
    state.withLock { if case .sealed(let digest) = $0 { digest } else { nil } }
  }

  /// The blocks that are not stored yet, in key order; none when the cache is sealed.
  public func missingBlocks() -> [BlockKey] {
    state.withLock { state in
      guard case .writing(_, let stored) = state else { return [] }
      return manifest.blockKeys.filter { !stored.contains($0) }
    }
  }

  /// Stores blocks in one commit: after a crash either all of them are there or none.
  ///
  /// A block that is stored already is left alone when it is equal.
  /// - Throws: `Problem(.inputOutput)` when the disk is full: earlier commits are intact;
  ///   `.corrupt` when another content is stored under a block's key.
  public func append(_ blocks: [EncodedBlock]) throws {
    try state.withLock { state in
      guard case .writing(let environment, var stored) = state else {
        throw Problem(.usage, "\(path) is sealed: nothing can be added")
      }
      state = .busy  // so that `stored` is not shared, and its insertions do not copy it
      defer { state = .writing(environment, stored: stored) }
      for block in blocks {
        precondition(manifest.contains(block.key), "\(block.key) is not part of \(path)")
      }
      try environment.write { transaction in
        var sums: [UInt32: ClassSum] = [:]
        for block in blocks where try self.store(block, transaction, environment) {
          for (label, sum) in block.classSums {
            sums[label, default: ClassSum(width: sum.steps.count)].add(sum)
          }
        }
        try ClassTable.add(sums, transaction, environment, manifest)
      }
      stored.formUnion(blocks.map(\.key))
    }
  }

  /// Returns whether the block is new.
  private func store(
    _ block: EncodedBlock, _ transaction: borrowing WriteTransaction, _ environment: Environment
  ) throws -> Bool {
    let index = environment.table("index")
    let key = block.key.bytes
    if let existing = try transaction.value(forKey: key, in: index) {
      let info = try BlockInfo(existing.span.bytes, manifest.encoding, rows: block.rows)
      guard info.digest == block.digest else {
        throw Problem(
          .corrupt,
          "\(path): \(block.key) is stored with digest \(info.digest.short), now it has "
            + "\(block.digest.short): the teacher does not repeat itself")
      }
      return false
    }
    try transaction.put(block.storedValue, forKey: key, in: environment.table("blocks"))
    try transaction.put(BlockInfo(block).bytes, forKey: key, in: index)
    return true
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
    case .writing(let environment, let stored):
      try demandComplete(stored)
      let digest = try cacheDigest(environment)
      try environment.write { transaction in
        try transaction.put(
          Sealed.wrap(digest.bytes), forKey: MetaTable.seal, in: environment.table("meta"))
      }
      state = .sealed(digest)
      return digest
    }
  }

  private func demandComplete(_ stored: Set<BlockKey>) throws {
    let missing = manifest.blocksPerView * manifest.views - stored.count
    if missing == 0 { return }
    let first = manifest.blockKeys.first { !stored.contains($0) }
    throw Problem(
      .interrupted,
      "\(path) cannot be sealed: \(missing) blocks are missing"
        + (first.map { ", the first is \($0)" } ?? "") + "; run the same command again")
  }

  private func cacheDigest(_ environment: Environment) throws -> Digest {
    var digest = CacheDigest(
      fingerprint: fingerprint, blocks: manifest.blocksPerView * manifest.views)
    try environment.read { transaction in
      try CacheWriter.checkStoredBlocks(transaction, environment, manifest)
      try transaction.forEach(in: environment.table("index")) { stored, value in
        guard let key = BlockKey(stored), manifest.contains(key) else {
          throw Problem(.corrupt, "\(path) holds a block that its manifest does not know")
        }
        let rows = manifest.samples(of: key).count
        digest.append(key, try BlockInfo(value, manifest.encoding, rows: rows))
        return true
      }
      if manifest.encoding.featureWidth != nil {
        digest.append(classSums: try ClassTable.digest(transaction, environment, manifest))
      }
    }
    return digest.finish()
  }

  /// Reads every stored block once before it is sealed: earlier runs may have been damaged on disk.
  private static func checkStoredBlocks(
    _ transaction: borrowing ReadTransaction, _ environment: Environment, _ manifest: Manifest
  ) throws {
    let blocks = environment.table("blocks")
    for key in manifest.blockKeys {
      guard let value = try transaction.value(forKey: key.bytes, in: blocks) else {
        throw Problem(.corrupt, "\(environment.path): \(key) is in the index but not stored")
      }
      do {
        _ = try Sealed.unwrap(value)
      } catch let problem as Problem {
        throw Problem(
          .corrupt,
          "\(environment.path): \(key) is damaged: \(problem.message); it cannot be sealed: "
            + "remove the folder and run the same command again")
      }
    }
  }

  private static func writeSeal(
    _ folder: CacheFolder, _ digest: Digest, _ fingerprint: Digest
  ) throws {
    unlink(folder.lockFile)
    let seal = try Seal.describing(folder, cacheDigest: digest, fingerprint: fingerprint)
    try seal.write(folder)
  }
}
