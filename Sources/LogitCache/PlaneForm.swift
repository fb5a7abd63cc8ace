import Basics

/// How a list of integers is written (docs/FORMAT.md, "Forms").
///
/// Raw values are stored numbers: the number of bits of a code, 0 for buckets.
package enum PlaneForm: UInt8, CaseIterable {
  /// A byte for each integer that names its bucket, then the bits that tell it from its neighbours.
  case buckets = 0
  /// Eight codes to a byte; the largest code, 1, means "in the escapes".
  case bits1 = 1
  /// Four codes to a byte; 3 means "in the escapes".
  case bits2 = 2
  /// Two codes to a byte; 15 means "in the escapes".
  case bits4 = 4
  /// All integers in as many bits as the largest one needs: the worst case.
  case plain = 16

  /// The largest code of a packed form.
  var escape: UInt32 { 1 << UInt32(rawValue) - 1 }
}

/// Buckets: 0...15 have one each, then four to an octave, up to 2^32 - 1 in bucket 127.
package enum Bucket {
  static let count = 128

  /// The bucket of an integer.
  @inline(__always)
  package static func index(of value: UInt32) -> UInt8 {
    // Exponent and first two bits of a float. Clearing bits below the first eight keeps it from being rounded up
    // across a bucket. Both are computed, so that there is no branch and loops are vectorised.
    let float = Float(value & ~(value &>> 8)).bitPattern &>> 21
    return UInt8(truncatingIfNeeded: value < 16 ? value : float &- 508)
  }

  /// Bits that are left of an integer in a bucket.
  @inline(__always)
  static func width(_ bucket: UInt8) -> UInt32 {
    bucket < 16 ? 0 : UInt32(bucket) / 4 - 2
  }

  /// The first integer of a bucket.
  @inline(__always)
  static func base(_ bucket: UInt8) -> UInt32 {
    bucket < 16 ? UInt32(bucket) : (4 + UInt32(bucket) & 3) << width(bucket)
  }

  /// `width` of every bucket, for decoding.
  static let widths: [UInt8] = (0..<UInt8(count)).map { UInt8(width($0)) }
  /// `base` of every bucket.
  static let bases: [UInt32] = (0..<UInt8(count)).map { base($0) }
}

/// Maps small integers of either sign to small non-negative ones: 0, -1, 1, -2 -> 0, 1, 2, 3.
@inline(__always)
func zigzag(_ value: Int32) -> UInt32 { UInt32(bitPattern: (value << 1) ^ (value >> 31)) }

/// The inverse of `zigzag`.
@inline(__always)
func unzigzag(_ value: UInt32) -> Int32 {
  Int32(bitPattern: value >> 1) ^ -Int32(bitPattern: value & 1)
}

/// Appends bits to bytes, low bits first.
struct BitWriter {
  private var bytes: [UInt8] = []
  private var pending: UInt64 = 0
  private var filled: UInt64 = 0

  /// Appends the low `width` bits of `value`, 0...32; the others must be 0.
  @inline(__always)
  mutating func append(_ value: UInt32, width: UInt32) {
    pending |= UInt64(value) &<< filled
    filled &+= UInt64(width)
    if filled >= 32 {
      withUnsafeBytes(of: UInt32(truncatingIfNeeded: pending).littleEndian) {
        bytes.append(contentsOf: $0)
      }
      pending &>>= 32
      filled &-= 32
    }
  }

  /// Fills the last byte with 0 bits.
  mutating func finish() -> [UInt8] {
    while filled > 0 {
      bytes.append(UInt8(truncatingIfNeeded: pending))
      pending >>= 8
      filled -= min(filled, 8)
    }
    return bytes
  }
}
