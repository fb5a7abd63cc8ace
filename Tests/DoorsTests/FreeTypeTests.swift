import Basics
import FreeType
import TestSupport
import Testing

private let fontPath = "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"
private let isInstalled = Files.exists(fontPath)

@Suite(.enabled(if: isInstalled, "needs the Debian package fonts-wqy-microhei"))
struct FreeTypeTests {
  @Test func `a character fills its box and is drawn the same by every instance`() throws {
    let first = try Font(contentsOf: fontPath, face: 0, pixelsPerEm: 40)
    let second = try Font(contentsOf: fontPath, face: 0, pixelsPerEm: 40)
    for character in "中国一齄".unicodeScalars {
      let glyph = try #require(try first.draw(character))
      #expect(glyph.coverage.count == glyph.height * glyph.width)
      #expect((1...44).contains(glyph.height) && (20...44).contains(glyph.width))
      #expect(glyph.coverage.max()! > 200)
      _ = try second.draw("字")  // what was drawn before leaves no trace
      #expect(try second.draw(character)?.coverage == glyph.coverage)
    }
    #expect(first.digest == second.digest)
  }

  @Test func `the size is the em square's`() throws {
    let small = try #require(try Font(contentsOf: fontPath, face: 0, pixelsPerEm: 20).draw("国"))
    let large = try #require(try Font(contentsOf: fontPath, face: 0, pixelsPerEm: 200).draw("国"))
    #expect((8...12).contains(Double(large.height) / Double(small.height)))
    #expect((160...200).contains(large.height))
  }

  @Test(arguments: ["\u{E000}", "\u{10FFFD}", " ", "\u{3000}"] as [Unicode.Scalar])
  func `what a font lacks and what leaves no ink is no glyph`(character: Unicode.Scalar) throws {
    #expect(try Font(contentsOf: fontPath, face: 0, pixelsPerEm: 40).draw(character) == nil)
  }

  @Test func `what is no font, and a face that is not there, are refused`() throws {
    let folder = ScratchFolder()
    try Files.writeAtomically("no font", to: folder.file("text.ttf"))
    try Files.writeAtomically([], to: folder.file("empty.ttf"))
    for name in ["text.ttf", "empty.ttf"] {
      let problem = try #require(throws: Problem.self) {
        try Font(contentsOf: folder.file(name), face: 0, pixelsPerEm: 40)
      }
      #expect(problem.kind == .corrupt && problem.message.contains(name), "\(problem)")
    }
    let problem = try #require(throws: Problem.self) {
      try Font(contentsOf: fontPath, face: 99, pixelsPerEm: 40)
    }
    #expect(problem.message.contains("face 99"), "\(problem)")
    #expect(throws: Problem.self) {
      try Font(contentsOf: folder.file("absent.ttf"), face: 0, pixelsPerEm: 40)
    }
  }

  @Test(arguments: 0..<10 as Range<UInt64>)
  func `a damaged font is refused or drawn, never a crash`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let folder = ScratchFolder()
    var bytes = try Files.read(fontPath)
    if seed % 2 == 0 { bytes.removeLast(Int.random(in: 1..<bytes.count, using: &random)) }
    for _ in 0..<1000 {
      bytes[Int.random(in: bytes.indices, using: &random)] = .random(in: 0...255, using: &random)
    }
    try Files.writeAtomically(bytes, to: folder.file("damaged.ttc"))
    guard
      let font = try? Font(contentsOf: folder.file("damaged.ttc"), face: 0, pixelsPerEm: 40)
    else { return }
    for value in 0x4E00..<0x4E40 as Range<UInt32> { _ = try? font.draw(Unicode.Scalar(value)!) }
  }
}
