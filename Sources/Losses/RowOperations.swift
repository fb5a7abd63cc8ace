// Passes over one row of floats. Sums run in 32 lanes and are joined in one fixed order, so the
// bits do not depend on the CPU. A row of 1000 classes stays in the first-level cache between
// passes, which makes a pass much cheaper than the exp per element.

/// A row's values, read only.
package typealias Row = UnsafePointer<Float>
/// A row's values, written.
package typealias MutableRow = UnsafeMutablePointer<Float>

private typealias Lanes = SIMD16<Float>

@inline(__always)
private func lanes(_ row: Row, _ index: Int) -> Lanes {
  UnsafeRawPointer(row + index).loadUnaligned(as: Lanes.self)
}

/// Adds 2 x 16 lanes pairwise: low half plus high half until four are left, then in order.
@inline(__always)
private func joined(_ low: Lanes, _ high: Lanes) -> Double {
  let sixteen = low + high
  let eight = sixteen.lowHalf + sixteen.highHalf
  let four = eight.lowHalf + eight.highHalf
  return (Double(four[0]) + Double(four[1])) + (Double(four[2]) + Double(four[3]))
}

@inline(__always)
private func joinedMaximum(_ low: Lanes, _ high: Lanes) -> Float {
  let sixteen = low.replacing(with: high, where: high .> low)
  var eight = sixteen.lowHalf
  eight.replace(with: sixteen.highHalf, where: sixteen.highHalf .> eight)
  var four = eight.lowHalf
  four.replace(with: eight.highHalf, where: eight.highHalf .> four)
  return Swift.max(Swift.max(four[0], four[1]), Swift.max(four[2], four[3]))
}

/// What one look at a row tells.
struct RowSurvey {
  /// The largest value.
  var maximum: Float
  /// The sum of (value - first value): the pivot keeps a large common offset out of the sum.
  var pivotedSum: Double
}

/// Largest value and pivoted sum of a row; the sum is not finite when any value is not.
func surveyRow(_ row: Row, count: Int) -> RowSurvey {
  RowSurvey(
    maximum: largest(row, count: count), pivotedSum: sum(row, minus: row[0], count: count))
}

/// The largest of `count` >= 1 values.
func largest(_ row: Row, count: Int) -> Float {
  var low = Lanes(repeating: row[0])
  var high = low
  var index = 0
  while index &+ 32 <= count {
    let (first, second) = (lanes(row, index), lanes(row, index &+ 16))
    low.replace(with: first, where: first .> low)
    high.replace(with: second, where: second .> high)
    index &+= 32
  }
  var result = joinedMaximum(low, high)
  while index < count {
    result = row[index] > result ? row[index] : result
    index &+= 1
  }
  return result
}

/// The sum of a row.
func sum(_ row: Row, count: Int) -> Double {
  var (low, high) = (Lanes.zero, Lanes.zero)
  var index = 0
  while index &+ 32 <= count {
    low += lanes(row, index)
    high += lanes(row, index &+ 16)
    index &+= 32
  }
  var result = joined(low, high)
  while index < count {
    result += Double(row[index])
    index &+= 1
  }
  return result
}

/// The sum of (value - shift).
func sum(_ row: Row, minus shift: Float, count: Int) -> Double {
  var (low, high) = (Lanes.zero, Lanes.zero)
  var index = 0
  while index &+ 32 <= count {
    low += lanes(row, index) - shift
    high += lanes(row, index &+ 16) - shift
    index &+= 32
  }
  var result = joined(low, high)
  while index < count {
    result += Double(row[index] - shift)
    index &+= 1
  }
  return result
}

/// The sum of (value - shift)^2.
func sumOfSquares(_ row: Row, minus shift: Float, count: Int) -> Double {
  var (low, high) = (Lanes.zero, Lanes.zero)
  var index = 0
  while index &+ 32 <= count {
    let (first, second) = (lanes(row, index) - shift, lanes(row, index &+ 16) - shift)
    low += first * first
    high += second * second
    index &+= 32
  }
  var result = joined(low, high)
  while index < count {
    let value = Double(row[index] - shift)
    result += value * value
    index &+= 1
  }
  return result
}

/// The inner product of two rows.
func innerProduct(_ a: Row, _ b: Row, count: Int) -> Double {
  var (low, high) = (Lanes.zero, Lanes.zero)
  var index = 0
  while index &+ 32 <= count {
    low += lanes(a, index) * lanes(b, index)
    high += lanes(a, index &+ 16) * lanes(b, index &+ 16)
    index &+= 32
  }
  var result = joined(low, high)
  while index < count {
    result += Double(a[index]) * Double(b[index])
    index &+= 1
  }
  return result
}

/// Writes exp((value - maximum) * scale).
///
/// - Parameters:
///   - maximum: at least every value of the row, so no exponent is positive.
///   - scale: 1 / temperature.
///   - numerators: overwritten; not `row` itself.
package func writeExponentials(
  _ row: Row, maximum: Float, scale: Float, count: Int, into numerators: MutableRow
) {
  for index in 0..<count {
    numerators[index] = exponential((row[index] - maximum) * scale)
  }
}

/// The same, and returns the sum of what was written.
func exponentials(
  _ row: Row, maximum: Float, scale: Float, count: Int, into numerators: MutableRow
) -> Double {
  writeExponentials(row, maximum: maximum, scale: scale, count: count, into: numerators)
  return sum(numerators, count: count)
}

/// Writes `values * scale + offset`, or adds it to what is there.
func write(
  _ values: Row, scale: Float, offset: Float, count: Int, into gradient: MutableRow, adding: Bool
) {
  if adding {
    for index in 0..<count { gradient[index] += values[index] * scale + offset }
  } else {
    for index in 0..<count { gradient[index] = values[index] * scale + offset }
  }
}
