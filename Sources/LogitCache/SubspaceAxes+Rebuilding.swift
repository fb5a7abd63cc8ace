internal import BLAS
public import Losses

extension SubspaceAxes {
  /// Rebuilds the full rows of records with a subspace tail: one matrix product, then the head and
  /// the label, which are stored exactly, over it.
  ///
  /// - Parameters:
  ///   - records: with coefficients on these axes.
  ///   - rows: overwritten; made by `TeacherBatch.fullRows(of:)`.
  ///   - ordered: whether losses will need the classes in the teacher's order
  ///     (`LossRequirements.order`), which costs a sort of every row.
  /// - Precondition: classes and axes fit.
  /// - Determinism: the same bits for the same batch, OpenBLAS and core type.
  public func rebuild(
    _ records: TeacherBatch, into rows: inout TeacherBatch, ordered: Bool
  ) {
    precondition(
      records.classes == classes && records.axes == count,
      "records of \(records.classes) classes, \(records.axes ?? 0) axes; these are \(count) axes of "
        + "\(classes) classes")
    rows.takeRows(of: records, ordered: ordered) { gaps in
      writeGaps(of: records, to: gaps)
    }
  }

  /// gap = offset - mean - sum of coefficient * axis, in class order.
  private func writeGaps(
    of records: TeacherBatch, to gaps: UnsafeMutableBufferPointer<Float>
  ) {
    guard let base = gaps.baseAddress else { return }
    mean.withUnsafeBufferPointer { mean in
      for row in 0..<records.count {
        let offset = records.rowOffsets[row]
        let target = base + row &* classes
        for index in 0..<mean.count { target[index] = offset - mean[index] }
      }
    }
    if count == 0 { return }
    let weights = records.coefficients.map { -$0 }
    weights.withUnsafeBufferPointer { weights in
      values.withUnsafeBufferPointer { values in
        guard let weights = weights.baseAddress, let values = values.baseAddress else { return }
        multiply(
          MatrixView(weights, stride: count), MatrixView(values, stride: classes), into: base,
          rows: records.count, columns: classes, inner: count, accumulate: true)
      }
    }
  }
}
