import Basics
import DataSets
import TestSupport
import Testing
import Views

/// A data set of texts with the classes "a", "b" and "c" in turn, read from a file.
func testTexts(_ texts: [String], bytes: Int) throws -> any DataSet {
  let folder = ScratchFolder()
  let lines = texts.enumerated().map { "\(["a", "b", "c"][$0.offset % 3])\t\($0.element)\n" }
  try Files.writeAtomically(lines.joined(), to: folder.file("texts.tsv"))
  try Files.writeAtomically(
    "{kind: text, name: test texts, texts: texts.tsv, classNames: [a, b, c], bytes: \(bytes)}",
    to: folder.file("texts.yaml"))
  return try openDataSet(folder.file("texts.yaml"))
}

/// Characters of one to four bytes, with and without a small form.
private let alphabet = Array("aZ9 éÖĞŠșΆΩЖёҚԱẾ文ﬀ\u{1F39E}İß".unicodeScalars)

private func randomText(_ random: inout SeededGenerator) -> String {
  var text = String.UnicodeScalarView()
  for _ in 0..<Int.random(in: 1...30, using: &random) {
    text.append(alphabet.randomElement(using: &random)!)
  }
  return String(text)
}

private func padded(_ text: String, bytes: Int) -> [UInt8] {
  Array(text.utf8) + [UInt8](repeating: 0, count: bytes - text.utf8.count)
}

@Suite struct TextOperationTests {
  @Test(arguments: 0..<40 as Range<UInt64>)
  func `characters are counted and taken as the reference does`(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let text = randomText(&random)
    let scalars = Array(text.unicodeScalars)
    let bytes = text.utf8.count + Int.random(in: 0...5, using: &random)
    #expect(characterCount(padded(text, bytes: bytes)) == scalars.count, "seed \(seed)")
    for first in scalars.indices {
      for count in 1...scalars.count - first {
        var taken = [UInt8](repeating: 1, count: bytes)
        takeCharacters(padded(text, bytes: bytes), first: first, count: count, into: &taken)
        var part = String.UnicodeScalarView()
        part.append(contentsOf: scalars[first..<first + count])
        #expect(taken == padded(String(part), bytes: bytes), "seed \(seed), \(first), \(count)")
      }
    }
  }

  @Test(arguments: 0..<40 as Range<UInt64>)
  func `small letters are put as the reference does`(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let text = randomText(&random)
    var bytes = padded(text, bytes: text.utf8.count + 2)
    lowercase(&bytes)
    var expected = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      let number = Int(scalar.value)
      expected.append(
        number < smallLetters.count ? Unicode.Scalar(smallLetters[number])! : scalar)
    }
    #expect(bytes == padded(String(expected), bytes: bytes.count), "seed \(seed)")
  }

  @Test func `every small letter is Unicode's and has as many bytes`() throws {
    var changed = 0
    for (number, small) in smallLetters.enumerated() where small != number {
      let (letter, result) = (Unicode.Scalar(UInt32(number))!, Unicode.Scalar(UInt32(small))!)
      #expect(letter.properties.lowercaseMapping == String(result), "U+\(hexadecimal(number))")
      #expect(String(letter).utf8.count == String(result).utf8.count)
      changed += 1
    }
    #expect(changed == 361, "\(changed)")
  }

  @Test func `drawn runs begin and end everywhere, and their length stays in range`() throws {
    let text = "0123456789"
    let augmenter = try Augmenter(
      dataSet: testTexts([text], bytes: 12),
      recipe: recipe("{version: 1, operations: [{op: substring, share: [0.2, 0.6]}]}"), seed: 3)
    var batch = augmenter.makeBatch()
    var seen: Set<String> = []
    for view in 0..<2000 {
      try augmenter.render(samples: 0..<1, view: view, into: &batch)
      let run = String(decoding: batch.pixels.prefix { $0 != 0 }, as: UTF8.self)
      #expect(text.contains(run) && (2...6).contains(run.count), "view \(view): \(run)")
      #expect(batch.pixels.dropFirst(run.utf8.count).allSatisfy { $0 == 0 })
      seen.insert(run)
    }
    // Runs of 2, 3, 4, 5 and 6 of ten digits.
    #expect(seen.count == 9 + 8 + 7 + 6 + 5)
  }

  @Test func `without operations a text stays as it is`() throws {
    let texts = ["One", "Zwei", "Три"]
    let augmenter = try Augmenter(
      dataSet: testTexts(texts, bytes: 8), recipe: .identity, seed: 1)
    var batch = augmenter.makeBatch()
    try augmenter.render(samples: [2, 0], view: 7, into: &batch)
    #expect(batch.pixels == padded("Три", bytes: 8) + padded("One", bytes: 8))
    #expect(batch.partners == [2, 0] && batch.ownShares == [1, 1])
  }

  @Test func `operations on another kind of samples are refused in words`() throws {
    let texts = try testTexts(["one"], bytes: 8)
    let images = try testImages(2, 2, 1, count: 1)
    let features = try InMemoryDataSet(
      name: "features", shape: .features(width: 1), classNames: ["a"], labels: [0],
      elements: .features([1]))
    func problem(_ dataSet: any DataSet, _ operations: String) throws -> Problem {
      try #require(throws: Problem.self) {
        try Augmenter(
          dataSet: dataSet, recipe: recipe("{version: 1, operations: [\(operations)]}"), seed: 1)
      }
    }
    for operation in ["{op: flip}", "{op: lowercase}, {op: flip}", "{op: cutmix}"] {
      let refusal = try problem(texts, operation)
      #expect(refusal.kind == .configuration)
      #expect(
        refusal.message.contains("has 8 bytes of text, but the recipe has operations on images"),
        "\(refusal)")
    }
    for operation in ["{op: substring}", "{op: lowercase}, {op: mixup}"] {
      let refusal = try problem(images, operation)
      #expect(
        refusal.message.contains("2 x 2 x 1 pixels, but the recipe has operations on texts"),
        "\(refusal)")
    }
    #expect(
      try problem(features, "{op: lowercase}").message.contains("operations on texts"))
  }
}

private func hexadecimal(_ number: Int) -> String { String(number, radix: 16) }
