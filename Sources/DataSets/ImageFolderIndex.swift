import Basics
import Foundation

/// What is known of a picture file since it was last decoded.
struct ImageEntry: Hashable, Sendable {
  /// The file when it was decoded: another length or time means that it must be decoded again.
  var bytes: Int
  /// Nanoseconds since 1970.
  var modified: Int
  var format: PictureFormat
  var height: Int
  var width: Int
  var channels: Int
  /// SHA-256 over the decoded pixels.
  var digest: Digest
}

/// What is known of a folder's pictures, kept beside its description so that they are decoded once.
///
/// A text file: a line that names version and decoders, one line for each picture, and a last line with the
/// SHA-256 of all before it; fields are separated by tabs (docs/VIEWS.md, "The index").
struct ImageFolderIndex {
  var entries: [String: ImageEntry] = [:]

  /// Nothing known.
  init() {}

  private static let begin = "logitcache image index 1"
  private static let firstLine =
    ([begin] + PictureFormat.allCases.map(\.decoder)).joined(separator: "\t") + "\n"

  /// Reads an index; one that is absent, damaged or from other decoders holds nothing.
  init(path: String) {
    guard let file = try? Files.read(path), file.starts(with: Self.firstLine.utf8) else { return }
    let lastLine = 4 + 64 + 1  // "end", a tab, the digest, a line feed
    let body = file.dropLast(lastLine)
    guard file.count >= lastLine,
      file.suffix(lastLine).elementsEqual(Self.lastLine(after: Array(body)))
    else { return }
    var found: [String: ImageEntry] = [:]
    for line in body.split(separator: UInt8(ascii: "\n")).dropFirst() {
      guard let (name, entry) = Self.parse(line) else { return }
      found[name] = entry
    }
    entries = found
  }

  /// The entry of a file that has not changed since.
  func entry(of name: String, bytes: Int, modified: Int) -> ImageEntry? {
    guard let entry = entries[name], entry.bytes == bytes, entry.modified == modified else {
      return nil
    }
    return entry
  }

  /// Writes what is known of the files named, in their order.
  func write(_ names: [String], to path: String) throws {
    var body = Array(Self.firstLine.utf8)
    for name in names {
      guard let entry = entries[name] else { continue }
      let fields = [
        name, "\(entry.bytes)", "\(entry.modified)", entry.format.rawValue, "\(entry.height)",
        "\(entry.width)", "\(entry.channels)", "\(entry.digest)",
      ]
      body += fields.joined(separator: "\t").utf8
      body.append(UInt8(ascii: "\n"))
    }
    try Files.writeAtomically(body + Self.lastLine(after: body), to: path)
  }

  private static func lastLine(after body: [UInt8]) -> [UInt8] {
    Array("end\t\(Digest(of: body))\n".utf8)
  }

  private static func parse(_ line: ArraySlice<UInt8>) -> (String, ImageEntry)? {
    var fields = Fields(rest: line)
    let name = String(decoding: fields.next(), as: UTF8.self)
    guard let bytes = fields.integer(), let modified = fields.integer(),
      let format = PictureFormat(rawValue: String(decoding: fields.next(), as: UTF8.self)),
      let height = fields.integer(), let width = fields.integer(), let channels = fields.integer(),
      let digest = fields.digest(), fields.rest.isEmpty
    else { return nil }
    return (
      name,
      ImageEntry(
        bytes: bytes, modified: modified, format: format, height: height, width: width,
        channels: channels, digest: digest)
    )
  }
}

/// Fields of a line, separated by tabs; an index may have millions of lines.
private struct Fields {
  var rest: ArraySlice<UInt8>

  /// The bytes up to the next tab.
  mutating func next() -> ArraySlice<UInt8> {
    let end = rest.firstIndex(of: UInt8(ascii: "\t")) ?? rest.endIndex
    defer { rest = rest[min(end + 1, rest.endIndex)...] }
    return rest[..<end]
  }

  mutating func integer() -> Int? { Int(String(decoding: next(), as: UTF8.self)) }

  /// 64 hexadecimal digits in lower case.
  mutating func digest() -> Digest? {
    let digits = next()
    var bytes: [UInt8] = []
    bytes.reserveCapacity(32)
    var high: UInt8?
    for digit in digits {
      let value: UInt8
      switch digit {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): value = digit - UInt8(ascii: "a") + 10
      default: return nil
      }
      if let upper = high {
        bytes.append(upper << 4 | value)
        high = nil
      } else {
        high = value
      }
    }
    return high == nil ? Digest(bytes: bytes) : nil
  }
}
