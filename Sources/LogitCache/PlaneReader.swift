import Basics

/// One line of a block's plane directory.
struct PlaneEntry {
  let plane: UInt8
  let group: UInt8
  let form: PlaneForm
  let width: UInt8
  let length: Int

  /// Reads a directory and checks that it names exactly `planes`, in order.
  @_lifetime(reader: copy reader)
  static func readDirectory(
    from reader: inout ByteReader, expecting planes: [PlanePlace]
  ) throws -> [PlaneEntry] {
    var entries: [PlaneEntry] = []
    entries.reserveCapacity(planes.count)
    for place in planes {
      guard let plane = reader.next(UInt8.self), let group = reader.next(UInt8.self),
        let form = reader.next(UInt8.self), let width = reader.next(UInt8.self),
        let length = reader.next(UInt32.self)
      else { throw Problem(.corrupt, "its plane directory is cut off") }
      guard PlanePlace(plane: plane, group: group) == place, let form = PlaneForm(rawValue: form),
        form == .plain ? width <= 32 : width == 0
      else {
        throw Problem(
          .corrupt,
          "its plane directory has plane \(plane).\(group), form \(form), width \(width) where "
            + "plane \(place.plane).\(place.group) belongs")
      }
      entries.append(
        PlaneEntry(plane: plane, group: group, form: form, width: width, length: Int(length)))
    }
    return entries
  }

  /// Reads all of `bytes` as `values.count` integers.
  ///
  /// - Throws: `Problem(.corrupt)` when the bytes are not exactly that many integers.
  func decode(
    _ bytes: UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<UInt32>
  ) throws {
    var bytes = bytes
    switch form {
    case .buckets: try decodeBuckets(&bytes, into: values)
    case .plain: try decodePlain(&bytes, into: values)
    case .bits1, .bits2, .bits4: try decodePacked(&bytes, into: values)
    }
    guard bytes.isEmpty else { throw wrongLength }
  }

  private func decodeBuckets(
    _ bytes: inout UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<UInt32>
  ) throws {
    let count = values.count
    let names = try take(count, from: &bytes)
    var bits = 0
    var largest: UInt8 = 0
    for index in 0..<count {
      let name = names[index]
      largest = max(largest, name)
      // Bucket.width without a branch: 16...19 have 2 bits.
      bits &+= Int(name >= 16 ? name &>> 2 &- 2 : 0)
    }
    guard Int(largest) < Bucket.count else {
      throw Problem(.corrupt, "plane \(name) names bucket \(largest)")
    }
    let rest = try take((bits + 7) / 8, from: &bytes)
    PlaneEntry.addRest(rest, names, largest: largest, into: values)
    try demandZeroFill(rest, bits)
  }

  /// Writes integers: the first of each bucket that is named, and what the next bits have more.
  private static func addRest(
    _ rest: UnsafeRawBufferPointer, _ names: UnsafeRawBufferPointer, largest: UInt8,
    into values: UnsafeMutableBufferPointer<UInt32>
  ) {
    Bucket.widths.withUnsafeBufferPointer { widths in
      Bucket.bases.withUnsafeBufferPointer { bases in
        var (index, place) = (0, 0)
        // Four share one load where it holds the widest four after up to seven bits of others.
        let lastWord = rest.count &- 8
        let shared = lastWord >= 0 && 4 * Bucket.width(largest) <= 57 ? values.count & ~3 : 0
        while index < shared {
          // At the end the last eight bytes again, with more of them shifted out.
          let offset = min(place &>> 3, lastWord)
          var word = UInt64(
            littleEndian: rest.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
          word &>>= UInt64(truncatingIfNeeded: place &- offset &* 8)
          for next in index..<index &+ 4 {
            let bucket = Int(names[next])
            let width = UInt64(widths[bucket])
            values[next] = bases[bucket] &+ UInt32(truncatingIfNeeded: word & ~(~0 &<< width))
            word &>>= width
            place &+= Int(truncatingIfNeeded: width)
          }
          index &+= 4
        }
        while index < values.count {
          let bucket = Int(names[index])
          let width = UInt64(widths[bucket])
          let more = PlaneEntry.bits(rest, at: place, width: width)
          values[index] = bases[bucket] &+ UInt32(truncatingIfNeeded: more)
          place &+= Int(truncatingIfNeeded: width)
          index &+= 1
        }
      }
    }
  }

  private func decodePacked(
    _ bytes: inout UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<UInt32>
  ) throws {
    let count = values.count
    let width = Int(form.rawValue)
    let codes = try take((count * width + 7) / 8, from: &bytes)
    switch form {
    case .bits1: PlaneEntry.unpack(codes, width: 1, into: values)
    case .bits2: PlaneEntry.unpack(codes, width: 2, into: values)
    default: PlaneEntry.unpack(codes, width: 4, into: values)
    }
    try demandZeroFill(codes, count * width)
    try addEscapes(from: &bytes, to: values)
  }

  /// Adds the escapes to the codes that announce them.
  private func addEscapes(
    from bytes: inout UnsafeRawBufferPointer, to values: UnsafeMutableBufferPointer<UInt32>
  ) throws {
    let escape = form.escape
    var escaped = 0
    for index in 0..<values.count { escaped &+= values[index] == escape ? 1 : 0 }
    if escaped == 0 { return }
    // One more than there are, so that the next one can be read before it is known to be needed: a
    // branch would be mispredicted at every other escape.
    try withUnsafeTemporaryAllocation(of: UInt32.self, capacity: escaped + 1) { rest in
      rest[escaped] = 0
      try decodeBuckets(&bytes, into: UnsafeMutableBufferPointer(rebasing: rest[..<escaped]))
      guard rest.max()! <= UInt32.max - escape else {
        throw Problem(.corrupt, "plane \(name) holds an integer above 2^32")
      }
      var next = 0
      for index in 0..<values.count {
        let isEscape = values[index] == escape
        values[index] &+= isEscape ? rest[next] : 0
        next &+= isEscape ? 1 : 0
      }
    }
  }

  /// Spreads codes of `width` bits, 1, 2 or 4: a constant where this is inlined.
  @inline(__always)
  private static func unpack(
    _ codes: UnsafeRawBufferPointer, width: Int, into values: UnsafeMutableBufferPointer<UInt32>
  ) {
    let perByte = 8 / width
    let mask = UInt32(1) << UInt32(width) - 1
    let whole = values.count / perByte
    for place in 0..<whole {
      let byte = UInt32(codes[place])
      for code in 0..<perByte {
        values[place &* perByte &+ code] = byte &>> UInt32(truncatingIfNeeded: code &* width) & mask
      }
    }
    for index in whole * perByte..<values.count {
      let shift = UInt32(truncatingIfNeeded: (index &- whole &* perByte) &* width)
      values[index] = UInt32(codes[whole]) &>> shift & mask
    }
  }

  private func decodePlain(
    _ bytes: inout UnsafeRawBufferPointer, into values: UnsafeMutableBufferPointer<UInt32>
  ) throws {
    let bits = values.count * Int(width)
    let packed = try take((bits + 7) / 8, from: &bytes)
    for index in 0..<values.count {
      values[index] = UInt32(
        truncatingIfNeeded: PlaneEntry.bits(packed, at: index &* Int(width), width: UInt64(width)))
    }
    try demandZeroFill(packed, bits)
  }

  /// `width` bits, 0...32, from bit `place` on.
  @inline(__always)
  private static func bits(
    _ bytes: UnsafeRawBufferPointer, at place: Int, width: UInt64
  ) -> UInt64 {
    let offset = place &>> 3
    var word: UInt64 = 0
    if offset &+ 8 <= bytes.count {
      word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    } else {
      for index in offset..<bytes.count {
        word |= UInt64(bytes[index]) &<< UInt64(truncatingIfNeeded: 8 &* (index &- offset))
      }
    }
    return word &>> UInt64(truncatingIfNeeded: place & 7) & ((1 &<< width) &- 1)
  }

  private func take(
    _ count: Int, from bytes: inout UnsafeRawBufferPointer
  ) throws -> UnsafeRawBufferPointer {
    guard bytes.count >= count else { throw wrongLength }
    let part = UnsafeRawBufferPointer(rebasing: bytes[..<count])
    bytes = UnsafeRawBufferPointer(rebasing: bytes[count...])
    return part
  }

  /// The bits after the last one, up to the end of its byte, must be 0.
  private func demandZeroFill(_ bytes: UnsafeRawBufferPointer, _ bits: Int) throws {
    guard bits & 7 == 0 || bytes[bytes.count - 1] >> UInt8(bits & 7) == 0 else {
      throw Problem(.corrupt, "plane \(name) has bits after its end")
    }
  }

  private var wrongLength: Problem {
    Problem(.corrupt, "plane \(name) has \(length) bytes, wrong for its integers")
  }

  private var name: String { "\(PlaneID.name(plane)).\(group)" }
}
