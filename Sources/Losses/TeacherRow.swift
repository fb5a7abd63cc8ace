/// A teacher's softened distribution over one record, apart from the head's probabilities.
struct TeacherRow {
  /// log of the sum over all classes of exp(-gap / T).
  var logTotal: Double
  /// The probability of the whole tail; 0 when k == C.
  var tailMass: Double
  /// Its logarithm; -infinity when k == C.
  var logTailMass: Double
}

/// The sum of `count` doubles, in eight lanes joined in a fixed order.
func sum(_ values: UnsafePointer<Double>, count: Int) -> Double {
  var lanes = SIMD8<Double>.zero
  var index = 0
  while index &+ 8 <= count {
    lanes += UnsafeRawPointer(values + index).loadUnaligned(as: SIMD8<Double>.self)
    index &+= 8
  }
  let four = lanes.lowHalf + lanes.highHalf
  var result = (four[0] + four[1]) + (four[2] + four[3])
  while index < count {
    result += values[index]
    index &+= 1
  }
  return result
}

extension TeacherBatch {
  /// Writes the head's probabilities at temperature T and describes the rest.
  ///
  /// The tail mass comes from the stored ratio, never as 1 - sum of the head.
  func soften(row: Int, temperature: Float, into head: UnsafeMutablePointer<Double>) -> TeacherRow {
    let scale = -1 / Double(temperature)
    let gaps = gaps.span
    let start = row &* k
    for j in 0..<k {
      head[j] = exponential(Double(gaps[unchecked: start &+ j]) * scale)
    }
    let headSum = sum(head, count: k)
    let logHead = logarithm(headSum)
    let ratio = logTailRatio(row: row, temperature: temperature)
    guard ratio > -Double.infinity else {
      scaleHead(head, by: 1 / headSum)
      return TeacherRow(logTotal: logHead, tailMass: 0, logTailMass: -.infinity)
    }
    // ratio = log(tail / head): shares of the two by whichever exponential does not overflow.
    let small = exponential(-abs(ratio))
    let headMass = (ratio > 0 ? small : 1) / (1 + small)
    let tailMass = (ratio > 0 ? 1 : small) / (1 + small)
    scaleHead(head, by: headMass / headSum)
    let logHeadMass = -(max(ratio, 0) + logarithmOnePlus(small))
    return TeacherRow(
      logTotal: logHead - logHeadMass, tailMass: tailMass, logTailMass: ratio + logHeadMass)
  }

  private func scaleHead(_ head: UnsafeMutablePointer<Double>, by factor: Double) {
    for j in 0..<k { head[j] *= factor }
  }
}
