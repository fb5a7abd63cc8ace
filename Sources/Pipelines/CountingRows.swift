import Networks

/// Lays the rows of a student's logits that count side by side, and their gradient back in its place.
///
/// Losses then see a batch of rows and know nothing of positions: the mean over the batch is the mean over
/// the positions that count.
struct CountingRows {
  private var logits: [Float] = []
  private var gradient: [Float] = []

  /// Calls `body` with the rows that count.
  ///
  /// - Parameters:
  ///   - rows: which of the rows count, ascending; `nil` for all.
  ///   - logits: the student's, [all rows, classes].
  ///   - gradient: overwritten, [all rows, classes]: 0 in the rows that do not count.
  ///   - body: takes logits [rows, classes] and writes their gradient.
  mutating func with<R>(
    _ rows: [Int32]?, of logits: Tensor, gradient: Tensor,
    _ body: (_ logits: Span<Float>, _ gradient: inout MutableSpan<Float>) throws -> R
  ) rethrows -> R {
    guard let rows, rows.count < logits.count else {
      return try logits.withValues { logits in
        try gradient.withMutableValues { gradient in try body(logits, &gradient) }
      }
    }
    let classes = logits.shape.count
    let size = rows.count * classes
    if self.logits.count < size {
      self.logits = [Float](repeating: 0, count: logits.count * classes)
      self.gradient = self.logits
    }
    gather(rows, of: logits, classes)
    let result = try self.logits.withUnsafeBufferPointer { logits in
      try self.gradient.withUnsafeMutableBufferPointer { gradient in
        var slopes = UnsafeMutableBufferPointer(rebasing: gradient[..<size]).mutableSpan
        return try body(UnsafeBufferPointer(rebasing: logits[..<size]).span, &slopes)
      }
    }
    scatter(rows, to: gradient, classes)
    return result
  }

  private mutating func gather(_ rows: [Int32], of logits: Tensor, _ classes: Int) {
    logits.withValues { all in
      all.withUnsafeBufferPointer { all in
        self.logits.withUnsafeMutableBufferPointer { chosen in
          for (index, row) in rows.enumerated() {
            (chosen.baseAddress! + index * classes)
              .update(from: all.baseAddress! + Int(row) * classes, count: classes)
          }
        }
      }
    }
  }

  private func scatter(_ rows: [Int32], to gradient: Tensor, _ classes: Int) {
    gradient.withMutableValues { all in
      all.withUnsafeMutableBufferPointer { all in
        self.gradient.withUnsafeBufferPointer { chosen in
          var next = 0
          for row in 0..<gradient.count {
            let place = all.baseAddress! + row * classes
            if next < rows.count && Int(rows[next]) == row {
              place.update(from: chosen.baseAddress! + next * classes, count: classes)
              next += 1
            } else {
              place.update(repeating: 0, count: classes)
            }
          }
        }
      }
    }
  }
}
