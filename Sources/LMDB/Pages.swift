import Basics
import Foundation

/// Pages, leaves and entries of a table.
struct Counts: Equatable, CustomStringConvertible {
  var branches = 0
  var leaves = 0
  var overflows = 0
  var entries = 0

  var description: String {
    "\(entries) entries on \(branches) + \(leaves) + \(overflows) pages"
  }
}

/// LMDB's description of a table (`MDB_db`, 48 bytes).
struct TableRecord {
  static let size = 48
  static let noRoot = Int.max  // 2^64 - 1 in the file

  let pad: Int
  let flags: Int
  let depth: Int
  let counts: Counts
  let root: Int

  var entries: Int { counts.entries }

  init(_ bytes: [UInt8], at offset: Int) {
    pad = bytes.integer(at: offset, bytes: 4)
    flags = bytes.integer(at: offset + 4, bytes: 2)
    depth = bytes.integer(at: offset + 6, bytes: 2)
    counts = Counts(
      branches: bytes.integer(at: offset + 8, bytes: 8),
      leaves: bytes.integer(at: offset + 16, bytes: 8),
      overflows: bytes.integer(at: offset + 24, bytes: 8),
      entries: bytes.integer(at: offset + 32, bytes: 8))
    root = bytes.integer(at: offset + 40, bytes: 8)
  }
}

/// One of the two pages that a file starts with; the newer one is in force.
struct MetaPage {
  let pageSize: Int
  let free: TableRecord
  let main: TableRecord
  let lastPage: Int
  let transaction: Int

  private static let magic = 0xBEEF_C0DE
  private static let dataVersion = 1
  private static let size = PageCheck.headerSize + 24 + 2 * TableRecord.size + 16

  /// Both meta pages must be sound, as LMDB demands; the newer one is returned.
  static func newest(of file: PageFile) throws -> MetaPage {
    let first = try MetaPage(file, at: 0)
    let second = try MetaPage(file, at: first.pageSize)
    guard first.pageSize == second.pageSize else {
      throw file.problem("meta page 1", "disagrees about the page size")
    }
    let newest = first.transaction < second.transaction ? second : first
    guard newest.lastPage >= 1, newest.lastPage < file.size / newest.pageSize else {
      throw file.problem(
        "the file",
        "has \(file.size) bytes, too few for \(newest.lastPage) + 1 pages of \(newest.pageSize): "
          + "it is cut off or damaged")
    }
    return newest
  }

  private init(_ file: PageFile, at offset: Int) throws {
    let name = offset == 0 ? "meta page 0" : "meta page 1"
    guard file.size >= offset + MetaPage.size else {
      throw file.problem(name, "is missing: the file has only \(file.size) bytes")
    }
    let bytes = try file.read(at: offset, count: MetaPage.size)
    let body = PageCheck.headerSize
    guard bytes.integer(at: 10, bytes: 2) == PageCheck.metaFlag,
      bytes.integer(at: body, bytes: 4) == MetaPage.magic
    else { throw file.problem(name, "is not one of LMDB's") }
    let version = bytes.integer(at: body + 4, bytes: 4)
    guard version == MetaPage.dataVersion else {
      throw file.problem(name, "has data version \(version), this program reads 1 (LMDB 0.9)")
    }
    guard bytes.integer(at: body + 8, bytes: 8) == 0 else {
      throw file.problem(name, "asks for a fixed address")
    }
    free = TableRecord(bytes, at: body + 24)
    main = TableRecord(bytes, at: body + 24 + TableRecord.size)
    lastPage = bytes.integer(at: body + 24 + 2 * TableRecord.size, bytes: 8)
    transaction = bytes.integer(at: body + 32 + 2 * TableRecord.size, bytes: 8)
    pageSize = free.pad
    guard (512...65536).contains(pageSize), pageSize.nonzeroBitCount == 1 else {
      throw file.problem(name, "has page size \(pageSize)")
    }
  }
}

/// An entry of a branch or leaf page.
struct Node {
  enum Kind { case inline, overflow, table, branch }

  let kind: Kind
  /// Where the key is in the page.
  let key: Range<Int>
  /// Where an inline value is in the page.
  let value: Range<Int>
  /// The value's size in bytes.
  let size: Int
  /// The child of a branch, or the first page of a large value.
  let child: Int
  /// The table that the value describes.
  let table: TableRecord?

  private static let headerSize = 8
  private static let longestKey = 511

  /// The entries of a page, checked to lie in it.
  ///
  /// - Parameter problem: makes the error for a fault.
  static func all(
    of page: [UInt8], number: Int, isLeaf: Bool, _ problem: (String) -> Problem
  ) throws -> [Node] {
    let flag = isLeaf ? PageCheck.leafFlag : PageCheck.branchFlag
    let lower = page.integer(at: 12, bytes: 2)
    let upper = page.integer(at: 14, bytes: 2)
    guard page.integer(at: 0, bytes: 8) == number, page.integer(at: 10, bytes: 2) == flag else {
      throw problem("has the header of another page")
    }
    guard lower >= PageCheck.headerSize, lower.isMultiple(of: 2), lower <= upper,
      upper <= page.count
    else { throw problem("has free space from \(lower) to \(upper)") }
    let count = (lower - PageCheck.headerSize) / 2
    guard count >= (isLeaf ? 1 : 2) else { throw problem("has only \(count) entries") }
    return try (0..<count).map { index in
      let start = page.integer(at: PageCheck.headerSize + 2 * index, bytes: 2)
      guard start >= upper, start.isMultiple(of: 2),
        let node = Node(page, at: start, isLeaf: isLeaf)
      else { throw problem("has a malformed entry \(index)") }
      return node
    }
  }

  private init?(_ page: [UInt8], at start: Int, isLeaf: Bool) {
    guard start + Node.headerSize <= page.count else { return nil }
    let low = page.integer(at: start, bytes: 4)
    let flags = page.integer(at: start + 4, bytes: 2)
    let keySize = page.integer(at: start + 6, bytes: 2)
    let end = start + Node.headerSize + keySize
    guard keySize <= Node.longestKey, end <= page.count else { return nil }
    key = start + Node.headerSize..<end
    guard isLeaf else {
      (kind, size, value, table) = (.branch, 0, end..<end, nil)
      child = low | flags << 32
      return
    }
    size = low
    switch flags {
    case 0:
      guard low <= page.count - end else { return nil }
      (kind, child, table) = (.inline, 0, nil)
      value = end..<end + low
    case 1:
      guard page.count - end >= 8 else { return nil }
      (kind, value, table) = (.overflow, end..<end, nil)
      child = page.integer(at: end, bytes: 8)
    case 2:
      guard low == TableRecord.size, low <= page.count - end else { return nil }
      (kind, value, child) = (.table, end..<end + low, 0)
      table = TableRecord(page, at: end)
    default: return nil
    }
  }
}

/// A data file read with plain system calls, never mapped.
final class PageFile {
  let path: String
  let size: Int
  private let descriptor: CInt

  init(_ path: String) throws {
    self.path = path
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw Problem(.noInput, "cannot open \(path): \(String(cString: strerror(errno)))")
    }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw Problem(.noInput, "cannot read \(path): it is not a regular file")
    }
    size = Int(status.st_size)
  }

  deinit { close(descriptor) }

  func read(at offset: Int, count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try read(at: offset, into: &bytes)
    return bytes
  }

  func read(page: Int, of size: Int, into bytes: inout [UInt8]) throws {
    try read(at: page * size, into: &bytes)
  }

  private func read(at offset: Int, into bytes: inout [UInt8]) throws {
    let count = bytes.count
    let got = bytes.withUnsafeMutableBytes {
      pread(descriptor, $0.baseAddress, count, off_t(offset))
    }
    guard got == count else {
      throw Problem(.inputOutput, "cannot read \(path): got \(got) of \(count) bytes at \(offset)")
    }
  }

  func problem(_ place: String, _ fault: String) -> Problem {
    Problem(.corrupt, "\(path): \(place) \(fault)")
  }
}
