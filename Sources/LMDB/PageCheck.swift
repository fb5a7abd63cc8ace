import Basics
import Foundation

/// Walks the pages of a data file without LMDB, before LMDB maps it.
///
/// LMDB trusts its file: a damaged page number or length makes it read outside the map and the
/// process dies. After this walk every page that LMDB can reach from the newest meta page is inside
/// the file, of the right kind, reached once, and well-formed, and every value lies inside it.
/// The layout is that of LMDB 0.9 (data version 1) on 64-bit little-endian machines.
public struct PageCheck {
  /// What a sound file holds.
  public struct Report: Sendable, Equatable {
    /// Bytes of a page.
    public let pageSize: Int
    /// Pages in use or free, meta pages included.
    public let pages: Int
    /// Length of the file.
    public let fileBytes: Int
    /// Entries of each table.
    public let entries: [String: Int]
  }

  private let file: PageFile
  private let meta: MetaPage
  private var reached: [Bool]
  private var page: [UInt8]

  /// Checks the data file at `path`.
  ///
  /// - Parameters:
  ///   - tables: the tables that may be there; any other is refused.
  ///   - freeList: also check the list of free pages, which only writers use.
  /// - Throws: `Problem(.corrupt)` naming the path, the page and what is wrong with it.
  public static func check(path: String, tables: [String], freeList: Bool) throws -> Report {
    let file = try PageFile(path)
    let meta = try MetaPage.newest(of: file)
    var check = PageCheck(file: file, meta: meta)
    return try check.run(tables, freeList)
  }

  private init(file: PageFile, meta: MetaPage) {
    self.file = file
    self.meta = meta
    reached = Array(repeating: false, count: meta.lastPage + 1)
    reached[0] = true
    reached[1] = true
    page = Array(repeating: 0, count: meta.pageSize)
  }

  private mutating func run(_ tables: [String], _ freeList: Bool) throws -> Report {
    let file = file
    guard meta.main.flags == 0, meta.free.flags == PageCheck.integerKey else {
      throw file.problem("meta page", "has unexpected table flags")
    }
    var found: [String: TableRecord] = [:]
    try walk(meta.main, "the table of tables") { key, node, _ in
      let name = String(decoding: key, as: UTF8.self)
      guard tables.contains(name), node.kind == .table, let record = node.table, found[name] == nil
      else { throw file.problem("the table of tables", "has a foreign entry '\(name)'") }
      found[name] = record
    }
    var entries: [String: Int] = [:]
    for (name, record) in found.sorted(by: { $0.key < $1.key }) {
      guard record.flags == 0 else { throw file.problem("table '\(name)'", "has unknown flags") }
      try walk(record, "table '\(name)'") { _, node, _ in
        guard node.kind != .table else {
          throw file.problem("table '\(name)'", "holds a table")
        }
      }
      entries[name] = record.entries
    }
    if freeList { try checkFreeList() }
    return Report(
      pageSize: meta.pageSize, pages: meta.lastPage + 1, fileBytes: file.size, entries: entries)
  }

  private static let integerKey = 8

  // MARK: - Trees

  private typealias Visit = (_ key: ArraySlice<UInt8>, Node, _ page: [UInt8]) throws -> Void

  /// Walks a table's tree and compares its page and entry counts with the table's record.
  private mutating func walk(_ table: TableRecord, _ name: String, _ visit: Visit) throws {
    if table.root == TableRecord.noRoot {
      guard table.depth == 0, table.entries == 0 else {
        throw file.problem(name, "is empty but counts \(table.entries) entries")
      }
      return
    }
    guard (1...32).contains(table.depth) else {
      throw file.problem(name, "has depth \(table.depth)")
    }
    var seen = Counts()
    var lastKey: [UInt8]?
    try walkPage(
      table.root, level: 1, table, name, &seen, &lastKey, visit)
    guard seen == table.counts else {
      throw file.problem(name, "counts \(table.counts), its pages hold \(seen)")
    }
  }

  private mutating func walkPage(
    _ number: Int, level: Int, _ table: TableRecord, _ name: String, _ seen: inout Counts,
    _ lastKey: inout [UInt8]?, _ visit: Visit
  ) throws {
    let place = "page \(number) of \(name)"
    try reach(number, place)
    try file.read(page: number, of: meta.pageSize, into: &page)
    let content = page
    let isLeaf = level == table.depth
    let nodes = try Node.all(of: content, number: number, isLeaf: isLeaf) {
      self.file.problem(place, $0)
    }
    if isLeaf { seen.leaves += 1 } else { seen.branches += 1 }
    for node in nodes {
      let key = content[node.key]
      guard isLeaf else {
        try walkPage(node.child, level: level + 1, table, name, &seen, &lastKey, visit)
        continue
      }
      if let lastKey, table.flags == 0, !lastKey.lexicographicallyPrecedes(key) {
        throw file.problem(place, "has keys out of order")
      }
      lastKey = Array(key)
      seen.entries += 1
      if node.kind == .overflow { seen.overflows += try checkOverflow(node, place) }
      try visit(key, node, content)
    }
  }

  /// Checks the run of pages that holds a large value; returns how many there are.
  private mutating func checkOverflow(_ node: Node, _ place: String) throws -> Int {
    let run = "overflow page \(node.child), a value of \(place)"
    guard node.child <= meta.lastPage else {
      throw file.problem(run, "is past the last page \(meta.lastPage)")
    }
    let header = try file.read(at: node.child * meta.pageSize, count: PageCheck.headerSize)
    let pages = header.integer(at: 12, bytes: 4)
    // LMDB keeps a long run when a shorter value replaces the one it was made for.
    let needed = (PageCheck.headerSize + node.size + meta.pageSize - 1) / meta.pageSize
    guard pages >= needed, pages <= meta.lastPage + 1 - node.child else {
      throw file.problem(run, "has \(pages) pages, the value needs \(needed)")
    }
    guard header.integer(at: 0, bytes: 8) == node.child,
      header.integer(at: 10, bytes: 2) == PageCheck.overflowFlag
    else { throw file.problem(run, "has the header of another page") }
    for number in node.child..<node.child + pages { try reach(number, run) }
    return pages
  }

  private mutating func reach(_ number: Int, _ place: String) throws {
    guard number <= meta.lastPage else {
      throw file.problem(place, "is past the last page \(meta.lastPage)")
    }
    guard !reached[number] else { throw file.problem(place, "is reached twice") }
    reached[number] = true
  }

  // MARK: - Free pages

  /// Free pages must be in the file, named once, and reached by nothing else.
  private mutating func checkFreeList() throws {
    let file = file
    let pageSize = meta.pageSize
    var lists: [[Int]] = []
    try walk(meta.free, "the free list") { key, node, content in
      guard key.count == 8, node.kind != .table else {
        throw file.problem("the free list", "has a malformed entry")
      }
      let bytes: [UInt8]
      if node.kind == .overflow {
        bytes = try file.read(at: node.child * pageSize + PageCheck.headerSize, count: node.size)
      } else {
        bytes = Array(content[node.value])
      }
      let count = bytes.count >= 8 ? bytes.integer(at: 0, bytes: 8) : -1
      guard count >= 0, count <= (bytes.count - 8) / 8 else {
        throw file.problem("the free list", "has a list of \(count) pages in \(node.size) bytes")
      }
      lists.append((0..<count).map { bytes.integer(at: 8 + 8 * $0, bytes: 8) })
    }
    for list in lists {
      guard zip(list, list.dropFirst()).allSatisfy({ $0 > $1 }) else {
        throw file.problem("the free list", "is not in order")
      }
      for number in list {
        guard number >= 2 else { throw file.problem("the free list", "names page \(number)") }
        try reach(number, "free page \(number)")
      }
    }
  }

  static let headerSize = 16
  static let branchFlag = 1
  static let leafFlag = 2
  static let overflowFlag = 4
  static let metaFlag = 8
}

extension [UInt8] {
  /// A little-endian integer of up to eight bytes; the largest Int where it does not fit.
  func integer(at offset: Int, bytes count: Int) -> Int {
    var value: UInt64 = 0
    for index in (0..<count).reversed() { value = value << 8 | UInt64(self[offset + index]) }
    return Int(exactly: value) ?? .max
  }
}
