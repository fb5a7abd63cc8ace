/// e^x for x <= 0, by operations that IEEE 754 fixes: the same bits on every machine, which a C
/// library's `exp` does not promise and stored tail ratios need.
///
/// - Accuracy: within 2e-14 relative on -700...0 (`RecordTests`); below -700 it stays e^-700,
///   which no sum with a term of 1 can tell from 0.
@inline(__always)
package func exactExp(_ x: Double) -> Double {
  let x = x < -700 ? -700 : x
  // Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits.
  let shifter = 6_755_399_441_055_744.0
  let shifted = x * 1.442_695_040_888_963_4 + shifter
  let n = shifted - shifter
  // ln 2 in two parts, the first short enough for n * part to be exact.
  let r = (x - n * 0.693_147_180_369_123_82) - n * 1.908_214_929_270_587_7e-10
  var p = 1.0 / 39_916_800
  p = p * r + 1.0 / 3_628_800
  p = p * r + 1.0 / 362_880
  p = p * r + 1.0 / 40_320
  p = p * r + 1.0 / 5_040
  p = p * r + 1.0 / 720
  p = p * r + 1.0 / 120
  p = p * r + 1.0 / 24
  p = p * r + 1.0 / 6
  p = p * r + 0.5
  p = p * r + 1
  p = p * r + 1
  let power = (shifted.bitPattern << 52) &+ (1.0).bitPattern
  return p * Double(bitPattern: power)
}

/// ln x for finite normal x > 0, by operations that IEEE 754 fixes.
///
/// - Accuracy: within 1e-14 absolute or relative, whichever is larger (`RecordTests`).
package func exactLog(_ x: Double) -> Double {
  precondition(x >= .leastNormalMagnitude && x.isFinite, "the logarithm of \(x) is not taken")
  // x = m * 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh((m - 1) / (m + 1)).
  let offset: UInt64 = 0x3FE6_A09E_667F_3BCD  // sqrt(1/2)
  let scaled = x.bitPattern &- offset
  let e = Double(Int64(bitPattern: scaled) >> 52)
  let m = Double(bitPattern: (scaled & 0x000F_FFFF_FFFF_FFFF) &+ offset)
  let s = (m - 1) / (m + 1)
  let square = s * s
  var p = 1.0 / 19
  for divisor in [17.0, 15, 13, 11, 9, 7, 5, 3] { p = p * square + 1 / divisor }
  let logarithm = 2 * s + 2 * s * square * p
  return (e * 0.693_147_180_369_123_82 + logarithm) + e * 1.908_214_929_270_587_7e-10
}

/// The square of e^x for x <= 0, as `exactExp(2 * x)`: below e^-700 it stays there, so that no number is
/// subnormal, which some libraries make 0.
///
/// - Accuracy: twice the relative error of its argument, and 2^-53.
@inline(__always)
private func squaredExp(_ power: SIMD8<Double>) -> SIMD8<Double> {
  let least = 9.929_590_396_264_98e-153  // e^-350
  let power = power.replacing(with: least, where: power .< least)
  return power * power
}

/// Sums in a fixed order that does not depend on the machine: eight lanes, then the rest one by one.
struct LaneSum {
  private var lanes = SIMD8<Double>()
  private var rest = 0.0

  /// Adds eight numbers, or only the first one.
  @inline(__always)
  private mutating func add(_ values: SIMD8<Double>, all: Bool) {
    if all { lanes += values } else { rest += values[0] }
  }

  private var total: Double {
    let four = lanes.lowHalf + lanes.highHalf
    let two = four.lowHalf + four.highHalf
    return (two[0] + two[1]) + rest
  }

  static func sum(_ values: UnsafeBufferPointer<Double>) -> Double {
    var sum = LaneSum()
    eachEight(values) { v, all in sum.add(v, all: all) }
    return sum.total
  }

  /// Sum of (scale * v - center)^2.
  static func squares(
    _ values: UnsafeBufferPointer<Double>, scale: Double = 1, center: Double
  ) -> Double {
    var squares = LaneSum()
    eachEight(values) { v, all in
      let d = scale * v - center
      squares.add(d * d, all: all)
    }
    return squares.total
  }

  /// What numbers are away from one center and from another, in one pass; d = scale * v - center.
  struct Deviations {
    /// Sum of |d|, and of d^2.
    var absolutes: Double
    var squares: Double
    /// Sum of (scale * v - mean)^2.
    var aroundMean: Double
  }

  static func deviations(
    _ values: UnsafeBufferPointer<Double>, scale: Double, center: Double, mean: Double
  ) -> Deviations {
    var (absolutes, squares, aroundMean) = (LaneSum(), LaneSum(), LaneSum())
    eachEight(values) { v, all in
      let scaled = scale * v
      let d = scaled - center
      let e = scaled - mean
      // Clearing the sign bit is |d| in one instruction a lane.
      let bits = unsafeBitCast(d, to: SIMD8<UInt64>.self) & 0x7FFF_FFFF_FFFF_FFFF
      absolutes.add(unsafeBitCast(bits, to: SIMD8<Double>.self), all: all)
      squares.add(d * d, all: all)
      aroundMean.add(e * e, all: all)
    }
    return Deviations(
      absolutes: absolutes.total, squares: squares.total, aroundMean: aroundMean.total)
  }

  /// Replaces every e^x by e^2x (x <= 0, not below e^-700) and returns the sum.
  static func squareExponentials(_ powers: UnsafeMutableBufferPointer<Double>) -> Double {
    var sum = LaneSum()
    let bytes = UnsafeMutableRawPointer(powers.baseAddress)
    var place = 0
    eachEight(UnsafeBufferPointer(powers)) { v, all in
      let square = squaredExp(v)
      sum.add(square, all: all)
      if all {
        bytes?.storeBytes(of: square, toByteOffset: place &* 8, as: SIMD8<Double>.self)
      } else {
        powers[place] = square[0]
      }
      place &+= all ? 8 : 1
    }
    return sum.total
  }

  /// Hands over eight numbers at a time, then the last ones, fewer than eight, each in all lanes.
  @inline(__always)
  private static func eachEight(
    _ values: UnsafeBufferPointer<Double>, _ body: (SIMD8<Double>, Bool) -> Void
  ) {
    let bytes = UnsafeRawPointer(values.baseAddress)
    var index = 0
    while index + 8 <= values.count, let bytes {
      body(bytes.loadUnaligned(fromByteOffset: index * 8, as: SIMD8<Double>.self), true)
      index += 8
    }
    while index < values.count {
      body(SIMD8<Double>(repeating: values[index]), false)
      index += 1
    }
  }
}
