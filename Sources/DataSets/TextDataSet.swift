import Basics

/// Reads the texts that a description of `kind: text` names: UTF-8 files of lines, each a class's name, a
/// tab and a text.
///
/// Samples are file after file, line after line. A text of more bytes than a sample has is cut
/// between two characters.
/// - Throws: `Problem`: `.noInput` when a file is missing, `.corrupt` with file and line for a line that
///   is no sample, `.configuration` for class names that are none.
func readTexts(_ value: JSONValue, path: String) throws -> InMemoryDataSet {
  let bytes = value["bytes"]?.integer ?? 128
  let classNames = try classNames(value["classNames"]!, path: path)
  let named = value["texts"]!
  var texts = TextLines(classNames: classNames, bytes: bytes)
  for file in named.array ?? [named] {
    try texts.append(linesOf: Files.path(file.string!, relativeTo: path))
  }
  return try InMemoryDataSet(
    name: value["name"]!.string!, shape: .text(bytes: bytes), classNames: classNames,
    labels: texts.labels, elements: .pixels(texts.elements))
}

/// Refuses elements that are not one text for each sample.
func checkTexts(_ elements: [UInt8], bytes: Int, name: String) throws {
  for start in stride(from: 0, to: elements.count, by: bytes) {
    let sample = elements[start..<start + bytes]
    let text = sample.prefix { $0 != 0 }
    guard !text.isEmpty, sample[text.endIndex...].allSatisfy({ $0 == 0 }), isUTF8(text) else {
      throw Problem(
        .corrupt,
        "\(name): sample \(start / bytes) is not a text: at least one character in UTF-8, then "
          + "zeros up to \(counted(bytes, "byte"))")
    }
  }
}

/// Samples and labels, in the order of lines.
private struct TextLines {
  /// The number of each class, by the bytes of its name: Swift takes different characters for equal.
  private let numbers: [ArraySlice<UInt8>: Int32]
  private let bytes: Int
  private(set) var labels: [Int32] = []
  /// `bytes` for each sample.
  private(set) var elements: [UInt8] = []

  init(classNames: [String], bytes: Int) {
    self.bytes = bytes
    numbers = Dictionary(
      uniqueKeysWithValues: classNames.enumerated().map { (Array($1.utf8)[...], Int32($0)) })
  }

  mutating func append(linesOf path: String) throws {
    for (index, line) in try lines(of: path).enumerated() {
      func problem(_ what: String) -> Problem {
        Problem(.corrupt, "\(path), line \(index + 1): \(what)")
      }
      guard let tab = line.firstIndex(of: UInt8(ascii: "\t")) else {
        throw problem("there is no tab between a class's name and a text")
      }
      let text = line[(tab + 1)...]
      guard let label = numbers[line[..<tab]] else {
        throw problem(
          "'\(String(decoding: line[..<tab], as: UTF8.self))' is none of the "
            + "\(numbers.count) class names")
      }
      guard !text.isEmpty else { throw problem("the text is empty") }
      guard isUTF8(text) else { throw problem("the text is not UTF-8") }
      if let control = text.first(where: { $0 < 32 || $0 == 127 }) {
        throw problem("the text has the control character \(control)")
      }
      let cut = text.prefix(wholeCharacters(of: text, bytes: bytes))
      labels.append(label)
      elements += cut
      elements += repeatElement(0, count: bytes - cut.count)
    }
  }
}

/// The names in a list, or in a file with one a line.
private func classNames(_ value: JSONValue, path: String) throws -> [String] {
  var (names, source) = (value.array?.map { $0.string! } ?? [], path)
  if let file = value.string {
    source = Files.path(file, relativeTo: path)
    names = try lines(of: source).enumerated().map { index, line in
      guard let name = String(validating: line, as: UTF8.self), !name.isEmpty else {
        throw Problem(.configuration, "\(source), line \(index + 1) is not a class's name in UTF-8")
      }
      return name
    }
  }
  guard names.count >= 2 else {
    throw Problem(
      .configuration,
      "\(source) names \(counted(names.count, "class", "classes")), there must be two")
  }
  var seen: Set<[UInt8]> = []
  if let twice = names.first(where: { !seen.insert(Array($0.utf8)).inserted }) {
    throw Problem(.configuration, "\(source) names the class '\(twice)' twice")
  }
  return names
}

/// The lines of a file, without line feeds; the last one may lack its own.
private func lines(of path: String) throws -> [ArraySlice<UInt8>] {
  let lines = try Files.read(path).split(
    separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
  return lines.last!.isEmpty ? lines.dropLast() : lines
}

private func isUTF8(_ text: ArraySlice<UInt8>) -> Bool {
  String(validating: text, as: UTF8.self) != nil
}

/// The length of the longest beginning of a text in UTF-8 that ends with a character and has at most
/// `bytes` bytes.
private func wholeCharacters(of text: ArraySlice<UInt8>, bytes: Int) -> Int {
  guard text.count > bytes else { return text.count }
  var end = bytes
  // The second and further bytes of a character begin with the bits 10.
  while text[text.startIndex + end] & 0xC0 == 0x80 { end -= 1 }
  return end
}
