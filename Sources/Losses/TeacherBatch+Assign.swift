extension TeacherBatch {
  /// Fills a record from a teacher's full row of logits.
  ///
  /// For a teacher that runs beside the student, for tests and for measuring; a cache fills its
  /// batches itself. Sorts the row, so it costs O(C log C) and allocates.
  ///
  /// - Parameters:
  ///   - row: the record to overwrite.
  ///   - logits: the teacher's logits, shape [C], finite.
  ///   - label: the true label, in 0..<C.
  public mutating func assign(row: Int, logits: Span<Float>, label: Int) {
    precondition(logits.count == classes, "\(logits.count) logits for \(classes) classes")
    precondition(label >= 0 && label < classes, "label \(label) outside 0..<\(classes)")
    var values = [Double](repeating: 0, count: classes)
    for c in 0..<classes {
      precondition(logits[c].isFinite, "teacher logit \(c) of row \(row) is \(logits[c])")
      values[c] = Double(logits[c])
    }
    let order = (0..<classes).sorted { (values[$0], $1) > (values[$1], $0) }
    let largest = values[order[0]]
    for j in 0..<k {
      classIDs[row * k + j] = Int32(order[j])
      gaps[row * k + j] = Float(largest - values[order[j]])
    }
    largestLogits[row] = Float(largest)
    labels[row] = Int32(label)
    labelGaps[row] = Float(largest - values[label])
    labelRanks[row] = Int32(order.firstIndex(of: label)!)

    if hasRanking {
      for rank in 0..<classes { ranking[row * classes + rank] = Int32(order[rank]) }
    }
    let tail = order[k...].map { largest - values[$0] }
    for (t, temperature) in tailTemperatures.enumerated() {
      let head = order[..<k].reduce(0) {
        $0 + exponential((values[$1] - largest) / Double(temperature))
      }
      // Relative to the first tail class, so that a far tail does not underflow.
      let sum = tail.reduce(0) { $0 + exponential((tail[0] - $1) / Double(temperature)) }
      logTailRatios[row * tailTemperatures.count + t] = Float(
        logarithm(sum) - tail[0] / Double(temperature) - logarithm(head))
    }
    if hasMeanTailGaps && !tail.isEmpty {
      meanTailGaps[row] = Float(tail.reduce(0, +) / Double(tail.count))
    }
  }
}
