/// The student's classes outside a small set.
struct OutsideSum {
  /// The largest logit among them; -infinity when there is none.
  var maximum: Float
  /// The sum of exp((s - maximum) * scale) over them: in 1...C, or 0 when there is none.
  var sum: Double
}

/// Writes exp((s - maximum) * scale) for the classes outside `excluded` and 0 for those in it.
///
/// The maximum is that of the classes outside, so their sum keeps its precision however far they
/// lie below the excluded ones: no difference of sums is ever taken.
func exponentialsOutside(
  _ excludedIDs: UnsafePointer<Int32>, excluded: Int, of row: Row, scale: Float, count: Int,
  into numerators: MutableRow
) -> OutsideSum {
  numerators.update(from: row, count: count)
  for j in 0..<excluded { numerators[Int(excludedIDs[j])] = -.infinity }
  guard excluded < count else {
    numerators.update(repeating: 0, count: count)
    return OutsideSum(maximum: -.infinity, sum: 0)
  }
  let highest = maximum(numerators, count: count)
  return OutsideSum(
    maximum: highest,
    sum: exponentials(inPlace: numerators, maximum: highest, scale: scale, count: count))
}
