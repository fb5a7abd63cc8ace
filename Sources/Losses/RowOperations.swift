// Passes over one row of floats. Sums run in 16 lanes and are joined in one fixed order, so the
// bits do not depend on the CPU. A row of 1000 classes stays in the first-level cache between
// passes, which makes a pass much cheaper than the exp per element.

/// A row's values, read only.
typealias Row = UnsafePointer<Float>
/// A row's values, written.
typealias MutableRow = UnsafeMutablePointer<Float>

private typealias Lanes = SIMD16<Float>

@inline(__always)
private func lanes(_ row: Row, _ index: Int) -> Lanes {
  UnsafeRawPointer(row + index).loadUnaligned(as: Lanes.self)
}

/// Adds the 16 lanes pairwise: low half plus high half until four are left, then in order.
@inline(__always)
private func joined(_ lanes: Lanes) -> Double {
  let eight = lanes.lowHalf + lanes.highHalf
  let four = eight.lowHalf + eight.highHalf
  return (Double(four[0]) + Double(four[1])) + (Double(four[2]) + Double(four[3]))
}

@inline(__always)
private func joinedMaximum(_ lanes: Lanes) -> Float {
  var eight = lanes.lowHalf
  eight.replace(with: lanes.highHalf, where: lanes.highHalf .> eight)
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
  let pivot = row[0]
  var highest = Lanes(repeating: pivot)
  var sums = Lanes.zero
  var index = 0
  while index &+ 16 <= count {
    let values = lanes(row, index)
    highest.replace(with: values, where: values .> highest)
    sums += values - pivot
    index &+= 16
  }
  var sum = joined(sums)
  var maximum = joinedMaximum(highest)
  while index < count {
    maximum = row[index] > maximum ? row[index] : maximum
    sum += Double(row[index] - pivot)
    index &+= 1
  }
  return RowSurvey(maximum: maximum, pivotedSum: sum)
}

/// The largest of `count` >= 1 values.
func maximum(_ row: Row, count: Int) -> Float {
  var highest = Lanes(repeating: row[0])
  var index = 0
  while index &+ 16 <= count {
    let values = lanes(row, index)
    highest.replace(with: values, where: values .> highest)
    index &+= 16
  }
  var result = joinedMaximum(highest)
  while index < count {
    result = row[index] > result ? row[index] : result
    index &+= 1
  }
  return result
}

/// The sum of a row.
func sum(_ row: Row, count: Int) -> Double {
  var sums = Lanes.zero
  var index = 0
  while index &+ 16 <= count {
    sums += lanes(row, index)
    index &+= 16
  }
  var result = joined(sums)
  while index < count {
    result += Double(row[index])
    index &+= 1
  }
  return result
}

/// The sum of (value - shift).
func sum(_ row: Row, minus shift: Float, count: Int) -> Double {
  var sums = Lanes.zero
  var index = 0
  while index &+ 16 <= count {
    sums += lanes(row, index) - shift
    index &+= 16
  }
  var result = joined(sums)
  while index < count {
    result += Double(row[index] - shift)
    index &+= 1
  }
  return result
}

/// The sum of (value - shift)^2.
func sumOfSquares(_ row: Row, minus shift: Float, count: Int) -> Double {
  var sums = Lanes.zero
  var index = 0
  while index &+ 16 <= count {
    let values = lanes(row, index) - shift
    sums += values * values
    index &+= 16
  }
  var result = joined(sums)
  while index < count {
    let value = Double(row[index] - shift)
    result += value * value
    index &+= 1
  }
  return result
}

/// The inner product of two rows.
func innerProduct(_ a: Row, _ b: Row, count: Int) -> Double {
  var sums = Lanes.zero
  var index = 0
  while index &+ 16 <= count {
    sums += lanes(a, index) * lanes(b, index)
    index &+= 16
  }
  var result = joined(sums)
  while index < count {
    result += Double(a[index]) * Double(b[index])
    index &+= 1
  }
  return result
}

/// Writes exp((value - maximum) * scale) and returns the sum of what was written.
///
/// - Parameters:
///   - maximum: at least every value of the row, so no exponent is positive.
///   - scale: 1 / temperature.
///   - numerators: overwritten; not `row` itself.
func exponentials(
  _ row: Row, maximum: Float, scale: Float, count: Int, into numerators: MutableRow
) -> Double {
  for index in 0..<count {
    numerators[index] = exponential((row[index] - maximum) * scale)
  }
  return sum(numerators, count: count)
}

/// The same in place: the row becomes its numerators.
func exponentials(inPlace row: MutableRow, maximum: Float, scale: Float, count: Int) -> Double {
  for index in 0..<count {
    row[index] = exponential((row[index] - maximum) * scale)
  }
  return sum(row, count: count)
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
