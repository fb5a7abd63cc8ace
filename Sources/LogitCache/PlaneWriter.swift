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
    var (form, bits) = (PlaneForm.buckets, bucketBits(values))
    for other in [PlaneForm.bits1, .bits2, .bits4] {
      let otherBits = packedBits(values, other)
      if otherBits < bits { (form, bits) = (other, otherBits) }
    }
    let width = 32 - largest(values).leadingZeroBitCount
    if width * values.count < bits {
      (form, bits) = (.plain, width * values.count)
    }
    let pieces =
      switch form {
      case .buckets: buckets(values)
      case .plain: [plain(values, width: width)]
      case .bits1, .bits2, .bits4: packed(values, form)
      }
    return WrittenPlane(
      form: form, width: form == .plain ? UInt8(width) : 0, pieces: pieces, bits: bits)
  }

  private static func largest(_ values: UnsafeBufferPointer<UInt32>) -> UInt32 {
    var largest: UInt32 = 0
    for index in 0..<values.count { largest = max(largest, values[index]) }
    return largest
  }

  /// What `buckets` would take.
  private static func bucketBits(_ values: UnsafeBufferPointer<UInt32>) -> Int {
    var histogram = [Int](repeating: 0, count: Bucket.count)
    histogram.withUnsafeMutableBufferPointer { histogram in
      for index in 0..<values.count { histogram[Int(Bucket.index(of: values[index]))] &+= 1 }
    }
    return bucketBits(histogram)
  }

  private static func bucketBits(_ histogram: [Int]) -> Int {
    var bits = prefixCodeBits(histogram)
    for bucket in 16..<Bucket.count {
      bits += histogram[bucket] * Int(Bucket.width(UInt8(bucket)))
    }
    return bits
  }

  /// What `packed` would take.
  private static func packedBits(
    _ values: UnsafeBufferPointer<UInt32>, _ form: PlaneForm
  ) -> Int {
    var codes = [Int](repeating: 0, count: 256)
    // The last one counts what is no escape.
    var escapes = [Int](repeating: 0, count: Bucket.count + 1)
    codes.withUnsafeMutableBufferPointer { codes in
      escapes.withUnsafeMutableBufferPointer { escapes in
        forEachCode(values, form) { byte, _ in codes[Int(byte)] &+= 1 }
        let escape = form.escape
        for index in 0..<values.count {
          let value = values[index]
          let bucket = Int(Bucket.index(of: value &- escape))
          escapes[value >= escape ? bucket : Bucket.count] &+= 1
        }
      }
    }
    return prefixCodeBits(codes) + bucketBits(Array(escapes[..<Bucket.count]))
  }

  private static func buckets(_ values: UnsafeBufferPointer<UInt32>) -> [[UInt8]] {
    var rest = BitWriter()
    let names = [UInt8](unsafeUninitializedCapacity: values.count) { names, count in
      for index in 0..<values.count {
        let bucket = Bucket.index(of: values[index])
        names[index] = bucket
        let width = Bucket.width(bucket)
        rest.append(values[index] & (1 &<< width &- 1), width: width)
      }
      count = values.count
    }
    return [names, rest.finish()]
  }

  private static func packed(
    _ values: UnsafeBufferPointer<UInt32>, _ form: PlaneForm
  ) -> [[UInt8]] {
    let perByte = 8 / Int(form.rawValue)
    let length = (values.count + perByte - 1) / perByte
    let codes = [UInt8](unsafeUninitializedCapacity: length) { codes, count in
      forEachCode(values, form) { byte, place in codes[place] = byte }
      count = length
    }
    let escape = form.escape
    let escapes = values.filter { $0 >= escape }.map { $0 - escape }
    return [codes] + escapes.withUnsafeBufferPointer(buckets)
  }

  /// Visits the bytes of codes with their places.
  @inline(__always)
  private static func forEachCode(
    _ values: UnsafeBufferPointer<UInt32>, _ form: PlaneForm, _ body: (UInt8, Int) -> Void
  ) {
    switch form {
    case .bits1: forEachCode(values, width: 1, body)
    case .bits2: forEachCode(values, width: 2, body)
    default: forEachCode(values, width: 4, body)
    }
  }

  @inline(__always)
  private static func forEachCode(
    _ values: UnsafeBufferPointer<UInt32>, width: Int, _ body: (UInt8, Int) -> Void
  ) {
    let perByte = 8 / width
    let escape = UInt32(1) << UInt32(width) - 1
    let whole = values.count / perByte
    for place in 0..<whole {
      var byte: UInt32 = 0
      for code in 0..<perByte {
        let value = min(values[place &* perByte &+ code], escape)
        byte |= value &<< UInt32(truncatingIfNeeded: code &* width)
      }
      body(UInt8(truncatingIfNeeded: byte), place)
    }
    if whole * perByte == values.count { return }
    var byte: UInt32 = 0
    for index in whole * perByte..<values.count {
      let shift = UInt32(truncatingIfNeeded: (index &- whole &* perByte) &* width)
      byte |= min(values[index], escape) &<< shift
    }
    body(UInt8(truncatingIfNeeded: byte), whole)
  }

  private static func plain(
    _ values: UnsafeBufferPointer<UInt32>, width: Int
  ) -> [UInt8] {
    var writer = BitWriter()
    for value in values { writer.append(value, width: UInt32(width)) }
    return writer.finish()
  }
}
