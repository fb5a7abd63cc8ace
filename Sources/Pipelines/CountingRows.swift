import Networks

/// Calls `body` with the rows of a student's logits that count, side by side.
///
/// Losses then see a batch of rows and know nothing of positions: the mean over the batch is the mean over
/// the positions that count. The rows are moved inside the tensors, so nothing is allocated.
///
/// - Parameters:
///   - rows: which of the rows count, ascending; `nil` for all.
///   - logits: the student's, [all rows, classes]; left in disorder unless all rows count.
///   - gradient: overwritten, [all rows, classes]; 0 in the rows that do not count.
///   - body: takes logits [rows, classes] and writes their gradient.
package func withCountingRows<R>(
  _ rows: [Int32]?, of logits: Tensor, gradient: Tensor,
  _ body: (_ logits: Span<Float>, _ gradient: inout MutableSpan<Float>) throws -> R
) rethrows -> R {
  let count = rows?.count ?? logits.count
  let classes = logits.shape.count
  if let rows, count < logits.count { bringForward(rows, of: logits, classes) }
  let result = try logits.withValues { logits in
    try gradient.withMutableValues { gradient in
      var slopes = gradient._mutatingExtracting(0..<count * classes)
      return try body(logits.extracting(0..<count * classes), &slopes)
    }
  }
  if let rows, count < logits.count { bringBack(rows, of: gradient, classes) }
  return result
}

/// Moves rows to the front; no row moves over one that is still to be moved.
private func bringForward(_ rows: [Int32], of tensor: Tensor, _ classes: Int) {
  tensor.withMutableValues { values in
    values.withUnsafeMutableBufferPointer { values in
      guard let base = values.baseAddress else { return }
      for (index, row) in rows.enumerated() where Int(row) != index {
        (base + index * classes).update(from: base + Int(row) * classes, count: classes)
      }
    }
  }
}

/// Moves the first rows to their places, the last one first, and fills the others with 0.
private func bringBack(_ rows: [Int32], of tensor: Tensor, _ classes: Int) {
  tensor.withMutableValues { values in
    values.withUnsafeMutableBufferPointer { values in
      guard let base = values.baseAddress else { return }
      var left = rows.count
      for row in (0..<tensor.count).reversed() {
        let place = base + row * classes
        if left > 0 && Int(rows[left - 1]) == row {
          left -= 1
          if left != row { place.update(from: base + left * classes, count: classes) }
        } else {
          place.update(repeating: 0, count: classes)
        }
      }
    }
  }
}
