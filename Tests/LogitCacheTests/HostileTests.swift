import Basics
import Foundation
import LogitCache
import Losses
import TestSupport
import Testing

/// Values whose checksums are right and whose content lies.
@Suite struct HostileTests {
  private static let key = BlockKey(view: 0, block: 0)
  private let job: Job
  private let probe: BlockProbe
  private let sound: EncodedBlock

  init() throws {
    job = Job(classes: 12, k: 5, samples: 8, featureWidth: 2)
    probe = try BlockProbe(job.manifest)
    sound = try job.encode(Self.key, with: BlockEncoder(manifest: job.manifest))
  }

  /// The problem that a stored value is refused with.
  private func refusal(_ value: [UInt8]) -> Problem {
    var batch = TeacherBatch(
      classes: 12, k: 5, tailTemperatures: [1, 2, 4], count: 0, featureNorms: true)
    return problem { _ = try probe.decode(value, as: Self.key, into: &batch) }
  }

  private func expectRefusal(
    _ value: [UInt8], _ texts: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let found = refusal(value)
    #expect(found.kind == .corrupt, "\(found)", sourceLocation: sourceLocation)
    #expect(
      found.message.hasPrefix("view 0, block 0 is damaged: "), "\(found)",
      sourceLocation: sourceLocation)
    for text in texts {
      #expect(found.message.contains(text), "\(found)", sourceLocation: sourceLocation)
    }
  }

  /// A stored value: right checksum, then a length and a frame that need not agree.
  private func value(length: Int, frame: [UInt8]) -> [UInt8] {
    BlockProbe.withChecksum(littleEndian(length, bytes: 4) + frame)
  }

  private func expectRefusal(
    ofCanonical bytes: [UInt8], _ texts: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let found = refusal(try probe.storedValue(ofCanonical: bytes))
    #expect(found.kind == .corrupt, "\(found)", sourceLocation: sourceLocation)
    for text in texts {
      #expect(found.message.contains(text), "\(found)", sourceLocation: sourceLocation)
    }
  }

  @Test func `the value that all others are made from is sound`() throws {
    let (length, frame) = (sound.canonicalBytes.count, Array(sound.storedValue.dropFirst(8)))
    #expect(value(length: length, frame: frame) == sound.storedValue)
    #expect(refusal(sound.storedValue).message == "nothing thrown")
    #expect(
      refusal(try probe.storedValue(ofCanonical: sound.canonicalBytes)).message == "nothing thrown")
    let plain = zstdFrame(claiming: length, blocks: [rawBlock(sound.canonicalBytes)])
    #expect(refusal(value(length: length, frame: plain)).message == "nothing thrown")
  }

  // MARK: - Frames

  @Test func `a length that no block of the cache can have is refused before it is allocated`() {
    let frame = Array(sound.storedValue.dropFirst(8))
    for length in [Int(UInt32.max), 1 << 31, 1 << 20] {
      expectRefusal(value(length: length, frame: frame), "claims \(length) bytes", "at most")
    }
  }

  @Test func `a frame that claims another size than the value is refused`() throws {
    let bytes = sound.canonicalBytes
    let frame = Array(sound.storedValue.dropFirst(8))
    for length in [0, 1, bytes.count - 1, bytes.count + 1] {
      expectRefusal(value(length: length, frame: frame), "expected size of \(length)")
    }
    for claimed in [0, bytes.count + 1, 1 << 40, Int.max] {
      let lying = zstdFrame(claiming: claimed, blocks: [rawBlock(bytes)])
      expectRefusal(value(length: bytes.count, frame: lying), "expected size of \(bytes.count)")
    }
  }

  @Test func `a frame that yields more or less than it claims is refused`() {
    let bytes = sound.canonicalBytes
    for blocks in [
      [rawBlock(bytes + [0])], [rawBlock(Array(bytes.dropLast()))],
      [rawBlock(bytes, isLast: false), rawBlock(bytes)],
      // Four bytes that stand for 128 KB.
      [repeatBlock(0, count: 1 << 17)],
      Array(repeating: repeatBlock(0, count: 1 << 17, isLast: false), count: 500)
        + [repeatBlock(0, count: 1 << 17)],
      [rawBlock(bytes, isLast: false)], [],
    ] {
      let frame = zstdFrame(claiming: bytes.count, blocks: blocks)
      expectRefusal(value(length: bytes.count, frame: frame), "zstd")
    }
  }

  @Test func `a frame that records no size, or needs a dictionary, is refused`() {
    let bytes = sound.canonicalBytes
    let block = rawBlock(bytes)
    // Frame_Header_Descriptor, Window_Descriptor (RFC 8878, 3.1.1.1): no content size.
    let unsized = zstdMagic + [0x00, 0x58] + block
    expectRefusal(value(length: bytes.count, frame: unsized), "expected size")
    let wanting =
      zstdMagic + [0b1110_0001, 7] + littleEndian(bytes.count, bytes: 8) + block
    expectRefusal(value(length: bytes.count, frame: wanting), "zstd")
    let reserved = zstdMagic + [0b1110_1000] + littleEndian(bytes.count, bytes: 8) + block
    expectRefusal(value(length: bytes.count, frame: reserved), "zstd")
  }

  /// A window of 3.75 TiB is refused; one of 2 GiB is only a number: nothing is allocated for it.
  @Test func `the window that a frame asks for is never allocated`() {
    let bytes = sound.canonicalBytes
    let rest = littleEndian(bytes.count, bytes: 8) + rawBlock(bytes)
    let huge = value(length: bytes.count, frame: zstdMagic + [0b1100_0000, 0xFF] + rest)
    expectRefusal(huge, "zstd")
    let large = value(length: bytes.count, frame: zstdMagic + [0b1100_0000, 21 << 3] + rest)
    let before = addressSpace()
    #expect(refusal(large).message == "nothing thrown")
    #expect(addressSpace() - before < 1 << 30)
  }

  /// Bytes of address space that this process uses.
  private func addressSpace() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    return (text.split(separator: " ").first.flatMap { Int($0) } ?? 0) * 4096
  }

  @Test func `anything before, after or in place of the frame is refused`() {
    let bytes = sound.canonicalBytes
    let frame = Array(sound.storedValue.dropFirst(8))
    let skippable = [0x50, 0x2A, 0x4D, 0x18] + littleEndian(4, bytes: 4) + [1, 2, 3, 4]
    for wrong in [
      frame + [0], frame + frame, frame + skippable, skippable + frame, skippable, [],
      Array(frame.reversed()), bytes,
    ] {
      expectRefusal(value(length: bytes.count, frame: wrong), "zstd")
    }
    for count in 0..<frame.count {
      expectRefusal(value(length: bytes.count, frame: Array(frame.prefix(count))))
    }
    for count in 0..<4 { expectRefusal(BlockProbe.withChecksum(Array(repeating: 0, count: count))) }
    for count in 0..<4 { expectRefusal(Array(repeating: 0, count: count), "only \(count) bytes") }
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
      var bytes = sound.canonicalBytes
      bytes[offset] ^= change
      try expectRefusal(ofCanonical: bytes, "header says \(name) ")
    }
  }

  @Test func `canonical bytes cut anywhere, or going on, are refused`() throws {
    for count in sound.canonicalBytes.indices {
      try expectRefusal(ofCanonical: Array(sound.canonicalBytes.prefix(count)))
    }
    try expectRefusal(ofCanonical: sound.canonicalBytes + [0])
    try expectRefusal(ofCanonical: sound.canonicalBytes + sound.canonicalBytes)
  }

  /// Where the directory's entries start, and how many there are.
  private var entries: [Int] { (0..<Int(sound.canonicalBytes[36])).map { 72 + 8 * $0 } }

  @Test func `planes that overlap, leave a gap or end elsewhere are refused`() throws {
    for entry in entries {
      let length = sound.canonicalBytes[entry + 4..<entry + 8].reversed().reduce(0) {
        $0 << 8 | Int($1)
      }
      for wrong in [length + 1, length - 1, length + 1 << 16, Int(UInt32.max)] where wrong >= 0 {
        var bytes = sound.canonicalBytes
        bytes.replaceSubrange(entry + 4..<entry + 8, with: littleEndian(wrong, bytes: 4))
        try expectRefusal(ofCanonical: bytes)
        // The sum is right again, when the next plane gives or takes the difference.
        guard let next = entries.first(where: { $0 > entry }) else { continue }
        let other = sound.canonicalBytes[next + 4..<next + 8].reversed().reduce(0) {
          $0 << 8 | Int($1)
        }
        guard other + length >= wrong else { continue }
        bytes.replaceSubrange(
          next + 4..<next + 8, with: littleEndian(other + length - wrong, bytes: 4))
        try expectRefusal(ofCanonical: bytes)
      }
    }
  }

  @Test func `a directory with another plane, form or reserved byte is refused`() throws {
    for entry in entries {
      let wrongs: [(offset: Int, byte: UInt8)] = [
        (0, 0), (0, 99), (0, 255), (1, 200), (1, 255), (2, 1), (3, 1),
      ]
      for wrong in wrongs {
        var bytes = sound.canonicalBytes
        bytes[entry + wrong.offset] = wrong.byte
        try expectRefusal(ofCanonical: bytes)
      }
    }
    for (one, other) in zip(entries, entries.dropFirst()) {
      var swapped = sound.canonicalBytes
      for byte in 0..<8 { swapped.swapAt(one + byte, other + byte) }
      try expectRefusal(ofCanonical: swapped)
      var twice = sound.canonicalBytes
      twice.replaceSubrange(other..<other + 8, with: Array(twice[one..<one + 8]))
      try expectRefusal(ofCanonical: twice)
    }
  }
}
