import Basics

/// The planes of a block, taken one after the other.
struct PlaneCursor {
  private let entries: [PlaneEntry]
  private let bytes: UnsafeRawBufferPointer
  private var entry = 0
  private var offset = 0

  /// - Precondition: the lengths of the entries sum to the bytes.
  init(_ entries: [PlaneEntry], _ bytes: UnsafeRawBufferPointer) {
    self.entries = entries
    self.bytes = bytes
  }

  mutating func decodeNext(into values: UnsafeMutableBufferPointer<UInt32>) throws {
    let length = entries[entry].length
    try entries[entry].decode(
      UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length]), into: values)
    offset += length
    entry += 1
  }

  mutating func skip(_ count: Int) {
    for skipped in entries[entry..<entry + count] { offset += skipped.length }
    entry += count
  }

  /// Integers that are stored as what they have more than the smallest, which is returned.
  mutating func decodeNextFromSmallest(
    into values: UnsafeMutableBufferPointer<UInt32>
  ) throws -> Int32 {
    let length = entries[entry].length
    guard length >= 4 else { throw Problem(.corrupt, "a smallest value is cut off") }
    let smallest = bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self)
    try entries[entry].decode(
      UnsafeRawBufferPointer(rebasing: bytes[offset + 4..<offset + length]), into: values)
    offset += length
    entry += 1
    return Int32(littleEndian: smallest)
  }
}
