import Basics
import DataSets
import Foundation
import TestSupport
import Testing

/// A folder with files of lines and their description.
private struct TextFolder {
  let folder = ScratchFolder()

  func write(_ text: String, to name: String) throws {
    try Files.writeAtomically(text, to: folder.file(name))
  }

  func open(_ rest: String = "texts: a.tsv, classNames: [de, en]") throws -> InMemoryDataSet {
    try write("{kind: text, name: test, \(rest)}", to: "texts.yaml")
    return try #require(try openDataSet(folder.file("texts.yaml")) as? InMemoryDataSet)
  }
}

extension InMemoryDataSet {
  fileprivate func text(_ sample: Int) -> String {
    var bytes = [UInt8](repeating: 0, count: shape.elementCount)
    do {
      var span = bytes.mutableSpan
      copyPixels(of: sample, into: &span)
    }
    return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }
}

@Suite struct TextDataSetTests {
  @Test func `lines become texts and labels, in the order of files and lines`() throws {
    let folder = TextFolder()
    try folder.write("en\tGood morning\nde\tGuten Morgen, Ömer\n", to: "a.tsv")
    try folder.write("en\t日本 \u{1F39E}", to: "b.tsv")
    let both = try folder.open("texts: [a.tsv, b.tsv], classNames: [de, en]")
    #expect(both.shape == .text(bytes: 128) && both.count == 3)
    #expect(both.labels == [1, 0, 1] && both.classNames == ["de", "en"])
    #expect((0..<3).map(both.text) == ["Good morning", "Guten Morgen, Ömer", "日本 \u{1F39E}"])
    #expect(try folder.open("texts: [a.tsv, b.tsv], classNames: [de, en], first: 2").count == 2)
    try folder.write("de\nen\n", to: "names.txt")
    let named = try folder.open("texts: [a.tsv, b.tsv], classNames: names.txt")
    #expect(named.fingerprint == both.fingerprint)
  }

  @Test func `a named pipe is refused by its path, not waited for`() throws {
    let folder = TextFolder()
    let path = folder.folder.file("a.tsv")
    #expect(mkfifo(path, 0o600) == 0)
    let problem = #expect(throws: Problem.self) { try folder.open() }
    #expect(problem?.kind == .noInput && problem?.message.contains(path) == true)
  }

  @Test func `a long text is cut between two characters`() throws {
    let folder = TextFolder()
    let text = "aß日\u{1F39E}é"  // 1, 2, 3, 4 and 2 bytes
    try folder.write("en\t\(text)", to: "a.tsv")
    for (bytes, whole) in [(4, 2), (5, 2), (6, 3), (9, 3), (10, 4), (11, 4), (12, 5), (13, 5)] {
      let cut = try folder.open("texts: a.tsv, classNames: [de, en], bytes: \(bytes)")
      #expect(cut.shape == .text(bytes: bytes))
      #expect(cut.text(0) == String(text.prefix(whole)), "\(bytes) bytes")
    }
  }

  @Test func `everything that matters changes the fingerprint`() throws {
    let folder = TextFolder()
    try folder.write("en\tone\nde\teins\n", to: "a.tsv")
    try folder.write("en\tone\nen\teins\n", to: "labels.tsv")
    try folder.write("en\tone\nde\tEins\n", to: "texts.tsv")
    try folder.write("en\tone\n", to: "first.tsv")
    try folder.write("de\teins\n", to: "second.tsv")
    let base = try folder.open().fingerprint
    let parts = try folder.open("texts: [first.tsv, second.tsv], classNames: [de, en]")
    #expect(parts.fingerprint == base)
    let others = [
      "texts: labels.tsv, classNames: [de, en]", "texts: texts.tsv, classNames: [de, en]",
      "texts: a.tsv, classNames: [en, de]", "texts: a.tsv, classNames: [de, en, fr]",
      "texts: a.tsv, classNames: [de, en], bytes: 127", "texts: first.tsv, classNames: [de, en]",
    ]
    let fingerprints = try others.map { try folder.open($0).fingerprint }
    #expect(Set(fingerprints + [base]).count == others.count + 1)
    // The same bytes as a picture are another data set.
    let bytes = Array("one".utf8) + [0]
    func fingerprint(_ shape: SampleShape) throws -> Digest {
      try InMemoryDataSet(
        name: "x", shape: shape, classNames: ["a", "b"], labels: [0], elements: .pixels(bytes)
      ).fingerprint
    }
    #expect(
      try fingerprint(.text(bytes: 4))
        != fingerprint(.image(height: 1, width: 4, channels: 1)))
  }

  @Test(arguments: [
    ("no tab here", "there is no tab"), ("fr\tbonjour", "'fr' is none of the 2 class names"),
    ("\tbonjour", "'' is none of the 2 class names"), ("en\t", "the text is empty"),
    ("", "there is no tab"), ("en\tone\ttwo", "the control character 9"),
    ("en\tone␍", "the control character 13"), ("en\tone␀two", "the control character 0"),
  ])
  func `a wrong line is refused with file and number`(line: String, words: String) throws {
    let folder = TextFolder()
    // Signs for control characters, which would spoil the output of tests.
    let line = String(line.map { ["␍": "\r", "␀": "\0"][$0] ?? $0 })
    try folder.write("en\tone\nde\teins\n\(line)\nen\tend\n", to: "a.tsv")
    let problem = try #require(throws: Problem.self) { try folder.open() }
    #expect(problem.kind == .corrupt)
    #expect(problem.message.contains("a.tsv, line 3: "), "\(problem)")
    #expect(problem.message.contains(words), "\(problem)")
  }

  @Test func `bytes that are not UTF-8 are refused, in files and from memory`() throws {
    let folder = TextFolder()
    for bytes in [[0xFF], [0xC3], [0xC3, 0x28], [0xED, 0xA0, 0x80], [0xC0, 0x80]] as [[UInt8]] {
      try Files.writeAtomically(
        Array("en\tone\nen\t".utf8) + bytes, to: folder.folder.file("a.tsv"))
      let problem = try #require(throws: Problem.self) { try folder.open() }
      #expect(problem.message.contains("a.tsv, line 2: the text is not UTF-8"), "\(problem)")
    }
    for bytes in [[0, 0, 0, 0], [97, 0, 98, 0], [0x61, 0xC3, 0, 0]] as [[UInt8]] {
      let problem = try #require(throws: Problem.self) {
        try InMemoryDataSet(
          name: "x", shape: .text(bytes: 4), classNames: ["a", "b"], labels: [0, 0],
          elements: .pixels([97, 98, 99, 100] + bytes))
      }
      #expect(problem.message.contains("x: sample 1 is not a text"), "\(problem)")
    }
  }

  @Test(arguments: [
    ("texts: a.tsv", "classNames is missing"), ("classNames: [de, en]", "texts is missing"),
    ("texts: a.tsv, classNames: [de]", "classNames must be"),
    ("texts: a.tsv, classNames: [de, de]", "names the class 'de' twice"),
    ("texts: a.tsv, classNames: empty.txt", "empty.txt names 0 classes"),
    ("texts: a.tsv, classNames: gap.txt", "gap.txt, line 2 is not a class's name"),
    ("texts: a.tsv, classNames: [de, en], bytes: 3", "bytes must be an integer of at least 4"),
    ("texts: [], classNames: [de, en]", "texts must be a list of at least 1 element"),
    ("texts: absent.tsv, classNames: [de, en]", "absent.tsv"),
    ("texts: empty.txt, classNames: [de, en]", "test is empty"),
  ])
  func `a wrong description is refused in words`(description: String, words: String) throws {
    let folder = TextFolder()
    try folder.write("de\teins", to: "a.tsv")
    try folder.write("", to: "empty.txt")
    try folder.write("de\n\nen", to: "gap.txt")
    let problem = try #require(throws: Problem.self) { try folder.open(description) }
    #expect(problem.message.contains(words), "\(problem)")
  }
}
