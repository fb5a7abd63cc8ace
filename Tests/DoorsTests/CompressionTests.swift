import Basics
import Compression
import TestSupport
import Testing

@Suite struct ZstdTests {
  private func sample(_ seed: UInt64) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    return (0..<Int.random(in: 0...5000, using: &generator)).map { _ in
      .random(in: 0..<20, using: &generator)
    }
  }

  @Test(arguments: UInt64(1)...20)
  func `bytes come back, whatever the pieces and the level`(seed: UInt64) throws {
    let bytes = sample(seed)
    var generator = SeededGenerator(seed: seed + 100)
    let cut = Int.random(in: 0...bytes.count, using: &generator)
    let compressor = try ZstdCompressor(level: [1, 3, 19].randomElement(using: &generator)!)
    let decompressor = try ZstdDecompressor()
    var output: [UInt8] = []
    for pieces in [[bytes.count], [cut, bytes.count - cut]] {
      let frame = try compressor.compress(bytes, pieces: pieces)
      #expect(frame.pieceSizes.reduce(0, +) == frame.bytes.count, "seed \(seed)")
      try decompressor.decompress(frame.bytes.span.bytes, to: bytes.count, into: &output)
      #expect(output == bytes, "seed \(seed)")
    }
  }

  @Test func `a frame of another size, cut, or followed by more is refused`() throws {
    let bytes = sample(3)
    let frame = try ZstdCompressor(level: 1).compress(bytes, pieces: [bytes.count]).bytes
    let decompressor = try ZstdDecompressor()
    var output: [UInt8] = []
    for size in [0, bytes.count - 1, bytes.count + 1] {
      #expect(throws: Problem.self) {
        try decompressor.decompress(frame.span.bytes, to: size, into: &output)
      }
    }
    for wrong in [Array(frame.dropLast()), frame + [0], frame + frame, []] {
      #expect(throws: Problem.self) {
        try decompressor.decompress(wrong.span.bytes, to: bytes.count, into: &output)
      }
    }
  }

  @Test func `the checksum is the one of zlib`() {
    #expect(crc32(of: Array("123456789".utf8).span.bytes) == 0xCBF4_3926)
    #expect(crc32(of: [UInt8]().span.bytes) == 0)
  }
}
