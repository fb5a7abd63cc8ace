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

/// e^x for either sign, by the same operations; between e^-700 and e^700.
@inline(__always)
package func exactExpOfEitherSign(_ x: Double) -> Double {
  x <= 0 ? exactExp(x) : 1 / exactExp(-x)
}

/// e^x for x <= 0 in every lane, the same bits as of one number.
@inline(__always)
package func exactExp(_ x: SIMD8<Double>) -> SIMD8<Double> {
  let x = x.replacing(with: -700, where: x .< -700)
  let shifter = 6_755_399_441_055_744.0
  let shifted = x * 1.442_695_040_888_963_4 + shifter
  let n = shifted - shifter
  let r = (x - n * 0.693_147_180_369_123_82) - n * 1.908_214_929_270_587_7e-10
  var p = SIMD8<Double>(repeating: 1.0 / 39_916_800)
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
  let power = unsafeBitCast(shifted, to: SIMD8<UInt64>.self) &<< 52 &+ (1.0).bitPattern
  return p * unsafeBitCast(power, to: SIMD8<Double>.self)
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

/// Sums in a fixed order that does not depend on the machine: eight lanes, then the rest.
enum LaneSum {
  /// The last values, fewer than eight, are added one by one after the lanes.
  static func sum(_ values: UnsafeBufferPointer<Double>) -> Double {
    var lanes = SIMD8<Double>()
    let bytes = UnsafeRawPointer(values.baseAddress)
    var index = 0
    while index + 8 <= values.count, let bytes {
      lanes += bytes.loadUnaligned(fromByteOffset: index * 8, as: SIMD8<Double>.self)
      index += 8
    }
    var rest = 0.0
    while index < values.count {
      rest += values[index]
      index += 1
    }
    return joined(lanes, rest)
  }

  /// Sums of (v - center)^2 for two centers, in one pass.
  static func squares(
    _ values: UnsafeBufferPointer<Double>, around centers: (Double, Double)
  ) -> (Double, Double) {
    var (first, second) = (SIMD8<Double>(), SIMD8<Double>())
    let bytes = UnsafeRawPointer(values.baseAddress)
    var index = 0
    while index + 8 <= values.count, let bytes {
      let v = bytes.loadUnaligned(fromByteOffset: index * 8, as: SIMD8<Double>.self)
      let (a, b) = (v - centers.0, v - centers.1)
      first += a * a
      second += b * b
      index += 8
    }
    var rest = (0.0, 0.0)
    while index < values.count {
      let (a, b) = (values[index] - centers.0, values[index] - centers.1)
      rest.0 += a * a
      rest.1 += b * b
      index += 1
    }
    return (joined(first, rest.0), joined(second, rest.1))
  }

  /// Writes e^(scale * v) for every v, none above 0, and returns the sum.
  static func exponentials(
    of values: UnsafeBufferPointer<Double>, scale: Double,
    in powers: UnsafeMutableBufferPointer<Double>
  ) -> Double {
    precondition(values.count == powers.count, "\(values.count) values, \(powers.count) powers")
    var lanes = SIMD8<Double>()
    let source = UnsafeRawPointer(values.baseAddress)
    let target = UnsafeMutableRawPointer(powers.baseAddress)
    var index = 0
    while index + 8 <= values.count, let source, let target {
      let v = source.loadUnaligned(fromByteOffset: index * 8, as: SIMD8<Double>.self)
      let power = exactExp(v * scale)
      target.storeBytes(of: power, toByteOffset: index * 8, as: SIMD8<Double>.self)
      lanes += power
      index += 8
    }
    var rest = 0.0
    while index < values.count {
      powers[index] = exactExp(values[index] * scale)
      rest += powers[index]
      index += 1
    }
    return joined(lanes, rest)
  }

  /// Replaces every e^x by e^2x (x <= 0, not below e^-700) and returns the sum.
  static func squareExponentials(_ powers: UnsafeMutableBufferPointer<Double>) -> Double {
    var lanes = SIMD8<Double>()
    let bytes = UnsafeMutableRawPointer(powers.baseAddress)
    var index = 0
    while index + 8 <= powers.count, let bytes {
      let v = bytes.loadUnaligned(fromByteOffset: index * 8, as: SIMD8<Double>.self)
      let square = squaredExp(v)
      bytes.storeBytes(of: square, toByteOffset: index * 8, as: SIMD8<Double>.self)
      lanes += square
      index += 8
    }
    var rest = 0.0
    while index < powers.count {
      powers[index] = squaredExp(SIMD8<Double>(repeating: powers[index]))[0]
      rest += powers[index]
      index += 1
    }
    return joined(lanes, rest)
  }

  /// How far values are from the one that is stored for them all, and from a mean.
  struct Distances {
    /// Sum of |scale * v - stored|.
    var absolute = 0.0
    /// Sum of (scale * v - stored)^2.
    var squared = 0.0
    /// Sum of (scale * v - mean)^2.
    var variance = 0.0
  }

  /// All three sums in one pass: a long tail is read from the second-level cache, and three chains of
  /// additions take the time of one.
  static func distances(
    _ values: UnsafeBufferPointer<Double>, scale: Double, stored: Double, mean: Double
  ) -> Distances {
    var absolute = SIMD8<Double>()
    var squared = SIMD8<Double>()
    var variance = SIMD8<Double>()
    let bytes = UnsafeRawPointer(values.baseAddress)
    var index = 0
    while index + 8 <= values.count, let bytes {
      let v = bytes.loadUnaligned(fromByteOffset: index * 8, as: SIMD8<Double>.self)
      let (d, m) = (scale * v - stored, scale * v - mean)
      // Clearing the sign bit is |d| in one instruction a lane.
      let bits = unsafeBitCast(d, to: SIMD8<UInt64>.self) & 0x7FFF_FFFF_FFFF_FFFF
      absolute += unsafeBitCast(bits, to: SIMD8<Double>.self)
      squared += d * d
      variance += m * m
      index += 8
    }
    var rest = Distances()
    while index < values.count {
      let (d, m) = (scale * values[index] - stored, scale * values[index] - mean)
      rest.absolute += abs(d)
      rest.squared += d * d
      rest.variance += m * m
      index += 1
    }
    return Distances(
      absolute: joined(absolute, rest.absolute), squared: joined(squared, rest.squared),
      variance: joined(variance, rest.variance))
  }

  /// Lanes in a fixed order, then what was left.
  @inline(__always)
  private static func joined(_ lanes: SIMD8<Double>, _ rest: Double) -> Double {
    let four = lanes.lowHalf + lanes.highHalf
    let two = four.lowHalf + four.highHalf
    return (two[0] + two[1]) + rest
  }
}
