/// DKD: the label against the rest, and the rest among themselves, weighted apart.
///
/// With p1, q1 the teacher's and student's probability of the label at T, p2, q2 the rest's, and
/// pn, qn the softmax over the other classes only:
/// L = T^2 mean_b ( alpha KL(p1, p2 || q1, q2) + beta KL(pn || qn) )
/// dL/ds_y = (T / B) alpha (q1 - p1)
/// dL/ds_c = (T / B) ( -alpha (q1 - p1) qn_c + beta (qn_c - pn_c) ), c != y
/// Computed in the log domain, so it is finite at any logits. Outside the head the teacher's mass
/// is spread evenly over the classes that are not the label.
///
/// - Returns: L.
/// - Source: Zhao et al. 2022, arXiv:2203.08679.
func dkd(
  _ student: StudentRows, _ teacher: borrowing TeacherBatch, temperature: Float, alpha: Double,
  beta: Double, factor: Double, workspace: borrowing Workspace, gradient: GradientRows
) -> Double {
  let (classes, k) = (student.classes, teacher.k)
  let inverse = 1 / Double(temperature)
  let scale = factor * Double(temperature) / Double(student.count)
  let ids = teacher.classIDs.span
  var total = 0.0
  for b in 0..<student.count {
    let row = student.row(b)
    let label = teacher.labels[b]
    workspace.placed[0] = label
    let others = exponentialsOutside(
      workspace.placed, excluded: 1, of: row, maximum: student.surveys[b].maximum,
      scale: Float(inverse), count: classes, into: workspace.row)
    let target = softenOthers(
      teacher, row: b, temperature: temperature, others: workspace.probabilities)

    // The student's binary part: log(q1 / q2), then both logarithms without cancellation.
    let logOthers = logarithm(others.sum)
    let odds = (Double(row[Int(label)]) - Double(others.reference)) * inverse - logOthers
    let student1 = logShares(odds)
    let teacher1 = logShares(target.odds)
    let (p1, p2) = (exponential(teacher1.own), exponential(teacher1.rest))
    let difference = exponential(student1.own) - p1
    var binary = 0.0
    if p1 > 0 { binary += p1 * (teacher1.own - student1.own) }
    if p2 > 0 { binary += p2 * (teacher1.rest - student1.rest) }

    let slope = gradient.row(b)
    let tailPull = -scale * beta * target.tailShare
    write(
      workspace.row, scale: Float(scale * (beta - alpha * difference) / others.sum),
      offset: Float(tailPull), count: classes, into: slope, adding: gradient.adding)
    slope[Int(label)] += Float(scale * alpha * difference - tailPull)

    // sum pn (log pn - log qn), log qn_c = -lag_c / T - logOthers, lag_c = maximum - s_c.
    var conditional = logOthers
    var tailLags = student.lags(b)
    let maximum = Double(student.surveys[b].maximum)
    if !target.labelInHead { tailLags -= maximum - Double(row[Int(label)]) }
    for j in 0..<k {
      let id = ids[unchecked: b &* k &+ j]
      let logit = Double(row[Int(id)])
      tailLags -= maximum - logit
      if id == label { continue }
      let share = workspace.probabilities[j]
      slope[Int(id)] -= Float(scale * beta * share + tailPull)
      if share > 0 {
        let lag = Double(others.reference) - logit
        conditional += share * (lag * inverse + target.logShare(teacher.gaps[b &* k &+ j]))
      }
    }
    if target.tailShare > 0 {
      let n = Double(target.tailClasses)
      tailLags -= n * (maximum - Double(others.reference))
      conditional += target.tailShare * (tailLags * inverse + n * logarithm(target.tailShare))
    }
    total += alpha * binary + beta * conditional
  }
  return Double(temperature) * Double(temperature) * total / Double(student.count)
}

/// log p and log(1 - p) of p = 1 / (1 + exp(-odds)).
private func logShares(_ odds: Double) -> (own: Double, rest: Double) {
  let small = logarithmOnePlus(exponential(-abs(odds)))
  return (own: min(odds, 0) - small, rest: min(-odds, 0) - small)
}

/// The teacher without the label.
private struct OtherClasses {
  /// log(p1 / p2); infinite only when no other class has any mass.
  var odds: Double
  /// 1 / T.
  var inverse: Double
  /// log of the sum over the other classes of exp(-gap / T).
  var logTotal: Double
  /// How many classes are neither in the head nor the label.
  var tailClasses: Int
  /// The conditional probability of each of them.
  var tailShare: Double
  /// Whether the label is one of the head's classes.
  var labelInHead: Bool

  /// The logarithm of the conditional probability of a head class.
  func logShare(_ gap: Float) -> Double { -Double(gap) * inverse - logTotal }
}

/// Writes the conditional probabilities of the head's classes (0 for the label) and describes the
/// rest.
private func softenOthers(
  _ teacher: borrowing TeacherBatch, row: Int, temperature: Float,
  others: UnsafeMutablePointer<Double>
) -> OtherClasses {
  let k = teacher.k
  let start = row * k
  let label = teacher.labels[row]
  let inverse = 1 / Double(temperature)
  // The reference is the best class that is not the label: its term is exp 0 = 1.
  let first = teacher.classIDs[start] == label ? 1 : 0
  let reference = first < k ? Double(teacher.gaps[start + first]) : 0
  var headSum = 0.0
  var labelInHead = false
  for j in 0..<k {
    let isLabel = teacher.classIDs[start + j] == label
    labelInHead = labelInHead || isLabel
    others[j] =
      isLabel ? 0 : exponential((reference - Double(teacher.gaps[start + j])) * inverse)
    headSum += others[j]
  }
  let logOthersHead = headSum > 0 ? logarithm(headSum) - reference * inverse : -.infinity
  let logLabel = -Double(teacher.labelGaps[row]) * inverse
  let logHead = labelInHead ? logSumExp(logOthersHead, logLabel) : logOthersHead
  var logTail = logHead + teacher.logTailRatio(row: row, temperature: temperature)
  var tailClasses = teacher.tailClasses
  if !labelInHead {
    tailClasses -= 1
    // The tail without the label; the stored numbers may round it to nothing.
    let left = 1 - exponential(min(logLabel - logTail, 0))
    logTail = left > 0 && tailClasses > 0 ? logTail + logarithm(left) : -.infinity
  }
  let logTotal = logSumExp(logOthersHead, logTail)
  let lift = exponential(max(-reference * inverse - logTotal, -700))
  for j in 0..<k { others[j] *= lift }
  return OtherClasses(
    odds: logLabel - logTotal, inverse: inverse, logTotal: logTotal, tailClasses: tailClasses,
    tailShare: tailClasses > 0 ? exponential(logTail - logTotal) / Double(tailClasses) : 0,
    labelInHead: labelInHead)
}
