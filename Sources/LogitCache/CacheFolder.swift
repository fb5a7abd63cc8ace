import Basics
import Foundation
import LMDB
import Synchronization

/// The files of a cache.
struct CacheFolder {
  let path: String

  var dataFile: String { path + "/data.mdb" }
  var lockFile: String { path + "/lock.mdb" }
  var sealFile: String { path + "/seal.json" }

  static let tables = ["blocks", "index", "meta"]

  /// Whether there is a data file with anything in it; a writer killed at once leaves an empty one.
  var hasData: Bool { fileBytes > 0 }

  /// The length of the data file; 0 when there is none.
  var fileBytes: Int {
    var status = stat()
    return stat(dataFile, &status) == 0 ? Int(status.st_size) : 0
  }

  /// The one path of a folder that links may give several.
  static func realPath(_ path: String) -> String {
    URL(fileURLWithPath: path).resolvingSymlinksInPath().path
  }
}

/// Keeps a second writer, or a writer beside a reader that relies on unchanging pages, away.
///
/// An advisory lock on the folder itself, so it leaves no file behind, and ends with the process.
final class FolderLock: Sendable {
  enum Mode {
    case exclusive
    case shared
  }

  private let descriptor: CInt

  /// Locks a folder without waiting; `nil` when somebody else holds a lock that forbids it.
  init?(_ path: String, _ mode: Mode) throws {
    descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw Problem(.noInput, "cannot open folder \(path): \(String(cString: strerror(errno)))")
    }
    if flock(descriptor, (mode == .exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0 {
      close(descriptor)
      return nil
    }
  }

  deinit {
    // Closing alone would leave the lock to a child process that is just being spawned and holds a
    // copy of the descriptor for a moment.
    flock(descriptor, LOCK_UN)
    close(descriptor)
  }
}

/// The folders that this process writes.
///
/// LMDB must not open one of them a second time: closing that would drop the locks of the first.
enum OpenWriters {
  private static let folders = Mutex<Set<String>>([])

  static func add(_ path: String) {
    folders.withLock { _ = $0.insert(CacheFolder.realPath(path)) }
  }
  static func remove(_ path: String) {
    folders.withLock { _ = $0.remove(CacheFolder.realPath(path)) }
  }
  static func contains(_ path: String) -> Bool {
    folders.withLock { $0.contains(CacheFolder.realPath(path)) }
  }
}

/// What the table `meta` holds, each value under a short text key.
enum MetaTable {
  static let manifest = Array("manifest".utf8)
  static let calibration = Array("calibration".utf8)
  static let seal = Array("seal".utf8)

  /// Whether the format knows a key in this cache.
  static func knows(_ key: [UInt8], _ cache: Manifest, isSealed: Bool) -> Bool {
    [manifest, calibration, seal].contains(key) || LabelTable.has(key, cache)
      || ClassTable.isKey(key) || (!isSealed && isNote(key))
  }

  /// The manifest; `nil` when none is stored.
  ///
  /// - Throws: `Problem(.corrupt)` when it is damaged, not canonical, or out of range.
  static func readManifest(
    _ transaction: borrowing ReadTransaction, _ environment: Environment
  ) throws -> Manifest? {
    let meta = environment.table("meta")
    guard let value = try transaction.value(forKey: manifest, in: meta) else { return nil }
    do {
      let text = try Sealed.bytes(of: value)
      let manifest = try JSONDecoder().decode(Manifest.self, from: Data(text))
      try manifest.validate()
      guard try Array(canonicalJSON(manifest).utf8) == text else {
        throw Problem(.corrupt, "it is not canonical JSON, or has unknown members")
      }
      return manifest
    } catch {
      let reason = (error as? Problem)?.message ?? "\(error)"
      throw Problem(.corrupt, "\(environment.path): the manifest is damaged: \(reason)")
    }
  }

  /// The calibration, checked against the manifest's digest.
  static func readCalibration(
    _ transaction: borrowing ReadTransaction, _ environment: Environment, _ manifest: Manifest
  ) throws -> Calibration {
    let meta = environment.table("meta")
    guard let value = try transaction.value(forKey: calibration, in: meta) else {
      throw Problem(.corrupt, "\(environment.path): the calibration is missing")
    }
    let bytes = try Sealed.bytes(of: value)
    guard Digest(of: bytes) == manifest.calibration else {
      throw Problem(.corrupt, "\(environment.path): the calibration is not the manifest's")
    }
    do {
      return try Calibration(bytes, manifest.encoding)
    } catch let problem as Problem {
      throw Problem(problem.kind, "\(environment.path): \(problem.message)")
    }
  }

  /// The cache digest that sealing stored; `nil` when the cache is not sealed.
  static func readSeal(
    _ transaction: borrowing ReadTransaction, _ environment: Environment
  ) throws -> Digest? {
    let meta = environment.table("meta")
    guard let value = try transaction.value(forKey: seal, in: meta) else { return nil }
    guard let digest = Digest(bytes: try Sealed.bytes(of: value)) else {
      throw Problem(.corrupt, "\(environment.path): the seal is not a digest")
    }
    return digest
  }
}

/// The identity of a cache's content: SHA-256 over its fingerprint, every block's key, rows and
/// digest in key order, and the digest of the class sums if there are any (docs/FORMAT.md, "Cache
/// digest").
struct CacheDigest {
  private var builder = DigestBuilder()

  init(fingerprint: Digest, blocks: Int) {
    builder.append("logitcache 1\n")
    builder.append(fingerprint.bytes)
    builder.append(UInt64(blocks))
  }

  mutating func append(_ key: BlockKey, _ info: BlockInfo) {
    builder.append(UInt32(key.view))
    builder.append(UInt32(key.block))
    builder.append(UInt32(info.rows))
    builder.append(info.digest.bytes)
  }

  /// The last word of a cache with features.
  mutating func append(classSums: Digest) { builder.append(classSums.bytes) }

  func finish() -> Digest { builder.finish() }
}
