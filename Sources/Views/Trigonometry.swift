/// Sine and cosine of an angle by CORDIC: shifts and additions, the same bits everywhere.
///
/// - Parameter turns: the angle in 2^-32 turns, from -2^31 to 2^31.
/// - Returns: 2^30 times sine and cosine, within 20 of the true values (`TrigonometryTests`).
/// - Source: Volder 1959, "The CORDIC trigonometric computing technique".
package func sineAndCosine(turns: Int) -> (sine: Int, cosine: Int) {
  precondition(abs(turns) <= 1 << 31, "an angle of \(turns) / 2^32 turns")
  var angle = turns
  let turned = abs(angle) > 1 << 30
  if turned { angle += angle > 0 ? -(1 << 31) : 1 << 31 }
  var (x, y) = (cordicStart, 0)
  for (step, arc) in cordicArcs.enumerated() {
    if angle >= 0 {
      (x, y, angle) = (x - (y >> step), y + (x >> step), angle - arc)
    } else {
      (x, y, angle) = (x + (y >> step), y - (x >> step), angle + arc)
    }
  }
  return turned ? (-y, -x) : (y, x)
}

/// 2^30 times the product of 1 / sqrt(1 + 4^-i) for i in 0..<30, rounded.
private let cordicStart = 652_032_874

/// 2^32 times atan(2^-i) / (2 pi) for i in 0..<30, rounded.
private let cordicArcs: [Int] = [
  536_870_912, 316_933_406, 167_458_907, 85_004_756, 42_667_331, 21_354_465, 10_679_838, 5_340_245,
  2_670_163, 1_335_087, 667_544, 333_772, 166_886, 83_443, 41_722, 20_861, 10_430, 5_215, 2_608,
  1_304, 652, 326, 163, 81, 41, 20, 10, 5, 3, 1,
]

/// The largest integer whose square is at most `value`.
///
/// - Precondition: 0 <= value <= 2^62.
package func integerSquareRoot(_ value: Int) -> Int {
  precondition(value >= 0 && value <= 1 << 62, "the square root of \(value)")
  // One bit of the root at a time, from the top; no floating point.
  var (rest, root, bit) = (value, 0, 1 << 62)
  while bit > value { bit >>= 2 }
  while bit != 0 {
    if rest >= root + bit {
      rest -= root + bit
      root = (root >> 1) + bit
    } else {
      root >>= 1
    }
    bit >>= 2
  }
  return root
}
