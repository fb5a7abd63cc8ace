/// log n! for n up to a limit, computed once.
struct LogFactorials {
  private let values: [Double]

  init(upTo limit: Int) {
    var values = [0.0]
    for n in stride(from: 1, through: limit, by: 1) {
      values.append(values[n - 1] + logarithm(Double(n)))
    }
    self.values = values
  }

  subscript(n: Int) -> Double { values[n] }

  /// log n, for n >= 1, to 1e-9: the sums' digits are lost.
  func ofInteger(_ n: Int) -> Double { values[n] - values[n - 1] }
}

/// PLD over the placed classes: the label, then the head without it, in the teacher's order.
///
/// L = mean_b sum_r alpha_r (S_r - s_r), S_r the log-sum-exp of the student's logits from position
/// r on, alpha = softmax(t / T) over all classes.
/// dL/ds_i = ( sum_{r <= position of i} alpha_r exp(s_i - S_r) - alpha_i ) / B
///
/// A batch with a ranking places all classes: those behind the head in their exact order, with weights
/// that fall with the rank to the mass that is left (`RankedWeights`). Without one, classes that are not placed follow all others. Their log-sum-exp is taken once; then S is
/// built backwards over the placed ones by adding, never by subtracting. Every S_r is kept as
/// M_r + log Z_r with M_r the largest logit from r on and Z_r in 1e-6...C, so one exp per placed class
/// serves the backward and the forward walk and nothing overflows.
///
/// - Parameters:
///   - temperature: T of the teacher's weights; the student is never tempered.
///   - tail: `.drop` leaves the terms of unplaced positions out (a lower bound; the gradient is
///     wrong by at most sqrt(2) m', the mass of the unplaced classes); `.uniform` adds
///     m' (S_tail - mean s_tail + log n! / n - log n), the mean over the orders of n classes. With a
///     ranking there is nothing to choose.
/// - Returns: L.
/// - Source: PLD, NeurIPS 2025, arXiv:2506.12542.
func pld(
  _ student: StudentRows, _ teacher: borrowing TeacherBatch, temperature: Float, tail: PLDTail,
  factor: Double, logFactorials: LogFactorials, workspace: borrowing Workspace,
  gradient: GradientRows
) -> Double {
  let classes = student.classes
  let scale = factor / Double(student.count)
  var total = 0.0
  for b in 0..<student.count {
    let row = student.row(b)
    var order = place(teacher, row: b, temperature: temperature, workspace: workspace)
    if teacher.hasRanking {
      placeOthers(
        teacher, row: b, after: &order, logFactorials: logFactorials, workspace: workspace)
    }
    let outside = exponentialsOutside(
      workspace.placed, excluded: order.placed, of: row,
      maximum: student.surveys[b].maximum, scale: 1, count: classes, into: workspace.row)
    walkBackwards(row, placed: order.placed, outside: outside, workspace: workspace)

    // Terms of the unplaced positions.
    let unplaced = classes - order.placed
    var loss = 0.0
    var spread = 0.0
    if tail == .uniform && unplaced > 0 {
      let n = Double(unplaced)
      var lags = student.lags(b)
      for r in 0..<order.placed {
        lags -= Double(student.surveys[b].maximum) - Double(row[Int(workspace.placed[r])])
      }
      let meanLag = lags / n - Double(student.surveys[b].maximum - outside.reference)
      loss =
        order.restMass
        * (logarithm(outside.sum) + meanLag + logFactorials[unplaced] / n - logarithm(n))
      spread = order.restMass
    }

    let walk = walkForwards(placed: order.placed, workspace: workspace)
    let slope = gradient.row(b)
    let even = unplaced > 0 ? scale * spread / Double(unplaced) : 0
    write(
      workspace.row,
      scale: unplaced > 0 ? Float(scale * (walk.reach + spread / outside.sum)) : 0,
      offset: Float(-even), count: classes, into: slope, adding: gradient.adding)
    for r in 0..<order.placed {
      slope[Int(workspace.placed[r])] += Float(scale * workspace.steps[r] + even)
    }
    loss += walk.loss
    total += loss
  }
  return total / Double(student.count)
}

/// The placed classes of one record.
private struct Placement {
  /// How many: k when the label is in the head, else k + 1.
  var placed: Int
  /// The teacher's probability of all classes that are not placed.
  var restMass: Double
  /// The probability of the head's last class.
  var lastOfHead: Double
}

/// Writes the placed classes and their weights alpha: the label first, then the head without it.
private func place(
  _ teacher: borrowing TeacherBatch, row: Int, temperature: Float, workspace: borrowing Workspace
) -> Placement {
  let k = teacher.k
  let ids = teacher.classIDs.span
  let label = teacher.labels[row]
  // One place is left free at the front for a label outside the head.
  let rest = teacher.soften(
    row: row, temperature: temperature, into: workspace.probabilities + 1)
  let last = workspace.probabilities[k]
  var position = k
  for j in 0..<k {
    let id = ids[unchecked: row &* k &+ j]
    workspace.placed[j &+ 1] = id
    if id == label { position = j }
  }
  workspace.placed[0] = label
  if position == k {
    let weight = exponential(
      -Double(teacher.labelGaps[row]) / Double(temperature) - rest.logTotal)
    workspace.probabilities[0] = weight
    return Placement(
      placed: k + 1, restMass: max(rest.tailMass - weight, 0), lastOfHead: last)
  }
  // Close the gap the label leaves: what stood before it moves to the places it had.
  workspace.probabilities[0] = workspace.probabilities[position + 1]
  for j in position..<(k - 1) {
    workspace.placed[j + 1] = workspace.placed[j + 2]
    workspace.probabilities[j + 1] = workspace.probabilities[j + 2]
  }
  return Placement(placed: k, restMass: rest.tailMass, lastOfHead: last)
}

/// Places the classes that stand behind the head in their stored order, with weights that fall with
/// the rank to the mass that is left (`RankedWeights`).
private func placeOthers(
  _ teacher: borrowing TeacherBatch, row: Int, after order: inout Placement,
  logFactorials: LogFactorials, workspace: borrowing Workspace
) {
  let (k, classes, label) = (teacher.k, teacher.classes, teacher.labels[row])
  let weights = RankedWeights(k: k, classes: classes)
  let others = classes - order.placed
  let exponent = weights.exponent(
    mean: order.restMass / Double(max(others, 1)), last: order.lastOfHead)
  let logStart = logFactorials.ofInteger(k)
  let ranking = teacher.ranking.span
  var placed = order.placed
  var sum = 0.0
  for rank in k..<classes {
    let id = ranking[unchecked: row &* classes &+ rank]
    if id == label { continue }
    let weight = weights.weight(
      exponent, logRank: logFactorials.ofInteger(rank &+ 1) - logStart)
    workspace.placed[placed] = id
    workspace.probabilities[placed] = weight
    sum += weight
    placed &+= 1
  }
  precondition(placed == classes, "row \(row)'s ranking places \(placed) of \(classes) classes")
  let scale = sum > 0 ? order.restMass / sum : 0
  for place in order.placed..<classes { workspace.probabilities[place] *= scale }
  order.placed = classes
  order.restMass = 0
}

/// From the last placed class to the first: `steps[r]` = s_r - M_{r+1}, `decays[r]` =
/// exp(-|steps[r]|), `totals[r]` = Z_r.
private func walkBackwards(
  _ row: Row, placed: Int, outside: OutsideSum, workspace: borrowing Workspace
) {
  let (steps, decays, totals) = (workspace.steps, workspace.decays, workspace.totals)
  var highest = Double(outside.reference)
  for r in stride(from: placed &- 1, through: 0, by: -1) {
    let logit = Double(row[Int(workspace.placed[r])])
    steps[r] = logit - highest
    highest = max(highest, logit)
  }
  for r in 0..<placed { decays[r] = exponential(-abs(steps[r])) }
  var total = outside.sum
  for r in stride(from: placed &- 1, through: 0, by: -1) {
    let above = steps[r] > 0
    total = total * (above ? decays[r] : 1) + (above ? 1 : decays[r])
    totals[r] = total
  }
}

/// From the first placed class to the last: `steps[r]` becomes the gradient of class r.
///
/// - Returns: the sum of alpha_r exp(M - S_r) over the placed classes, M the outside reference, and
///   their share of the loss.
private func walkForwards(placed: Int, workspace: borrowing Workspace)
  -> (reach: Double, loss: Double)
{
  let (steps, decays, totals) = (workspace.steps, workspace.decays, workspace.totals)
  let alpha = workspace.probabilities
  var reach = 0.0
  var loss = 0.0
  for r in 0..<placed {
    let above = steps[r] > 0
    reach += alpha[r] / totals[r]
    loss -= alpha[r] * min(steps[r], 0)
    steps[r] = reach * (above ? 1 : decays[r]) - alpha[r]
    reach *= above ? decays[r] : 1
  }
  for r in 0..<placed { totals[r] = logarithm(totals[r]) }
  for r in 0..<placed { loss += alpha[r] * totals[r] }
  return (reach, loss)
}
