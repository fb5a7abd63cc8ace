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
    rows.takeRows(of: records, ordered: ordered) { write(records, to: $0) }
  }

  /// mean + sum of coefficient * axis, in class order; the mean row is one more axis.
  private func write(_ records: TeacherBatch, to rows: UnsafeMutableBufferPointer<Float>) {
    guard let target = rows.baseAddress else { return }
    let inner = count + 1
    var weights = [Float](repeating: 1, count: records.count * inner)
    for row in 0..<records.count {
      for axis in 0..<count {
        weights[row * inner + axis] = records.coefficients[row * count + axis]
      }
    }
    weights.withUnsafeBufferPointer { weights in
      values.withUnsafeBufferPointer { values in
        guard let weights = weights.baseAddress, let values = values.baseAddress else { return }
        multiply(
          MatrixView(weights, stride: inner), MatrixView(values, stride: classes), into: target,
          rows: records.count, columns: classes, inner: inner)
      }
    }
  }
}
