import Basics
internal import CLMDB

/// How an environment is opened.
public enum Access: Sendable {
  /// Reads and writes, creating folder contents and tables as needed. The map starts at `mapBytes`
  /// and doubles when a transaction does not fit; the file only grows as it is written.
  case write(mapBytes: Int)
  /// Reads beside a live writer, through LMDB's lock file.
  case readBesideWriter
  /// Reads a folder that nobody writes (sealed, or locked by the caller): needs no lock file, works
  /// on read-only mounts. The map covers `mapBytes`, the size of the data file.
  case readUnchanging(mapBytes: Int)

  var flags: CUnsignedInt {
    switch self {
    case .write: 0
    case .readBesideWriter: CUnsignedInt(MDB_RDONLY)
    case .readUnchanging: CUnsignedInt(MDB_RDONLY | MDB_NOLOCK)
    }
  }
}

/// A table of an environment; valid as long as the environment that gave it.
public struct Table: Sendable, Hashable {
  let handle: UInt32
}

/// One LMDB folder with its tables, open in this process.
///
/// Always synchronous (no NOSYNC, NOMETASYNC or WRITEMAP): a commit that returned survives a crash.
/// Opened with `MDB_NOTLS`, so reads may start and end on different threads. The same folder must
/// not be open twice in a process, unless both are `readUnchanging`.
public final class Environment: @unchecked Sendable {  // LMDB's handle is thread-safe
  /// The folder.
  public let path: String
  private let handle: OpaquePointer
  private let tables: [String: Table]

  /// Opens the folder at `path`, which exists, and its tables.
  ///
  /// - Throws: `Problem` naming the path; `.corrupt` when a table is missing and access is read-only.
  public init(path: String, tables names: [String], access: Access) throws {
    self.path = path
    var created: OpaquePointer?
    try check(mdb_env_create(&created), "prepare to open \(path)")
    guard let environment = created else { throw Problem(.inputOutput, "LMDB gave no handle") }
    handle = environment
    do {
      tables = try Environment.open(environment, path, names, access)
    } catch {
      mdb_env_close(environment)
      throw error
    }
  }

  deinit { mdb_env_close(handle) }

  private static func open(
    _ environment: OpaquePointer, _ path: String, _ names: [String], _ access: Access
  ) throws -> [String: Table] {
    try check(mdb_env_set_maxdbs(environment, CUnsignedInt(names.count)), "open \(path)")
    switch access {
    case .write(let bytes), .readUnchanging(let bytes):
      try check(mdb_env_set_mapsize(environment, roundedMap(bytes)), "size the map of \(path)")
    case .readBesideWriter: break
    }
    let flags = access.flags | CUnsignedInt(MDB_NOTLS)
    try check(mdb_env_open(environment, path, flags, 0o644), "open \(path)")
    return try openTables(environment, path, names, access)
  }

  /// Table handles outlive the transaction that opened them only when it commits.
  private static func openTables(
    _ environment: OpaquePointer, _ path: String, _ names: [String], _ access: Access
  ) throws -> [String: Table] {
    var writes = false
    if case .write = access { writes = true }
    var begun: OpaquePointer?
    try check(
      mdb_txn_begin(environment, nil, writes ? 0 : CUnsignedInt(MDB_RDONLY), &begun),
      "read \(path)")
    var tables: [String: Table] = [:]
    do {
      for name in names {
        var table: MDB_dbi = 0
        let flags = writes ? CUnsignedInt(MDB_CREATE) : 0
        try check(mdb_dbi_open(begun, name, flags, &table), "open table '\(name)' of \(path)")
        tables[name] = Table(handle: table)
      }
    } catch {
      mdb_txn_abort(begun)
      throw error
    }
    try check(mdb_txn_commit(begun), "open the tables of \(path)")
    return tables
  }

  /// A table that was named when the environment was opened.
  public func table(_ name: String) -> Table {
    guard let table = tables[name] else {
      preconditionFailure("table '\(name)' was not opened, only \(tables.keys.sorted())")
    }
    return table
  }

  /// Runs `body` on a consistent snapshot.
  ///
  /// Keep it short: a snapshot keeps old pages alive.
  public func read<R>(_ body: (borrowing ReadTransaction) throws -> R) throws -> R {
    let transaction = try ReadTransaction(handle, path)
    return try body(transaction)
  }

  /// Runs `body` and commits what it put, all or nothing.
  ///
  /// `body` runs again from the start when the map had to grow, so it must not keep state.
  /// - Throws: what `body` throws, after an abort; `Problem(.inputOutput)` when the disk is full:
  ///   earlier commits are intact.
  public func write<R>(_ body: (borrowing WriteTransaction) throws -> R) throws -> R {
    while true {
      do {
        let transaction = try WriteTransaction(handle, path)
        let result = try body(transaction)
        try transaction.commit(to: path)
        return result
      } catch is MapFull {
        try growMap()
      }
    }
  }

  /// Writes a copy into an empty folder: every page that is in use, in key order, and no free ones.
  ///
  /// The copy is of one snapshot and is not synced.
  public func copyCompacted(to folder: String) throws {
    try check(
      mdb_env_copy2(handle, folder, CUnsignedInt(MDB_CP_COMPACT)), "copy \(path) to \(folder)")
  }

  private func growMap() throws {
    var information = MDB_envinfo()
    try check(mdb_env_info(handle, &information), "size the map of \(path)")
    let size = Environment.roundedMap(2 * information.me_mapsize)
    try check(mdb_env_set_mapsize(handle, size), "grow the map of \(path) to \(size) bytes")
  }

  /// LMDB wants a multiple of the page size, and room for its own pages.
  private static func roundedMap(_ bytes: Int) -> Int {
    let unit = 1 << 16
    return max(4 * unit, (bytes + unit - 1) / unit * unit)
  }
}
