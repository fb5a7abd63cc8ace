import Arrays
import TestSupport

/// An array of random type, rank 0 to 3, axes of 0 to 4, and random bits (no NaN, which equals
/// nothing).
func randomArray(_ random: inout SeededGenerator) -> NamedArray {
  let rank = Int.random(in: 0...3, using: &random)
  let shape = (0..<rank).map { _ in Int.random(in: 0...4, using: &random) }
  let count = shape.reduce(1, *)
  func values<Value>(_ draw: (inout SeededGenerator) -> Value) -> [Value] {
    (0..<count).map { _ in draw(&random) }
  }
  let array: ArrayValues =
    switch Int.random(in: 0..<5, using: &random) {
    case 0: .uint8(values { .random(in: 0...255, using: &$0) })
    case 1: .int32(values { .random(in: .min ... .max, using: &$0) })
    case 2: .int64(values { .random(in: .min ... .max, using: &$0) })
    case 3: .float32(values { Float($0.normal()) })
    default: .float64(values { $0.normal() })
    }
  return NamedArray(shape: shape, values: array)
}
