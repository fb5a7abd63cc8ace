/// KD with the tail mass spread evenly over the classes outside the head.
///
/// L = T^2 mean_b sum_c P (log P - log q), q = softmax(s / T); dL/ds = T (q - P) / B
/// with P the stored probabilities in the head and tail mass / (C - k) outside.
/// Per record the gradient is wrong by at most T min(m, sqrt(m p_k)), m the tail mass, p_k the
/// smallest head probability.
///
/// - Parameter temperature: T, positive and finite.
/// - Accuracy: gradient entries within 2e-6 of factor T / B (`KernelPropertyTests`).
/// - Returns: L.
/// - Source: Hinton, Vinyals, Dean 2015, arXiv:1503.02531.
func kdUniform(
  _ student: StudentRows, _ teacher: borrowing TeacherBatch, temperature: Float, factor: Double,
  workspace: borrowing Workspace, gradient: GradientRows
) -> Double {
  let (classes, k) = (student.classes, teacher.k)
  let inverse = 1 / Double(temperature)
  let scale = factor * Double(temperature) / Double(student.count)
  let (ids, gaps) = (teacher.classIDs.span, teacher.gaps.span)
  let head = workspace.probabilities
  var total = 0.0
  for b in 0..<student.count {
    let row = student.row(b)
    let maximum = student.surveys[b].maximum
    let sum = exponentials(
      row, maximum: maximum, scale: Float(inverse), count: classes, into: workspace.row)
    let rest = teacher.soften(row: b, temperature: temperature, into: head)
    let tailShare = teacher.tailClasses > 0 ? rest.tailMass / Double(teacher.tailClasses) : 0
    let slope = gradient.row(b)
    write(
      workspace.row, scale: Float(scale / sum), offset: Float(-scale * tailShare), count: classes,
      into: slope, adding: gradient.adding)

    // Cross terms: lag = maximum - s, in nats, >= 0.
    var headLags = 0.0
    var headCross = 0.0
    for j in 0..<k {
      let id = Int(ids[unchecked: b &* k &+ j])
      let lag = Double(maximum) - Double(row[id])
      headLags += lag
      headCross += head[j] * (lag - Double(gaps[unchecked: b &* k &+ j]))
      slope[id] -= Float(scale * (head[j] - tailShare))
    }
    let headMass = 1 - rest.tailMass
    var loss = headCross * inverse + logarithm(sum) - headMass * rest.logTotal
    if rest.tailMass > 0 {
      let tailLags = student.lags(b) - headLags
      loss +=
        rest.tailMass * (rest.logTailMass - logarithm(Double(teacher.tailClasses)))
        + tailShare * tailLags * inverse
    }
    total += loss
  }
  return Double(temperature) * Double(temperature) * total / Double(student.count)
}

extension StudentRows {
  /// The sum over classes of (maximum - logit).
  func lags(_ index: Int) -> Double {
    Double(classes) * (Double(surveys[index].maximum) - Double(row(index)[0]))
      - surveys[index].pivotedSum
  }
}

/// KD with the tail as one class of both distributions.
///
/// L = T^2 mean_b [ sum_{head} p (log p - log q) + m (log m - log q_tail) ], never above the true
/// loss. dL/ds = T (q - p) / B in the head and T q (1 - m / q_tail) / B outside.
/// The student's tail has its own log-sum-exp, so q_tail is never a difference.
///
/// - Parameter temperature: T, positive and finite.
/// - Returns: L.
func kdBucket(
  _ student: StudentRows, _ teacher: borrowing TeacherBatch, temperature: Float, factor: Double,
  workspace: borrowing Workspace, gradient: GradientRows
) -> Double {
  let (classes, k) = (student.classes, teacher.k)
  let inverse = 1 / Double(temperature)
  let scale = factor * Double(temperature) / Double(student.count)
  let (ids, gaps) = (teacher.classIDs.span, teacher.gaps.span)
  let head = workspace.probabilities
  var total = 0.0
  for b in 0..<student.count {
    let row = student.row(b)
    let maximum = Double(student.surveys[b].maximum)
    let rest = teacher.soften(row: b, temperature: temperature, into: head)
    for j in 0..<k { workspace.placed[j] = ids[unchecked: b &* k &+ j] }
    let tail = exponentialsOutside(
      workspace.placed, excluded: k, of: row, maximum: student.surveys[b].maximum,
      scale: Float(inverse), count: classes, into: workspace.row)

    // log-sum-exps relative to the row's maximum, the head's from its own maximum.
    var headMaximum = -Double.infinity
    for j in 0..<k { headMaximum = max(headMaximum, Double(row[Int(workspace.placed[j])])) }
    for j in 0..<k {
      workspace.steps[j] = exponential(
        (Double(row[Int(workspace.placed[j])]) - headMaximum) * inverse)
    }
    let headLift = (headMaximum - maximum) * inverse
    let logHead = headLift + logarithm(sum(workspace.steps, count: k))
    let hasTail = teacher.tailClasses > 0
    let logTail =
      hasTail
      ? (Double(tail.reference) - maximum) * inverse + logarithm(tail.sum) : -.infinity
    let logAll = logSumExp(logHead, logTail)

    let slope = gradient.row(b)
    let tailPull = hasTail ? (exponential(logTail - logAll) - rest.tailMass) / tail.sum : 0
    write(
      workspace.row, scale: Float(scale * tailPull), offset: 0, count: classes, into: slope,
      adding: gradient.adding)
    let headShare = exponential(headLift - logAll)
    var loss = 0.0
    for j in 0..<k {
      let id = Int(workspace.placed[j])
      let lag = maximum - Double(row[id])
      loss += head[j] * ((lag - Double(gaps[unchecked: b &* k &+ j])) * inverse)
      slope[id] += Float(scale * (workspace.steps[j] * headShare - head[j]))
    }
    loss += (1 - rest.tailMass) * (logAll - rest.logTotal)
    if rest.tailMass > 0 { loss += rest.tailMass * (rest.logTailMass - logTail + logAll) }
    total += loss
  }
  return Double(temperature) * Double(temperature) * total / Double(student.count)
}

/// The limit of KD for T to infinity.
///
/// L = mean_b (1 / 2C) sum_c (d - mean d)^2 with d = s - t; dL/ds = (d - mean d) / (C B).
/// Outside the head t is the tail's mean logit: exact only for k == C.
///
/// - Returns: L.
/// - Source: Kim et al. 2021, arXiv:2105.08919.
func kdLimit(
  _ student: StudentRows, _ teacher: borrowing TeacherBatch, factor: Double,
  workspace: borrowing Workspace, gradient: GradientRows
) -> Double {
  let classes = student.classes
  let scale = factor / (Double(classes) * Double(student.count))
  var total = 0.0
  for b in 0..<student.count {
    let maximum = student.surveys[b].maximum
    // Both sides relative to their maximum: the common offsets fall out of d - mean d.
    difference(
      student.row(b), minus: maximum, teacher, row: b, largest: 0, tail: .mean,
      into: workspace.row)
    let pivot = workspace.row[0]
    let mean = pivot + Float(sum(workspace.row, minus: pivot, count: classes) / Double(classes))
    total += sumOfSquares(workspace.row, minus: mean, count: classes)
    write(
      workspace.row, scale: Float(scale), offset: Float(-scale * Double(mean)), count: classes,
      into: gradient.row(b), adding: gradient.adding)
  }
  return total / (2 * Double(classes) * Double(student.count))
}
