import Basics
import TestSupport
import Testing

@Suite struct DigestTests {
  /// FIPS 180-2, appendix B.1, and the digest of nothing.
  @Test(arguments: [
    ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
  ])
  func `digests are SHA-256`(text: String, expected: String) {
    #expect(Digest(of: text).description == expected)
    #expect(Digest(of: Array(text.utf8)) == Digest(of: text))
    #expect(Digest(of: text).short == String(expected.prefix(12)))
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `hashing pieces is hashing the whole`(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let bytes = (0..<Int.random(in: 0...300, using: &generator)).map { _ in
      UInt8.random(in: 0...255, using: &generator)
    }
    var builder = DigestBuilder()
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = Int.random(in: 1...rest.count, using: &generator)
      Array(rest.prefix(count)).withUnsafeBytes { builder.append($0) }
      rest = rest.dropFirst(count)
    }
    #expect(builder.finish() == Digest(of: bytes), "seed \(seed)")
  }

  @Test func `integers are hashed as little-endian bytes and strings as UTF-8`() {
    var builder = DigestBuilder()
    builder.append(UInt32(0x0403_0201))
    builder.append("é")
    #expect(builder.finish() == Digest(of: [1, 2, 3, 4, 0xC3, 0xA9]))
  }

  @Test func `hexadecimal digits come in lower case, two a byte`() {
    #expect(hexadecimal([0, 1, 0x0F, 0xA0, 0xFF]) == "00010fa0ff")
    #expect(hexadecimal([]) == "")
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `a digest survives its digits and its JSON`(seed: UInt64) throws {
    let digest = Digest(of: "\(seed)")
    #expect(Digest(hex: digest.description) == digest)
    #expect(Digest(bytes: digest.bytes) == digest)
    #expect(try canonicalJSON([digest]) == "[\"\(digest)\"]")
    #expect(try decode([Digest].self, from: canonicalJSON([digest]), source: "test") == [digest])
  }

  @Test(arguments: [
    "", "ab", String(repeating: "a", count: 63), String(repeating: "a", count: 65),
    String(repeating: "g", count: 64), String(repeating: "+1", count: 32),
    String(repeating: "-0", count: 32),
    " " + String(repeating: "a", count: 63), String(repeating: "é", count: 32),
  ])
  func `what is not 64 hexadecimal digits is no digest`(text: String) {
    #expect(Digest(hex: text) == nil)
    let problem = #expect(throws: Problem.self) {
      try decode([Digest].self, from: "[\"\(text)\"]", source: "the test")
    }
    #expect(problem?.kind == .corrupt)
  }

  @Test func `only 32 bytes make a digest`() {
    #expect(Digest(bytes: [UInt8](repeating: 0, count: 31)) == nil)
    #expect(Digest(bytes: [UInt8](repeating: 0, count: 33)) == nil)
  }
}
