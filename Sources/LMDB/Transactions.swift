import Basics
internal import CLMDB

/// A snapshot for reading; ends when it goes out of scope.
public struct ReadTransaction: ~Copyable {
  private let handle: OpaquePointer

  @available(*, noasync, message: "use Environment.read(_:)")
  init(_ environment: OpaquePointer, _ path: String) throws {
    handle = try begin(environment, path, CUnsignedInt(MDB_RDONLY))
  }

  deinit { mdb_txn_abort(handle) }

  /// The bytes stored under `key`, borrowed from the map; `nil` when there are none.
  @_lifetime(borrow self)
  public borrowing func value(forKey key: [UInt8], in table: Table) throws -> RawSpan? {
    guard let bytes = try find(handle, key, table) else { return nil }
    return _overrideLifetime(RawSpan(_unsafeBytes: bytes), borrowing: self)
  }

  /// Visits every entry of a table in key order until `body` returns false.
  public borrowing func forEach(
    in table: Table, _ body: (_ key: RawSpan, _ value: RawSpan) throws -> Bool
  ) throws {
    try visit(handle, table, body)
  }

  /// The number of entries of a table.
  public borrowing func count(of table: Table) throws -> Int { try entries(handle, table) }
}

/// A set of changes; leaving without a commit throws them away.
public struct WriteTransaction: ~Copyable {
  private let handle: OpaquePointer

  @available(*, noasync, message: "use Environment.write(_:)")
  init(_ environment: OpaquePointer, _ path: String) throws {
    handle = try begin(environment, path, 0)
  }

  deinit { mdb_txn_abort(handle) }

  consuming func commit(to path: String) throws {
    let handle = handle
    discard self  // LMDB frees it whether or not the commit works
    try check(mdb_txn_commit(handle), "commit to \(path)")
  }

  /// Stores `value` under `key`, replacing what was there.
  ///
  /// A key after the last one is appended, which fills pages; others split pages in half.
  public borrowing func put(_ value: [UInt8], forKey key: [UInt8], in table: Table) throws {
    let appended = put(value, key, table, CUnsignedInt(MDB_APPEND))
    let code = appended == MDB_KEYEXIST ? put(value, key, table, 0) : appended
    try check(code, "store \(value.count) bytes")
  }

  private borrowing func put(
    _ value: [UInt8], _ key: [UInt8], _ table: Table, _ flags: CUnsignedInt
  ) -> CInt {
    key.withUnsafeBytes { keyBytes in
      value.withUnsafeBytes { valueBytes in
        var storedKey = MDB_val(keyBytes)
        var storedValue = MDB_val(valueBytes)
        return mdb_put(handle, table.handle, &storedKey, &storedValue, flags)
      }
    }
  }

  /// Removes what is stored under `key`; nothing happens when there is nothing.
  public borrowing func remove(_ key: [UInt8], in table: Table) throws {
    let code = key.withUnsafeBytes { keyBytes in
      var storedKey = MDB_val(keyBytes)
      return mdb_del(handle, table.handle, &storedKey, nil)
    }
    if code != MDB_NOTFOUND { try check(code, "remove a key of \(key.count) bytes") }
  }

  /// The bytes stored under `key`; a copy, since later puts may move them.
  public borrowing func value(forKey key: [UInt8], in table: Table) throws -> [UInt8]? {
    try find(handle, key, table).map { Array($0) }
  }

  /// The number of entries of a table.
  public borrowing func count(of table: Table) throws -> Int { try entries(handle, table) }
}

extension MDB_val {
  fileprivate init(_ bytes: UnsafeRawBufferPointer) {
    self.init(
      mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
  }

  fileprivate var bytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: mv_data, count: mv_size)
  }
}

private func begin(
  _ environment: OpaquePointer, _ path: String, _ flags: CUnsignedInt
) throws -> OpaquePointer {
  var begun: OpaquePointer?
  try check(mdb_txn_begin(environment, nil, flags, &begun), "start a transaction on \(path)")
  guard let begun else { throw Problem(.inputOutput, "LMDB gave no transaction for \(path)") }
  return begun
}

private func find(
  _ transaction: OpaquePointer, _ key: [UInt8], _ table: Table
) throws -> UnsafeRawBufferPointer? {
  try key.withUnsafeBytes { keyBytes in
    var wanted = MDB_val(keyBytes)
    var found = MDB_val()
    let code = mdb_get(transaction, table.handle, &wanted, &found)
    if code == MDB_NOTFOUND { return nil }
    try check(code, "look up a key of \(key.count) bytes")
    return found.bytes
  }
}

private func visit(
  _ transaction: OpaquePointer, _ table: Table, _ body: (RawSpan, RawSpan) throws -> Bool
) throws {
  var opened: OpaquePointer?
  try check(mdb_cursor_open(transaction, table.handle, &opened), "list a table")
  guard let cursor = opened else { throw Problem(.inputOutput, "LMDB gave no cursor") }
  defer { mdb_cursor_close(cursor) }
  var key = MDB_val()
  var value = MDB_val()
  while true {
    let code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)
    if code == MDB_NOTFOUND { return }
    try check(code, "list a table")
    let more = try body(RawSpan(_unsafeBytes: key.bytes), RawSpan(_unsafeBytes: value.bytes))
    if !more { return }
  }
}

private func entries(_ transaction: OpaquePointer, _ table: Table) throws -> Int {
  var statistics = MDB_stat()
  try check(mdb_stat(transaction, table.handle, &statistics), "count entries")
  return Int(statistics.ms_entries)
}
