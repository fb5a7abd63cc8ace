import Arrays
import Basics
import Foundation

/// Refuses rows that nobody said the kind of, and that are almost surely probabilities: as logits, all of their
/// temperatures would be wrong, and nothing would show it.
///
/// Looks at up to 64 rows, evenly spread over the file; rows of zeros or NaN may be padding and say nothing. Rows of one class say nothing.
/// - Parameter file: rows of `shape.last` floating-point numbers.
/// - Throws: `Problem(.usage)` when every row that was looked at lies in 0...1 and sums to 1.
func refuseProbabilities(in file: ArrayFile) throws {
  let classes = file.shape[file.shape.count - 1]
  let rows = file.shape.dropLast().reduce(1, *)
  if classes < 2 { return }
  // Half a unit in the last place of every number: 2^-8 of bfloat16, 2^-11 of float16.
  let tolerance = max(1e-3, Double(sign: .plus, exponent: -file.significantBits, significand: 1))
  var values = [Float](repeating: 0, count: classes)
  let looks = min(rows, 64)
  var hasRow = false
  for look in 0..<looks {
    let row = rows * look / looks
    try values.withUnsafeMutableBufferPointer {
      try file.read(row * classes..<(row + 1) * classes, into: $0)
    }
    if values.allSatisfy({ $0 == 0 || $0.isNaN }) { continue }
    hasRow = true
    let sum = values.reduce(0.0) { $0 + Double($1) }
    // Another NaN is outside of everything: who records the row names it.
    guard values.allSatisfy({ (0...1).contains($0) }), abs(sum - 1) <= tolerance else { return }
  }
  if !hasRow { return }
  throw Problem(
    .usage,
    "\(file.name): every row that was looked at lies in 0...1 and sums to 1, as probabilities do: pass "
      + "--kind probabilities, or --kind logits if they truly are logits")
}
