import Basics

/// What a plane holds, in the order planes are stored.
enum PlaneID {
  static let header: UInt8 = 0
  static let ids: UInt8 = 1
  static let gaps: UInt8 = 2
  static let largest: UInt8 = 3
  static let labelRanks: UInt8 = 4
  static let labelIDs: UInt8 = 5
  static let labelGaps: UInt8 = 6
  static let firstTail: UInt8 = 16

  static func name(_ id: UInt8) -> String {
    switch id {
    case header: "header"
    case ids: "ids"
    case gaps: "gaps"
    case largest: "largest"
    case labelRanks: "labelRanks"
    case labelIDs: "labelIDs"
    case labelGaps: "labelGaps"
    default: "tail\(id - firstTail)"
    }
  }
}

/// How a plane's integers are written (docs/FORMAT.md, "Forms").
enum PlaneForm {
  /// One byte each, 255 meaning "in the escapes"; then the escapes as UInt32.
  static let escaped: UInt8 = 0
  /// Little-endian bytes, column by column: all lowest bytes first.
  ///
  /// The form is the width, 1...4.
  static func split(width: Int) -> UInt8 { UInt8(width) }

  /// The bytes that hold every integer up to `largest`, at least one.
  static func width(for largest: UInt32) -> Int {
    max(1, (32 - largest.leadingZeroBitCount + 7) / 8)
  }
}

/// Maps small integers of either sign to small non-negative ones: 0, -1, 1, -2 -> 0, 1, 2, 3.
@inline(__always)
func zigzag(_ value: Int32) -> UInt32 { UInt32(bitPattern: (value << 1) ^ (value >> 31)) }

/// The inverse of `zigzag`.
@inline(__always)
func unzigzag(_ value: UInt32) -> Int32 {
  Int32(bitPattern: value >> 1) ^ -Int32(bitPattern: value & 1)
}

/// Collects planes: their directory, their bytes, and where a new zstd block should start.
struct PlaneWriter {
  private(set) var directory = ByteWriter()
  private(set) var bytes: [UInt8] = []
  /// Length and plane of each piece that gets a zstd block of its own.
  private(set) var pieces: [(plane: UInt8, length: Int)] = []

  mutating func appendEscaped(_ plane: UInt8, _ values: [UInt32]) {
    let start = bytes.count
    bytes.append(contentsOf: values.lazy.map { UInt8(truncatingIfNeeded: min($0, 255)) })
    note(plane, values.count)
    let middle = bytes.count
    for value in values where value >= 255 { append(value) }
    note(plane, bytes.count - middle)
    entry(plane, PlaneForm.escaped, bytes.count - start)
  }

  mutating func appendSplit(_ plane: UInt8, _ values: [UInt32], width: Int) {
    for column in 0..<width {
      let shift = UInt32(8 * column)
      bytes.append(contentsOf: values.lazy.map { UInt8(truncatingIfNeeded: $0 &>> shift) })
      note(plane, values.count)
    }
    entry(plane, PlaneForm.split(width: width), width * values.count)
  }

  private mutating func append(_ value: UInt32) {
    for column in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * column))) }
  }

  private mutating func note(_ plane: UInt8, _ length: Int) {
    if length > 0 { pieces.append((plane, length)) }
  }

  private mutating func entry(_ plane: UInt8, _ form: UInt8, _ length: Int) {
    directory.append(plane)
    directory.append(form)
    directory.append(UInt16(0))
    directory.append(UInt32(length))
  }
}

/// One line of a block's plane directory.
struct PlaneEntry {
  let plane: UInt8
  let form: UInt8
  let length: Int

  /// Reads a directory and checks that it names exactly `planes`, in order.
  @_lifetime(reader: copy reader)
  static func readDirectory(
    from reader: inout ByteReader, expecting planes: [UInt8]
  ) throws -> [PlaneEntry] {
    var entries: [PlaneEntry] = []
    for plane in planes {
      guard let found = reader.next(UInt8.self), let form = reader.next(UInt8.self),
        let reserved = reader.next(UInt16.self), let length = reader.next(UInt32.self)
      else { throw Problem(.corrupt, "its plane directory is cut off") }
      guard found == plane, reserved == 0, form <= 4 else {
        throw Problem(
          .corrupt,
          "its plane directory has plane \(found), form \(form), reserved \(reserved) where "
            + "plane \(plane) belongs")
      }
      entries.append(PlaneEntry(plane: plane, form: form, length: Int(length)))
    }
    return entries
  }

  /// Writes the plane's integers over `values`, whose count says how many there are.
  func decode(_ bytes: UnsafeRawBufferPointer, into values: inout [UInt32]) throws {
    precondition(bytes.count == length, "\(bytes.count) bytes for a plane of \(length)")
    switch form {
    case PlaneForm.escaped: try decodeEscaped(bytes, into: &values)
    default: try decodeSplit(bytes, into: &values)
    }
  }

  private func decodeEscaped(
    _ bytes: UnsafeRawBufferPointer, into values: inout [UInt32]
  ) throws {
    let count = values.count
    guard length >= count, (length - count).isMultiple(of: 4) else { throw wrongLength(count) }
    let escapes = (length - count) / 4
    var found = 0
    values.withUnsafeMutableBufferPointer { values in
      for index in 0..<count {
        let byte = bytes[index]
        values[index] = UInt32(byte)
        found &+= byte == 255 ? 1 : 0
      }
    }
    guard found == escapes else {
      throw Problem(
        .corrupt, "plane \(name) marks \(found) escapes and stores \(escapes)")
    }
    if found > 0 { try fillEscapes(bytes, into: &values) }
  }

  private func fillEscapes(
    _ bytes: UnsafeRawBufferPointer, into values: inout [UInt32]
  ) throws {
    var offset = values.count
    for index in values.indices where values[index] == 255 {
      let stored = bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
      values[index] = UInt32(littleEndian: stored)
      guard values[index] >= 255 else {
        throw Problem(.corrupt, "plane \(name) escapes \(values[index]), which fits a byte")
      }
      offset += 4
    }
  }

  private func decodeSplit(_ bytes: UnsafeRawBufferPointer, into values: inout [UInt32]) throws {
    let count = values.count
    let width = Int(form)
    guard length == width * count else { throw wrongLength(count) }
    values.withUnsafeMutableBufferPointer { values in
      for index in 0..<count { values[index] = UInt32(bytes[index]) }
      for column in 1..<max(width, 1) {
        let shift = UInt32(8 * column)
        let start = column &* count
        for index in 0..<count { values[index] |= UInt32(bytes[start &+ index]) &<< shift }
      }
    }
  }

  private func wrongLength(_ count: Int) -> Problem {
    Problem(
      .corrupt, "plane \(name) has \(length) bytes in form \(form), wrong for \(count) integers")
  }

  private var name: String { PlaneID.name(plane) }
}
