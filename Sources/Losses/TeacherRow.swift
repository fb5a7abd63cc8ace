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

/// The shares of head and tail and their logarithms.
private struct TailMasses {
  let head: Double
  let tail: Double
  let logHead: Double
  let logTail: Double

  /// From log(tail / head), by whichever exponential does not overflow.
  init(logRatio: Double) {
    let small = exponential(-abs(logRatio))
    head = (logRatio > 0 ? small : 1) / (1 + small)
    tail = (logRatio > 0 ? 1 : small) / (1 + small)
    logHead = -(max(logRatio, 0) + logarithmOnePlus(small))
    logTail = logRatio + logHead
  }
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
    if let anchor, anchor.headClasses < k,
      let ratio = anchor.logTailRatio(row: row, temperature: temperature)
    {
      return softenAnchored(head, headClasses: anchor.headClasses, ratio: ratio)
    }
    let headSum = sum(head, count: k)
    let logHead = logarithm(headSum)
    let ratio = logTailRatio(row: row, temperature: temperature)
    guard ratio > -Double.infinity else {
      scaleHead(head, by: 1 / headSum)
      return TeacherRow(logTotal: logHead, tailMass: 0, logTailMass: -.infinity)
    }
    let masses = TailMasses(logRatio: ratio)
    scaleHead(head, by: masses.head / headSum)
    return TeacherRow(
      logTotal: logHead - masses.logHead, tailMass: masses.tail, logTailMass: masses.logTail)
  }

  /// Full rows at a temperature whose tail mass is stored: the head's and the other classes' shares
  /// are the stored ones, and only the shape within each comes from the gaps.
  ///
  /// With P = exp(-gap / T - L), L differs between the two; `logTotal` is its mean under P, which is
  /// what the loss needs.
  private func softenAnchored(
    _ powers: UnsafeMutablePointer<Double>, headClasses: Int, ratio: Double
  ) -> TeacherRow {
    let masses = TailMasses(logRatio: ratio)
    let headSum = sum(powers, count: headClasses)
    let tail = powers + headClasses
    let tailSum = sum(tail, count: k - headClasses)
    // A tail too far away for a Double has no shape left; its mass is as small.
    let tailFactor = tailSum > 0 ? masses.tail / tailSum : 0
    for j in 0..<headClasses { powers[j] *= masses.head / headSum }
    for j in 0..<k - headClasses { tail[j] *= tailFactor }
    var logTotal = masses.head * (logarithm(headSum) - masses.logHead)
    if tailSum > 0 { logTotal += masses.tail * (logarithm(tailSum) - masses.logTail) }
    return TeacherRow(logTotal: logTotal, tailMass: 0, logTailMass: -.infinity)
  }

  private func scaleHead(_ head: UnsafeMutablePointer<Double>, by factor: Double) {
    for j in 0..<k { head[j] *= factor }
  }
}
