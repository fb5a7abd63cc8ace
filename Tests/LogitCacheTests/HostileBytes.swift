/// Hand-made zstd frames (RFC 8878).
let zstdMagic: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD]

/// A frame whose header claims a content size, in eight bytes and as a single segment.
func zstdFrame(claiming size: Int, blocks: [[UInt8]]) -> [UInt8] {
  zstdMagic + [0b1110_0000] + littleEndian(size, bytes: 8) + blocks.flatMap { $0 }
}

/// A block that holds bytes as they are.
func rawBlock(_ bytes: [UInt8], isLast: Bool = true) -> [UInt8] {
  littleEndian(bytes.count << 3 | (isLast ? 1 : 0), bytes: 3) + bytes
}

/// A block that stands for one byte, `count` times.
func repeatBlock(_ byte: UInt8, count: Int, isLast: Bool = true) -> [UInt8] {
  littleEndian(count << 3 | 1 << 1 | (isLast ? 1 : 0), bytes: 3) + [byte]
}

/// The lowest bytes of an integer, low ones first.
func littleEndian(_ value: Int, bytes: Int) -> [UInt8] {
  (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}
