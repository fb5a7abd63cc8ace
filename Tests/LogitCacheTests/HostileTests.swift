import Basics
import Foundation
import LogitCache
import Losses
import TestSupport
import Testing

/// Values whose checksums are right and whose frames, headers or directories lie.
@Suite struct HostileTests {
  private let sound: SoundBlock
  private let canonical: [UInt8]
  private let frame: [UInt8]

  init() throws {
    sound = try SoundBlock(Job(classes: 12, k: 5, samples: 8, featureWidth: 2))
    canonical = sound.encoded.canonicalBytes
    frame = Array(sound.encoded.storedValue.dropFirst(8))
  }

  /// A stored value: right checksum, then a length and a frame that need not agree.
  private func value(length: Int, frame: [UInt8]) -> [UInt8] {
    BlockProbe.withChecksum(littleEndian(length, bytes: 4) + frame)
  }

  @Test func `the value that all others are made from is sound`() throws {
    let length = canonical.count
    #expect(value(length: length, frame: frame) == sound.encoded.storedValue)
    let plain = zstdFrame(claiming: length, blocks: [rawBlock(canonical)])
    for content in [
      try sound.decode().content, try sound.decode(canonical: canonical).content,
      try sound.decode(value(length: length, frame: plain)).content,
    ] {
      #expect(content.canonicalBytes == canonical)
      #expect(content.writtenAgain == canonical)
    }
    #expect(sound.parts.canonical == canonical)
  }

  // MARK: - Frames

  @Test func `a length that no block of the cache can have is refused before it is allocated`() {
    for length in [Int(UInt32.max), 1 << 31, 1 << 20] {
      sound.expectRefusal(value(length: length, frame: frame), "claims \(length) bytes", "at most")
    }
  }

  @Test func `a frame that claims another size than the value is refused`() throws {
    for length in [0, 1, canonical.count - 1, canonical.count + 1] {
      sound.expectRefusal(value(length: length, frame: frame), "expected size of \(length)")
    }
    for claimed in [0, canonical.count + 1, 1 << 40, Int.max] {
      let lying = zstdFrame(claiming: claimed, blocks: [rawBlock(canonical)])
      sound.expectRefusal(
        value(length: canonical.count, frame: lying), "expected size of \(canonical.count)")
    }
  }

  @Test func `a frame that yields more or less than it claims is refused`() {
    for blocks in [
      [rawBlock(canonical + [0])], [rawBlock(Array(canonical.dropLast()))],
      [rawBlock(canonical, isLast: false), rawBlock(canonical)],
      // Four bytes that stand for 128 KB.
      [repeatBlock(0, count: 1 << 17)],
      Array(repeating: repeatBlock(0, count: 1 << 17, isLast: false), count: 500)
        + [repeatBlock(0, count: 1 << 17)],
      [rawBlock(canonical, isLast: false)], [],
    ] {
      let frame = zstdFrame(claiming: canonical.count, blocks: blocks)
      sound.expectRefusal(value(length: canonical.count, frame: frame), "zstd")
    }
  }

  @Test func `a frame that records no size, or needs a dictionary, is refused`() {
    let block = rawBlock(canonical)
    // Frame_Header_Descriptor, Window_Descriptor (RFC 8878, 3.1.1.1): no content size.
    let unsized = zstdMagic + [0x00, 0x58] + block
    sound.expectRefusal(value(length: canonical.count, frame: unsized), "expected size")
    let wanting =
      zstdMagic + [0b1110_0001, 7] + littleEndian(canonical.count, bytes: 8) + block
    sound.expectRefusal(value(length: canonical.count, frame: wanting), "zstd")
    let reserved = zstdMagic + [0b1110_1000] + littleEndian(canonical.count, bytes: 8) + block
    sound.expectRefusal(value(length: canonical.count, frame: reserved), "zstd")
  }

  /// A window of 3.75 TiB is refused; one of 2 GiB is only a number: nothing is allocated for it.
  @Test func `the window that a frame asks for is never allocated`() throws {
    let rest = littleEndian(canonical.count, bytes: 8) + rawBlock(canonical)
    let huge = value(length: canonical.count, frame: zstdMagic + [0b1100_0000, 0xFF] + rest)
    sound.expectRefusal(huge, "zstd")
    let large = value(length: canonical.count, frame: zstdMagic + [0b1100_0000, 21 << 3] + rest)
    let before = addressSpace()
    #expect(try sound.decode(large).content.canonicalBytes == canonical)
    #expect(addressSpace() - before < 1 << 30)
  }

  /// Bytes of address space that this process uses.
  private func addressSpace() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    return (text.split(separator: " ").first.flatMap { Int($0) } ?? 0) * 4096
  }

  @Test func `anything before, after or in place of the frame is refused`() {
    let skippable = [0x50, 0x2A, 0x4D, 0x18] + littleEndian(4, bytes: 4) + [1, 2, 3, 4]
    for wrong in [
      frame + [0], frame + frame, frame + skippable, skippable + frame, skippable, [],
      Array(frame.reversed()), canonical,
    ] {
      sound.expectRefusal(value(length: canonical.count, frame: wrong), "zstd")
    }
    for count in 0..<frame.count {
      sound.expectRefusal(value(length: canonical.count, frame: Array(frame.prefix(count))))
    }
    for count in 0..<4 {
      sound.expectRefusal(BlockProbe.withChecksum(Array(repeating: 0, count: count)))
    }
    for count in 0..<4 {
      sound.expectRefusal(Array(repeating: 0, count: count), "only \(count) bytes")
    }
  }

  // MARK: - Headers and directories

  @Test(arguments: [
    (0, "magic"), (4, "version"), (6, "codec"), (8, "view"), (12, "block"), (16, "first sample"),
    (24, "rows"), (28, "classes"), (32, "k"), (36, "planes"), (38, "reserved"),
  ])
  func `a header field that the manifest does not expect is refused by name`(
    offset: Int, name: String
  ) throws {
    for change in [1, 2, 0x7F, 0xFF] as [UInt8] {
      var bytes = canonical
      bytes[offset] ^= change
      sound.expectRefusal(canonical: bytes, "header says \(name) ")
    }
  }

  @Test func `canonical bytes cut anywhere, or going on, are refused`() throws {
    for count in canonical.indices {
      sound.expectRefusal(canonical: Array(canonical.prefix(count)))
    }
    sound.expectRefusal(canonical: canonical + [0])
    sound.expectRefusal(canonical: canonical + canonical)
  }

  @Test func `planes that overlap, leave a gap or end elsewhere are refused`() {
    let entries = (0..<Int(canonical[36])).map { 72 + 8 * $0 }
    func length(_ entry: Int) -> Int {
      canonical[entry + 4..<entry + 8].reversed().reduce(0) { $0 << 8 | Int($1) }
    }
    for entry in entries {
      let right = length(entry)
      for wrong in [right + 1, right - 1, right + 1 << 16, Int(UInt32.max)] where wrong >= 0 {
        var bytes = canonical
        bytes.replaceSubrange(entry + 4..<entry + 8, with: littleEndian(wrong, bytes: 4))
        sound.expectRefusal(canonical: bytes)
        // The sum is right again, when the next plane gives or takes the difference.
        guard let next = entries.first(where: { $0 > entry }) else { continue }
        let rest = length(next) + right - wrong
        guard rest >= 0 else { continue }
        bytes.replaceSubrange(next + 4..<next + 8, with: littleEndian(rest, bytes: 4))
        sound.expectRefusal(canonical: bytes)
      }
    }
  }

  /// Plane, group, form, width.
  @Test(arguments: [
    (0, [0, 6, 7, 99, 255]), (1, [7, 25, 255]), (2, [3, 5, 8, 15, 17, 255]), (3, [33, 128, 255]),
  ])
  func `a directory with another plane or group, or an unknown form or width, is refused`(
    offset: Int, values: [UInt8]
  ) {
    for entry in 0..<Int(canonical[36]) {
      for value in values where canonical[72 + 8 * entry + offset] != value {
        var bytes = canonical
        bytes[72 + 8 * entry + offset] = value
        sound.expectRefusal(canonical: bytes, "its plane directory has plane")
      }
    }
  }

  @Test func `a width is refused with every form that has none`() {
    for (index, part) in sound.parts.parts.enumerated() where part.form != 16 {
      var parts = sound.parts
      parts.parts[index].width = 1
      sound.expectRefusal(canonical: parts.canonical, "width 1 where")
    }
  }

  @Test func `entries in another order, or twice, are refused`() {
    for first in 0..<Int(canonical[36]) - 1 {
      let (one, other) = (72 + 8 * first, 80 + 8 * first)
      var swapped = canonical
      for byte in 0..<8 { swapped.swapAt(one + byte, other + byte) }
      sound.expectRefusal(canonical: swapped)
      var twice = canonical
      twice.replaceSubrange(other..<other + 8, with: canonical[one..<one + 8])
      sound.expectRefusal(canonical: twice)
    }
  }
}
