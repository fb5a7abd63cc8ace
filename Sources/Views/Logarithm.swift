/// Logarithms to base 2 in integers, for proportions that are drawn evenly on a logarithmic scale.

/// 65536 times the binary logarithm of `value` / 65536, within 2.
///
/// Each squaring of the mantissa gives one more bit.
/// - Precondition: value is in 1..<2^32.
package func binaryLogarithm(_ value: Int) -> Int {
  precondition(value >= 1 && value < 1 << 32, "the logarithm of \(value)")
  let exponent = value.bitWidth - 1 - value.leadingZeroBitCount
  // In 2^-30ths, from 1 to 2.
  var mantissa = exponent > 30 ? value >> (exponent - 30) : value << (30 - exponent)
  var result = (exponent - 16) << 16
  for bit in (0..<16).reversed() {
    mantissa = (mantissa * mantissa) >> 30
    if mantissa >= 1 << 31 {
      mantissa >>= 1
      result += 1 << bit
    }
  }
  return result
}

/// 65536 times 2 to the power of `exponent` / 65536, rounded.
///
/// - Precondition: exponent is in -2^19...2^19: 2^-8 to 2^8.
package func binaryPower(_ exponent: Int) -> Int {
  precondition(abs(exponent) <= 1 << 19, "2 to the power of \(exponent) / 65536")
  var power = 1 << 30
  for (index, root) in powers.enumerated() where (exponent >> (15 - index)) & 1 == 1 {
    power = (power * root + (1 << 29)) >> 30
  }
  let shift = 14 - (exponent >> 16)
  return (power + (1 << (shift - 1))) >> shift
}

/// `round(2^30 * 2^(2^-i))` for i from 1 to 16.
private let powers = [
  1_518_500_250, 1_276_901_417, 1_170_923_762, 1_121_280_436, 1_097_253_708, 1_085_434_106,
  1_079_572_136, 1_076_653_033, 1_075_196_443, 1_074_468_888, 1_074_105_294, 1_073_923_544,
  1_073_832_680, 1_073_787_251, 1_073_764_537, 1_073_753_181,
]
