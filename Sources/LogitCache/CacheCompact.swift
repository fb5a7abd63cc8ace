public import Basics
import Foundation
import LMDB

/// What `compactCache` did.
public struct CompactReport: Codable, Equatable, Sendable {
  /// Length of `data.mdb` before.
  public var bytesBefore: Int
  /// Length of `data.mdb` now.
  public var bytes: Int
  /// Blocks in the cache.
  public var blocks: Int
  /// The identity of the content, as before; `nil` when the cache is not sealed.
  public var cacheDigest: Digest?
}

/// Rewrites a cache without free pages and with its values in key order; its content and digest stay.
///
/// The new files are made in the folder `PATH.compact` beside it, checked like `verifyCache` does, and
/// renamed over the old ones: first `seal.json` goes, then the data file is replaced, then the new seal
/// comes. A call that was cut short leaves the same content, at worst unsealed; the next one seals it.
/// - Throws: `Problem(.corrupt)` when the cache is damaged: nothing was changed; `.cannotCreate` when
///   another process is writing it, or the files cannot be replaced.
public func compactCache(path: String) throws -> CompactReport {
  let path = CacheFolder.realPath(path)
  let old = CacheFolder(path: path)
  let new = CacheFolder(path: path + ".compact")
  guard old.hasData else {
    throw Problem(.noInput, "there is no cache in \(path): data.mdb is missing or empty")
  }
  guard let lock = try FolderLock(path, .exclusive) else {
    throw Problem(
      .cannotCreate, "\(path) is in use: another process is writing it, or reading it unfinished")
  }
  try remove(new)
  try Files.makeFolder(new.path)
  let report: CompactReport
  do {
    report = try rewrite(old, into: new)
    try replace(old, by: new)
  } catch {
    try? remove(new)
    throw error
  }
  try remove(new)
  withExtendedLifetime(lock) {}
  return report
}

private func rewrite(_ old: CacheFolder, into new: CacheFolder) throws -> CompactReport {
  let pages = try PageCheck.check(
    path: old.dataFile, tables: CacheFolder.tables, freeList: false)
  let environment = try Environment(
    path: old.path, tables: CacheFolder.tables,
    access: .readUnchanging(mapBytes: pages.fileBytes))
  let (manifest, sealed) = try environment.read { transaction in
    (
      try MetaTable.readManifest(transaction, environment),
      try MetaTable.readSeal(transaction, environment)
    )
  }
  guard let fingerprint = try manifest?.fingerprint else {
    throw Problem(.corrupt, "\(old.path) holds no manifest: no cache was started in it")
  }
  let seal = try Seal.read(old)
  try seal?.checkLength(old)
  try seal?.checkBelongs(to: old, fingerprint: fingerprint, stored: sealed)
  try environment.copyCompacted(to: new.path)
  try sync(new.dataFile)
  if let sealed {
    try Seal.describing(new, cacheDigest: sealed, fingerprint: fingerprint).write(new)
  }
  let verified = try verifyCopy(new, of: old)
  return CompactReport(
    bytesBefore: old.fileBytes, bytes: new.fileBytes, blocks: verified.blocks,
    cacheDigest: verified.cacheDigest)
}

/// Damage must not get a fresh seal.
private func verifyCopy(_ new: CacheFolder, of old: CacheFolder) throws -> VerifyReport {
  do {
    return try verifyCache(path: new.path)
  } catch let problem as Problem {
    let message = problem.message.replacingOccurrences(of: new.path, with: old.path)
    throw Problem(problem.kind, message)
  }
}

private func replace(_ old: CacheFolder, by new: CacheFolder) throws {
  let hasSeal = Files.exists(new.sealFile)
  unlink(old.sealFile)
  unlink(old.lockFile)  // nobody uses it: the folder is locked
  guard rename(new.dataFile, old.dataFile) == 0 else { throw failure("replace \(old.dataFile)") }
  if hasSeal, rename(new.sealFile, old.sealFile) != 0 {
    throw failure("replace \(old.sealFile)")
  }
  try sync(old.path)
}

/// Removes the files of a cache and its folder; a folder with other files in it is refused.
private func remove(_ folder: CacheFolder) throws {
  guard Files.exists(folder.path) else { return }
  for file in [folder.dataFile, folder.lockFile, folder.sealFile] { unlink(file) }
  guard rmdir(folder.path) == 0 else { throw failure("remove \(folder.path)") }
}

/// Puts a file or folder on the disk: LMDB's copies are not synced.
private func sync(_ path: String) throws {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw failure("open \(path)") }
  defer { close(descriptor) }
  guard fsync(descriptor) == 0 else { throw failure("write \(path)") }
}

private func failure(_ doing: String) -> Problem {
  Problem(.cannotCreate, "cannot \(doing): \(String(cString: strerror(errno)))")
}
