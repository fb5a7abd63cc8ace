/// Cross-entropy with the label, or with a label and its partner's in a mixed view.
///
/// L = mean_b (LSE(s_b) - share s[b, y] - (1 - share) s[b, y'])
/// dL/ds = (softmax(s_b) - share [c = y] - (1 - share) [c = y']) / B
///
/// - Parameters:
///   - partners: labels of the partner samples [B], or empty when no view is mixed.
///   - shares: the own label's share [B] in 0...1, as long as `partners`.
/// - Returns: L.
func crossEntropy(
  _ student: StudentRows, labels: Span<Int32>, partners: Span<Int32>, shares: Span<Float>,
  factor: Double, workspace: borrowing Workspace, gradient: GradientRows
) -> Double {
  let classes = student.classes
  let scale = factor / Double(student.count)
  var total = 0.0
  for b in 0..<student.count {
    let row = student.row(b)
    let maximum = student.surveys[b].maximum
    let sum = exponentials(
      row, maximum: maximum, scale: 1, count: classes, into: workspace.row)
    let slope = gradient.row(b)
    write(
      workspace.row, scale: Float(scale / sum), offset: 0, count: classes, into: slope,
      adding: gradient.adding)

    let label = Int(labels[b])
    total += logarithm(sum)
    if partners.isEmpty {
      slope[label] -= Float(scale)
      total += Double(maximum - row[label])
    } else {
      let partner = Int(partners[b])
      let share = Double(shares[b])
      slope[label] -= Float(scale * share)
      slope[partner] -= Float(scale * (1 - share))
      total += share * Double(maximum - row[label]) + (1 - share) * Double(maximum - row[partner])
    }
  }
  return total / Double(student.count)
}
