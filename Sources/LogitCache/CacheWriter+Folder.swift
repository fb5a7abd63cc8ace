import Basics
import Foundation
import LMDB

// The folder of a cache before and after its writing.

extension CacheWriter {
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
    return try look(at: folder) { transaction, environment, stored in
      try demandSameJob(manifest.learningNothing(), stored.learningNothing(), folder)
      return try MetaTable.readCalibration(transaction, environment, stored)
    }
  }

  static func lock(_ path: String, _ mode: FolderLock.Mode) throws -> FolderLock {
    if let lock = try FolderLock(path, mode) { return lock }
    throw Problem(
      .cannotCreate,
      "\(path) is in use: another process is writing this cache, or reading it unfinished; "
        + "wait for it to end")
  }

  /// How far the cache in a folder is.
  enum Existing {
    case absent
    case unfinished
    case sealed(Digest)
  }

  /// Looks at a folder's cache without changing anything.
  static func inspect(
    _ folder: CacheFolder, wanting manifest: Manifest
  ) throws -> Existing {
    let existing: Existing? = try look(at: folder) { transaction, environment, stored in
      try demandSameJob(manifest, stored, folder)
      _ = try MetaTable.readCalibration(transaction, environment, stored)
      try LabelTable.check(transaction, environment, stored)
      guard let digest = try MetaTable.readSeal(transaction, environment) else {
        return .unfinished
      }
      // A kill between the seal and its file: what is signed now must be what was stored.
      if let seal = try Seal.read(folder) {
        try seal.checkBelongs(to: folder, fingerprint: manifest.fingerprint, stored: digest)
      } else {
        try checkStoredBlocks(transaction, environment, manifest)
      }
      return .sealed(digest)
    }
    return existing ?? .absent
  }

  /// Reads the tables of a folder that nobody is writing; `nil` when no cache was begun in it.
  private static func look<Result>(
    at folder: CacheFolder,
    _ body: (borrowing ReadTransaction, Environment, Manifest) throws -> Result
  ) throws -> Result? {
    guard folder.hasData else { return nil }
    try Seal.read(folder)?.checkLength(folder)
    let report = try PageCheck.check(
      path: folder.dataFile, tables: CacheFolder.tables, freeList: true)
    guard report.entries.count == CacheFolder.tables.count else { return nil }
    let environment = try Environment(
      path: folder.path, tables: CacheFolder.tables,
      access: .readUnchanging(mapBytes: report.fileBytes))
    return try environment.read { transaction in
      guard let stored = try MetaTable.readManifest(transaction, environment) else {
        guard report.entries == ["blocks": 0, "index": 0, "meta": 0] else {
          throw Problem(.corrupt, "\(folder.path) holds blocks but no manifest")
        }
        return nil
      }
      return try body(transaction, environment, stored)
    }
  }

  private static func demandSameJob(
    _ manifest: Manifest, _ stored: Manifest, _ folder: CacheFolder
  ) throws {
    let differences = try manifest.differences(from: stored)
    guard differences.isEmpty else {
      throw Manifest.mismatch(
        "\(folder.path) holds the cache of another job; nothing was changed.", differences,
        "Use another folder, or the settings of the cache.")
    }
  }

  static func open(_ folder: CacheFolder, _ manifest: Manifest) throws -> Environment {
    // About the size of plain records; LMDB only reserves addresses, and grows when it must.
    let record = 16 + 4 * manifest.encoding.k
    let (bytes, overflow) = manifest.records.multipliedReportingOverflow(by: record)
    let expected = min(overflow ? .max : bytes, 1 << 38)
    return try Environment(
      path: folder.path, tables: CacheFolder.tables,
      access: .write(mapBytes: max(expected, 2 * folder.fileBytes, 1 << 24)))
  }

  /// Stores what comes before the first block.
  static func begin(
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

  /// Reads every stored block once before it is sealed: earlier runs may have been damaged on disk.
  static func checkStoredBlocks(
    _ transaction: borrowing ReadTransaction, _ environment: Environment, _ manifest: Manifest
  ) throws {
    let blocks = environment.table("blocks")
    for position in 0..<manifest.blockCount {
      let key = manifest.blockKey(at: position)
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

  /// Writes the seal beside a data file that LMDB has closed.
  static func writeSeal(
    _ folder: CacheFolder, _ digest: Digest, _ fingerprint: Digest
  ) throws {
    unlink(folder.lockFile)
    let seal = try Seal.describing(folder, cacheDigest: digest, fingerprint: fingerprint)
    try seal.write(folder)
  }
}
