/// Mean squared difference of logits.
///
/// L = (1 / (B C)) sum_{b,c} (s - t)^2; dL/ds = 2 (s - t) / (B C)
/// Outside the head t is the tail's mean (`.mean`) or the difference counts as 0 (`.drop`); exact
/// only for k == C.
///
/// - Returns: L.
/// - Source: Kim et al. 2021, arXiv:2105.08919.
func meanSquaredError(
  _ student: StudentRows, _ teacher: borrowing TeacherBatch, tail: MSETail, factor: Double,
  workspace: borrowing Workspace, gradient: GradientRows
) -> Double {
  let classes = student.classes
  let size = Double(classes) * Double(student.count)
  var total = 0.0
  for b in 0..<student.count {
    difference(
      student.row(b), minus: 0, teacher, row: b, largest: teacher.largestLogits[b], tail: tail,
      into: workspace.row)
    total += sumOfSquares(workspace.row, minus: 0, count: classes)
    write(
      workspace.row, scale: Float(2 * factor / size), offset: 0, count: classes,
      into: gradient.row(b), adding: gradient.adding)
  }
  return total / size
}

/// Writes (s - shift) - t over all classes, where t = largest - gap in the head.
func difference(
  _ row: Row, minus shift: Float, _ teacher: borrowing TeacherBatch, row index: Int,
  largest: Float, tail: MSETail, into output: MutableRow
) {
  let (classes, k) = (teacher.classes, teacher.k)
  if tail == .mean {
    let fill = Double(largest) - teacher.meanTailGap(row: index)
    let offset = Float(fill)
    for c in 0..<classes { output[c] = (row[c] - shift) - offset }
  } else {
    for c in 0..<classes { output[c] = 0 }
  }
  let (ids, gaps) = (teacher.classIDs.span, teacher.gaps.span)
  for j in index &* k..<(index &+ 1) &* k {
    let id = Int(ids[unchecked: j])
    output[id] = ((row[id] - shift) - largest) + gaps[unchecked: j]
  }
}
