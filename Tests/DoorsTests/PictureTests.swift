import Basics
import JPEG
import PNG
import TestSupport
import Testing

private let limit = 1 << 20

/// What the doors give for a file of either format.
private struct Decoded: Equatable {
  var shape: [Int]
  var pixels: [UInt8]

  init(_ file: [UInt8], name: String, maximumPixels: Int = limit) throws {
    var pixels: [UInt8] = []
    let decode = name.hasSuffix(".png") ? decodePNG : decodeJPEG
    let size = try decode(file, maximumPixels, &pixels, name)
    shape = [size.height, size.width, size.channels]
    self.pixels = pixels
  }
}

private func names(_ suffix: String = "") throws -> [String] {
  try PictureFiles.golden().keys.filter { $0.hasSuffix(suffix) }.sorted()
}

@Suite struct PictureTests {
  @Test func `every colour type and depth decodes to its golden pixels`() throws {
    for (name, wanted) in try PictureFiles.golden() {
      let decoded = try Decoded(try PictureFiles.read(name), name: name)
      #expect(decoded.shape == wanted.shape, "\(name)")
      #expect(Digest(of: decoded.pixels).description == wanted.digest, "\(name)")
    }
  }

  @Test func `what was decoded before leaves no trace`() throws {
    var pixels = [UInt8](repeating: 9, count: 100_000)
    let file = try PictureFiles.read("colour-420.jpg")
    _ = try decodeJPEG(file, maximumPixels: limit, into: &pixels, source: "a")
    #expect(try Decoded(file, name: "a.jpg").pixels == pixels)
    let small = try PictureFiles.read("one-pixel.png")
    _ = try decodePNG(small, maximumPixels: limit, into: &pixels, source: "b")
    #expect(pixels.count == 3)
  }

  @Test func `a file cut anywhere is refused with the decoder's words`() throws {
    for name in try names() {
      let file = try PictureFiles.read(name)
      // JPEG's end marker may be missing no less than the pixels may.
      for count in stride(from: 0, to: file.count, by: 7) {
        let problem = try #require(throws: Problem.self, "\(name) cut to \(count)") {
          try Decoded(Array(file.prefix(count)), name: name)
        }
        #expect(problem.kind == .corrupt && problem.message.hasPrefix("cannot decode \(name): "))
        #expect(problem.message.count > "cannot decode \(name): ".count + 5, "\(problem)")
      }
    }
  }

  @Test func `a picture that claims more pixels than allowed is refused before it is decoded`()
    throws
  {
    var png = try PictureFiles.read("rgb-8.png")
    png.replaceSubrange(16..<24, with: [0, 0x0F, 0x42, 0x40, 0, 0x0F, 0x42, 0x40])
    png.replaceSubrange(29..<33, with: crc(png[12..<29]))
    var jpeg = try PictureFiles.read("colour-444.jpg")
    let frame = try #require(
      jpeg.indices.dropLast(4).first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC0 })
    jpeg.replaceSubrange(frame + 5..<frame + 9, with: [0xFF, 0x00, 0xFF, 0x00])
    for (file, name, size) in [
      (png, "large.png", "1000000 x 1000000"), (jpeg, "large.jpg", "65280 x 65280"),
    ] {
      let problem = try #require(throws: Problem.self) {
        try Decoded(file, name: name, maximumPixels: 1 << 26)
      }
      #expect(problem.message.contains("\(name) has \(size) pixels"), "\(problem)")
    }
    let file = try PictureFiles.read("rgb-8.png")
    #expect(throws: Problem.self) { try Decoded(file, name: "a.png", maximumPixels: 11 * 13 - 1) }
    #expect(try Decoded(file, name: "a.png", maximumPixels: 11 * 13).shape == [11, 13, 3])
  }

  @Test(arguments: 0..<8 as Range<UInt64>)
  func `a damaged file is refused or decoded, never a crash`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    for name in try names() {
      let whole = try PictureFiles.read(name)
      for _ in 0..<40 {
        var file = whole
        for _ in 0..<Int.random(in: 1...6, using: &random) {
          file[Int.random(in: file.indices, using: &random)] = .random(in: 0...255, using: &random)
        }
        // A right checksum lets the damage through to what libpng makes of it.
        if name.hasSuffix(".png"), Bool.random(using: &random) { mend(&file) }
        guard let decoded = try? Decoded(file, name: name) else { continue }
        #expect(decoded.pixels.count == decoded.shape.reduce(1, *), "\(name), seed \(seed)")
      }
    }
  }

  @Test func `a progressive file with endless scans is refused`() throws {
    let file = try PictureFiles.read("colour-progressive.jpg")
    // From the last scan's marker to the end marker, again and again.
    let scan = try #require(
      file.indices.dropLast(1).last { file[$0] == 0xFF && file[$0 + 1] == 0xDA })
    var many = Array(file.dropLast(2))
    for _ in 0..<600 { many += file[scan..<file.count - 2] }
    many += [0xFF, 0xD9]
    #expect(throws: Problem.self) { try Decoded(many, name: "scans.jpg") }
  }

  @Test func `decoders name themselves and their versions`() {
    #expect(
      jpegDecoder.wholeMatch(of: /libjpeg-turbo \d+\.\d+\.\d+, islow, fancy upsampling/) != nil)
    #expect(pngDecoder.wholeMatch(of: /libpng 1\.\d+\.\d+.*/) != nil)
  }
}

/// The checksum of a PNG chunk, big-endian.
private func crc(_ bytes: some Sequence<UInt8>) -> [UInt8] {
  var sum: UInt32 = .max
  for byte in bytes {
    sum ^= UInt32(byte)
    for _ in 0..<8 { sum = sum >> 1 ^ (sum & 1 == 1 ? 0xEDB8_8320 : 0) }
  }
  return (0..<4).map { UInt8(truncatingIfNeeded: ~sum >> (24 - 8 * $0)) }
}

/// Gives every chunk of a PNG file the checksum that it asks for, as far as lengths lead.
private func mend(_ file: inout [UInt8]) {
  var start = 8
  while start + 12 <= file.count {
    let length = file[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
    guard length <= file.count - start - 12 else { return }
    let end = start + 8 + length
    file.replaceSubrange(end..<end + 4, with: crc(file[start + 4..<end]))
    start = end + 4
  }
}
