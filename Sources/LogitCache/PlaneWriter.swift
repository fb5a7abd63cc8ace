import Basics

/// Collects the planes of a block: their directory, their bytes, and where a zstd block should start.
struct PlaneWriter {
  private(set) var directory = ByteWriter()
  private(set) var bytes: [UInt8] = []
  /// Length and plane of each piece that gets a zstd block of its own.
  private(set) var pieces: [(plane: UInt8, length: Int)] = []

  /// Appends integers in the form that takes the fewest bits.
  mutating func append(_ plane: UInt8, group: Int = 0, _ values: UnsafeBufferPointer<UInt32>) {
    write(plane, group, values, base: nil)
  }

  /// Appends integers.
  mutating func append(_ plane: UInt8, group: Int = 0, _ values: [UInt32]) {
    values.withUnsafeBufferPointer { append(plane, group: group, $0) }
  }

  /// Appends integers as the smallest of them, then what each has more.
  mutating func appendFromSmallest(_ plane: UInt8, _ values: [Int32]) {
    let smallest = values.min() ?? 0
    let rest = values.map { UInt32(bitPattern: $0 &- smallest) }
    rest.withUnsafeBufferPointer { write(plane, 0, $0, base: smallest) }
  }

  private mutating func write(
    _ plane: UInt8, _ group: Int, _ values: UnsafeBufferPointer<UInt32>, base: Int32?
  ) {
    let start = bytes.count
    if let base {
      withUnsafeBytes(of: base.littleEndian) { bytes.append(contentsOf: $0) }
      note(plane, 4)
    }
    let written = WrittenPlane.smallest(values)
    for piece in written.pieces {
      bytes.append(contentsOf: piece)
      note(plane, piece.count)
    }
    directory.append(plane)
    directory.append(UInt8(group))
    directory.append(written.form.rawValue)
    directory.append(written.width)
    directory.append(UInt32(bytes.count - start))
  }

  private mutating func note(_ plane: UInt8, _ length: Int) {
    if length > 0 { pieces.append((plane, length)) }
  }
}

/// A list of integers in one form: pieces of bytes, each with statistics of its own.
package struct WrittenPlane {
  package let form: PlaneForm
  /// Bits of an integer in form `plain`; 0 in others.
  package let width: UInt8
  package let pieces: [[UInt8]]
  /// Bits that an optimal prefix code for the bytes of every piece takes; bits of `plain` and left-over bits
  /// count as they are.
  package let bits: Int

  /// The form with the fewest bits; the lowest stored number among equals.
  package static func smallest(_ values: UnsafeBufferPointer<UInt32>) -> WrittenPlane {
    let buckets = Buckets(values)
    var (form, bits) = (PlaneForm.buckets, buckets.bits)
    var packed: (codes: [UInt8], escapes: [UInt32], buckets: Buckets)?
    let small = smallBytes(values)
    var (escapes, subtracted) = ([UInt32](), UInt32(0))
    for other in [PlaneForm.bits1, .bits2, .bits4] {
      // What escapes a form escapes those before it.
      let more = other.escape - subtracted
      escapes =
        subtracted == 0
        ? excess(values, over: more) : escapes.withUnsafeBufferPointer { excess($0, over: more) }
      subtracted = other.escape
      let codes = codes(small, other, count: values.count)
      let histogram = ByteHistogram(codes)
      let rest = escapes.withUnsafeBufferPointer { Buckets($0) }
      // Most forms are out before their codes are.
      if histogram.leastPrefixCodeBits + rest.leastBits >= bits { continue }
      let otherBits = histogram.prefixCodeBits + rest.bits
      if otherBits < bits {
        (form, bits) = (other, otherBits)
        packed = (codes, escapes, rest)
      }
    }
    let width = 32 - largest(values).leadingZeroBitCount
    if width * values.count < bits {
      (form, bits) = (.plain, width * values.count)
    }
    let pieces: [[UInt8]] =
      switch (form, packed) {
      case (.plain, _): [packBits(count: values.count, bits: bits) { (values[$0], width) }]
      case (_, let packed?):
        [packed.codes] + packed.escapes.withUnsafeBufferPointer { packed.buckets.pieces(of: $0) }
      default: buckets.pieces(of: values)
      }
    return WrittenPlane(
      form: form, width: form == .plain ? UInt8(width) : 0, pieces: pieces, bits: bits)
  }

  private static func largest(_ values: UnsafeBufferPointer<UInt32>) -> UInt32 {
    var largest: UInt32 = 0
    for index in 0..<values.count { largest = max(largest, values[index]) }
    return largest
  }

  /// What the integers from `limit` on have more than it.
  private static func excess(
    _ values: UnsafeBufferPointer<UInt32>, over limit: UInt32
  ) -> [UInt32] {
    [UInt32](unsafeUninitializedCapacity: values.count) { excess, count in
      // Every one is written and only those from `limit` on are kept: no branch that could not be predicted.
      for value in values {
        excess[count] = value &- limit
        count &+= Int(truncatingIfNeeded: (UInt64(limit) &- 1 &- UInt64(value)) &>> 63)
      }
    }
  }

  /// Integers as bytes, 15 for all above, and zeros up to a multiple of 8.
  private static func smallBytes(_ values: UnsafeBufferPointer<UInt32>) -> [UInt8] {
    let length = (values.count + 7) / 8 * 8
    return [UInt8](unsafeUninitializedCapacity: length) { bytes, count in
      for index in 0..<values.count {
        bytes[index] = UInt8(truncatingIfNeeded: min(values[index], 15))
      }
      for index in values.count..<length { bytes[index] = 0 }
      count = length
    }
  }

  /// Packs codes, of integers that `smallBytes` made.
  private static func codes(_ small: [UInt8], _ form: PlaneForm, count: Int) -> [UInt8] {
    switch form {
    case .bits1:
      pack(small, width: 1, count: count) { word in
        // A bit for each byte that is not 0; the product collects them in the highest byte.
        let bits = (word | word &>> 1 | word &>> 2 | word &>> 3) & 0x0101_0101_0101_0101
        return (bits &* 0x0102_0408_1020_4080) &>> 56
      }
    case .bits2:
      pack(small, width: 2, count: count) { word in
        let isLarge = (word &>> 2 | word &>> 3) & 0x0101_0101_0101_0101
        var codes = (word | isLarge &* 3) & 0x0303_0303_0303_0303
        codes = (codes | codes &>> 6) & 0x000F_000F_000F_000F
        codes = (codes | codes &>> 12) & 0x0000_00FF_0000_00FF
        return codes | codes &>> 24
      }
    default:
      pack(small, width: 4, count: count) { word in
        var codes = (word | word &>> 4) & 0x00FF_00FF_00FF_00FF
        codes = (codes | codes &>> 8) & 0x0000_FFFF_0000_FFFF
        codes = (codes | codes &>> 16)
        return codes
      }
    }
  }

  /// Eight codes at a time; `squeeze` leaves them in the lowest bits of a word.
  @inline(__always)
  private static func pack(
    _ small: [UInt8], width: Int, count: Int, _ squeeze: (UInt64) -> UInt64
  ) -> [UInt8] {
    let length = (count * width + 7) / 8
    return [UInt8](unsafeUninitializedCapacity: length + 8) { codes, initialized in
      let target = UnsafeMutableRawBufferPointer(codes)
      small.withUnsafeBytes { small in
        for start in stride(from: 0, to: small.count, by: 8) {
          let word = UInt64(
            littleEndian: small.loadUnaligned(fromByteOffset: start, as: UInt64.self))
          target.storeBytes(
            of: squeeze(word).littleEndian, toByteOffset: start / 8 &* width, as: UInt64.self)
        }
      }
      initialized = length
    }
  }
}

/// A list of integers in form `buckets`, priced.
private struct Buckets {
  /// The bucket of every integer.
  private let names: [UInt8]
  private let histogram: ByteHistogram
  /// Left over from the buckets.
  private let restBits: Int

  init(_ values: UnsafeBufferPointer<UInt32>) {
    names = [UInt8](unsafeUninitializedCapacity: values.count) { names, count in
      for index in 0..<values.count { names[index] = Bucket.index(of: values[index]) }
      count = values.count
    }
    let histogram = ByteHistogram(names)
    restBits = (16..<Bucket.count).reduce(0) {
      $0 + Int(histogram.counts[$1]) * Int(Bucket.width(UInt8($1)))
    }
    self.histogram = histogram
  }

  var bits: Int { histogram.prefixCodeBits + restBits }

  /// At most `bits`.
  var leastBits: Int { histogram.leastPrefixCodeBits + restBits }

  /// - Parameter values: the same integers.
  func pieces(of values: UnsafeBufferPointer<UInt32>) -> [[UInt8]] {
    let rest = packBits(count: values.count, bits: restBits) { index in
      // Bucket.width without a branch.
      let name = names[index]
      let width = name >= 16 ? Int(name &>> 2) &- 2 : 0
      return (values[index] & (1 &<< UInt32(truncatingIfNeeded: width) &- 1), width)
    }
    return [names, rest]
  }
}

/// Bits of integers, each with a width of its own, 0...32; the low ones first.
///
/// - Parameter bits: the sum of the widths.
@inline(__always)
private func packBits(
  count: Int, bits: Int, _ integer: (Int) -> (value: UInt32, width: Int)
) -> [UInt8] {
  let length = (bits + 7) / 8
  return [UInt8](unsafeUninitializedCapacity: length + 8) { bytes, initialized in
    let target = UnsafeMutableRawBufferPointer(bytes)
    var (pending, place) = (UInt64(0), 0)
    for index in 0..<count {
      let (value, width) = integer(index)
      pending |= UInt64(value) &<< UInt64(truncatingIfNeeded: place & 7)
      // Whole words, again and again: the last one that covers a byte is the right one.
      target.storeBytes(of: pending.littleEndian, toByteOffset: place &>> 3, as: UInt64.self)
      let next = place &+ width
      pending &>>= UInt64(truncatingIfNeeded: 8 &* (next &>> 3 &- place &>> 3))
      place = next
    }
    initialized = length
  }
}
