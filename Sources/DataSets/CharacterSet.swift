import Basics
import Glibc

/// The characters that a description asks for, each once, in the order that numbers the classes.
///
/// - Parameters:
///   - value: `gb2312-1`, `gb2312`, a text file's path, or a list.
///   - source: the description's path; names in it start at its folder, and errors name it.
func characterSet(_ value: JSONValue, source: String) throws -> [Unicode.Scalar] {
  if let texts = value.array?.map({ $0.string! }) {
    return try distinct(texts.map { try scalar($0, in: source) }, source: source)
  }
  switch value.string! {
  case "gb2312-1": return try gb2312(rows: gb2312Level1)
  case "gb2312": return try gb2312(rows: gb2312Level1) + gb2312(rows: gb2312Level2)
  case let name:
    let path = Files.path(name, relativeTo: source)
    guard let text = String(validating: try Files.read(path), as: UTF8.self) else {
      throw Problem(.configuration, "\(path) is not UTF-8 text")
    }
    return try distinct(
      text.unicodeScalars.filter { !$0.properties.isWhitespace }, source: path)
  }
}

/// The characters without those of `others`, cut to the first `count`.
///
/// - Throws: `Problem(.configuration)` when one of `others` is not there, or too few are left.
func selected(
  _ characters: [Unicode.Scalar], without others: String, first count: Int?, source: String
) throws -> [Unicode.Scalar] {
  let others = Set(others.unicodeScalars)
  if let foreign = others.subtracting(characters).min() {
    throw Problem(
      .configuration, "\(source): 'without' has '\(foreign)', which is not among the characters")
  }
  let left = characters.filter { !others.contains($0) }
  guard count ?? 2 <= left.count else {
    throw Problem(
      .configuration, "\(source): there are \(left.count) characters, \(count ?? 2) are asked for")
  }
  return Array(left.prefix(count ?? left.count))
}

private func distinct(
  _ characters: [Unicode.Scalar], source: String
) throws -> [Unicode.Scalar] {
  var seen: Set<Unicode.Scalar> = []
  if let twice = characters.first(where: { !seen.insert($0).inserted }) {
    throw Problem(.configuration, "\(source) names the character '\(twice)' twice")
  }
  return characters
}

private func scalar(_ text: String, in source: String) throws -> Unicode.Scalar {
  guard let first = text.unicodeScalars.first, text.unicodeScalars.count == 1 else {
    throw Problem(.configuration, "\(source): '\(text)' is not one character")
  }
  return first
}

/// The 3,755 characters of level 1, by pronunciation.
private let gb2312Level1 = 16...55
/// The 3,008 characters of level 2, by radical and strokes.
private let gb2312Level2 = 56...87

/// The characters in rows of GB 2312-80.
///
/// A row has 94 cells, all taken but the last five of row 55. In EUC-CN a character is two bytes, row
/// and cell, each plus 0xA0; glibc knows which character that is.
private func gb2312(rows: ClosedRange<Int>) throws -> [Unicode.Scalar] {
  var bytes: [CChar] = []
  for row in rows {
    for cell in 1...(row == 55 ? 89 : 94) {
      bytes += [row, cell].map { CChar(truncatingIfNeeded: 0xA0 + $0) }
    }
  }
  return Array(try decoded(&bytes, from: "EUC-CN").unicodeScalars)
}

/// Text from bytes in an encoding that glibc knows.
private func decoded(_ bytes: inout [CChar], from encoding: String) throws -> String {
  let converter = iconv_open("UTF-8", encoding)
  guard converter != iconv_t(bitPattern: -1) else {
    throw Problem(
      .noInput, "glibc cannot read \(encoding) here: \(String(cString: strerror(errno)))")
  }
  defer { iconv_close(converter) }
  // A character of two bytes needs at most three in UTF-8.
  var text = [CChar](repeating: 0, count: 2 * bytes.count)
  let written = bytes.withUnsafeMutableBufferPointer { source in
    text.withUnsafeMutableBufferPointer { target in
      var (input, inputLeft) = (source.baseAddress, source.count)
      var (output, outputLeft) = (target.baseAddress, target.count)
      let code = iconv(converter, &input, &inputLeft, &output, &outputLeft)
      precondition(code == 0 && inputLeft == 0, "iconv left \(inputLeft) bytes of \(encoding)")
      return target.count - outputLeft
    }
  }
  return String(decoding: text.prefix(written).map(UInt8.init(bitPattern:)), as: UTF8.self)
}
