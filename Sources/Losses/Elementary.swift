// Our own exp and log: plain arithmetic, so loops over them vectorise and every x86-64 CPU gives
// the same bits (the C library picks other code on CPUs with fused multiply-add).

/// e to the power `x`.
///
/// - Parameter x: at most 88; below -87 the result is exactly 0, so it is never subnormal.
///   NaN gives NaN.
/// - Accuracy: relative error below 2e-7 for -87 <= x <= 88 (`ElementaryTests`).
/// - Source: argument reduction by Cody and Waite; polynomial of the Cephes library, `expf`.
@inline(__always)
package func exponential(_ x: Float) -> Float {
  // Adding 1.5 * 2^23 rounds to an integer and leaves that integer in the low mantissa bits.
  let shifted = x * 1.442_695_04 + 12_582_912
  let n = shifted - 12_582_912
  let r = (x - n * 0.693_359_375) - n * -2.121_944_4e-4
  var p: Float = 1.987_569_15e-4
  p = p * r + 1.398_199_95e-3
  p = p * r + 8.333_451_9e-3
  p = p * r + 4.166_579_6e-2
  p = p * r + 1.666_666_55e-1
  p = p * r + 5.000_000_1e-1
  let mantissa = (p * (r * r) + r) + 1
  let power = Float(bitPattern: (shifted.bitPattern &<< 23) &+ 0x3F80_0000)
  return x < -87 ? 0 : mantissa * power
}

/// e to the power `x`, in double precision: for the O(k) teacher side and one value per row.
///
/// - Parameter x: at most 709; below -708 the result is exactly 0. NaN gives NaN.
/// - Accuracy: relative error below 1e-15 for -708 <= x <= 709 (`ElementaryTests`).
@inline(__always)
package func exponential(_ x: Double) -> Double {
  let shifted = x * 1.442_695_040_888_963_4 + 6_755_399_441_055_744
  let n = shifted - 6_755_399_441_055_744
  let r = (x - n * 0.693_147_180_369_123_816_490) - n * 1.908_214_929_270_587_700_02e-10
  // Taylor series to r^13, in pairs (Estrin) to keep the chain of dependent operations short; at
  // |r| <= 0.35 the first term left out is below 5e-18.
  let r2 = r * r
  let r4 = r2 * r2
  let low = (1.0 / 2 + r * (1.0 / 6)) + r2 * (1.0 / 24 + r * (1.0 / 120))
  let middle = (1.0 / 720 + r * (1.0 / 5_040)) + r2 * (1.0 / 40_320 + r * (1.0 / 362_880))
  let high =
    (1.0 / 3_628_800 + r * (1.0 / 39_916_800))
    + r2 * (1.0 / 479_001_600 + r * (1.0 / 6_227_020_800))
  let p = low + r4 * (middle + r4 * high)
  let mantissa = (p * r2 + r) + 1
  let power = Double(bitPattern: (shifted.bitPattern &<< 52) &+ 0x3FF0_0000_0000_0000)
  return x < -708 ? 0 : mantissa * power
}

/// The natural logarithm of `x`.
///
/// - Parameter x: positive, finite and not subnormal; for 0 the result is a large negative number.
/// - Accuracy: relative error below 4e-16 away from 1, absolute below 2e-16 near 1
///   (`ElementaryTests`).
@inline(__always)
package func logarithm(_ x: Double) -> Double {
  let bits = x.bitPattern
  // The biased exponent as a Double, by the mantissa of 2^52.
  let exponent = Double(bitPattern: (bits &>> 52) | 0x4330_0000_0000_0000) - 4_503_599_627_370_496
  let unit = Double(bitPattern: (bits & 0x000F_FFFF_FFFF_FFFF) | 0x3FF0_0000_0000_0000)
  let large = unit > 1.414_213_562_373_095_1
  let m = large ? unit * 0.5 : unit
  let e = exponent - (large ? 1_022 : 1_023)
  // log m = 2 artanh s; at |s| <= 0.172 the first term left out is below 1e-17.
  let s = (m - 1) / (m + 1)
  let z = s * s
  let z2 = z * z
  let z4 = z2 * z2
  let low = (1.0 / 3 + z * (1.0 / 5)) + z2 * (1.0 / 7 + z * (1.0 / 9))
  let middle = (1.0 / 11 + z * (1.0 / 13)) + z2 * (1.0 / 15 + z * (1.0 / 17))
  let high = 1.0 / 19 + z * (1.0 / 21)
  let p = low + z4 * (middle + z4 * high)
  let series = 2 * s + 2 * s * (z * p)
  return e * 0.693_147_180_369_123_816_490 + (series + e * 1.908_214_929_270_587_700_02e-10)
}

/// log(1 + x) for x >= 0, accurate also when x is tiny.
@inline(__always)
package func logarithmOnePlus(_ x: Double) -> Double {
  let u = 1 + x
  return logarithm(u) + (x - (u - 1)) / u
}

/// log(exp a + exp b); either may be -infinity.
@inline(__always)
package func logSumExp(_ a: Double, _ b: Double) -> Double {
  let high = max(a, b)
  if high == -Double.infinity { return high }
  return high + logarithmOnePlus(exponential(min(a, b) - high))
}
