/// The student's classes outside a small set.
struct OutsideSum {
  /// What their logits are relative to; -infinity when there is no class outside.
  var reference: Float
  /// The sum of exp((s - reference) * scale) over them: in 1e-6...C, or 0 when there is none.
  var sum: Double
}

/// Writes exp((s - reference) * scale) for the classes outside `excluded` and 0 for those in it.
///
/// No difference of sums is ever taken: the excluded entries are set to 0 before summing. The
/// reference is the row's maximum; where the classes outside lie so far below it that their sum
/// would lose digits, it is their own maximum.
///
/// - Parameter maximum: the row's largest logit.
func exponentialsOutside(
  _ excludedIDs: UnsafePointer<Int32>, excluded: Int, of row: Row, maximum: Float, scale: Float,
  count: Int, into numerators: MutableRow
) -> OutsideSum {
  guard excluded < count else {
    numerators.update(repeating: 0, count: count)
    return OutsideSum(reference: -.infinity, sum: 0)
  }
  writeExponentials(row, maximum: maximum, scale: scale, count: count, into: numerators)
  for j in 0..<excluded { numerators[Int(excludedIDs[j])] = 0 }
  let total = sum(numerators, count: count)
  if total >= 1e-6 { return OutsideSum(reference: maximum, sum: total) }

  // Their own maximum, with the excluded ones out of the way.
  numerators.update(from: row, count: count)
  for j in 0..<excluded { numerators[Int(excludedIDs[j])] = -.infinity }
  let highest = largest(numerators, count: count)
  writeExponentials(row, maximum: highest, scale: scale, count: count, into: numerators)
  for j in 0..<excluded { numerators[Int(excludedIDs[j])] = 0 }
  return OutsideSum(reference: highest, sum: sum(numerators, count: count))
}
