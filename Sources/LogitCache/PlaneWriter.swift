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
struct WrittenPlane {
  let form: PlaneForm
  /// Bits of an integer in form `plain`; 0 in others.
  let width: UInt8
  let pieces: [[UInt8]]
  /// Bits that an optimal prefix code for the bytes of every piece takes; bits of `plain` and left-over bits
  /// count as they are.
  let bits: Int

  /// The form with the fewest bits; the lowest stored number among equals.
  static func smallest(_ values: UnsafeBufferPointer<UInt32>) -> WrittenPlane {
    var best = buckets(values)
    for form in [PlaneForm.bits1, .bits2, .bits4] {
      let other = packed(values, form)
      if other.bits < best.bits { best = other }
    }
    let width = 32 - (values.max() ?? 0).leadingZeroBitCount
    return width * values.count < best.bits ? plain(values, width: width) : best
  }

  private static func buckets(_ values: UnsafeBufferPointer<UInt32>) -> WrittenPlane {
    var rest = BitWriter()
    var bits = 0
    var histogram = [Int](repeating: 0, count: Bucket.count)
    let names = [UInt8](unsafeUninitializedCapacity: values.count) { names, count in
      for index in 0..<values.count {
        let bucket = Bucket.index(of: values[index])
        names[index] = bucket
        histogram[Int(bucket)] &+= 1
        guard bucket >= 16 else { continue }
        let width = Bucket.width(bucket)
        rest.append(values[index] & (1 &<< width &- 1), width: width)
        bits &+= Int(width)
      }
      count = values.count
    }
    return WrittenPlane(
      form: .buckets, width: 0, pieces: [names, rest.finish()],
      bits: bits + prefixCodeBits(histogram))
  }

  private static func packed(
    _ values: UnsafeBufferPointer<UInt32>, _ form: PlaneForm
  ) -> WrittenPlane {
    let width = Int(form.rawValue)
    let escape = UInt32(1) << UInt32(width) - 1
    let perByte = 8 / width
    var escapes: [UInt32] = []
    var histogram = [Int](repeating: 0, count: 256)
    let length = (values.count + perByte - 1) / perByte
    let codes = [UInt8](unsafeUninitializedCapacity: length) { codes, count in
      var index = 0
      for place in 0..<length {
        var byte: UInt32 = 0
        for shift in 0..<min(perByte, values.count &- index) {
          let value = values[index &+ shift]
          if value >= escape { escapes.append(value &- escape) }
          byte |= min(value, escape) &<< UInt32(truncatingIfNeeded: shift &* width)
        }
        index &+= perByte
        codes[place] = UInt8(truncatingIfNeeded: byte)
        histogram[Int(byte)] &+= 1
      }
      count = length
    }
    let rest = escapes.withUnsafeBufferPointer(buckets)
    return WrittenPlane(
      form: form, width: 0, pieces: [codes] + rest.pieces,
      bits: prefixCodeBits(histogram) + rest.bits)
  }

  private static func plain(
    _ values: UnsafeBufferPointer<UInt32>, width: Int
  ) -> WrittenPlane {
    var writer = BitWriter()
    for value in values { writer.append(value, width: UInt32(width)) }
    return WrittenPlane(
      form: .plain, width: UInt8(width), pieces: [writer.finish()], bits: width * values.count)
  }
}
