import COpenBLAS

/// A row-major matrix operand: where it starts, the distance between rows, and how it is read.
public struct MatrixView {
  let base: UnsafePointer<Float>
  let stride: Int32
  let transpose: CBLAS_TRANSPOSE

  /// Reads memory at `base` as rows of `stride` floats.
  public init(_ base: UnsafePointer<Float>, stride: Int, transposed: Bool = false) {
    self.base = base
    self.stride = Int32(stride)
    transpose = transposed ? CblasTrans : CblasNoTrans
  }
}

/// C = A B, or C += A B, with single-precision row-major matrices.
///
/// - Parameters:
///   - a: [rows, inner] after its transposition.
///   - b: [inner, columns] after its transposition.
///   - c: [rows, columns], rows `columns` apart.
///   - accumulate: whether C is added to or overwritten.
/// - Determinism: the same bits for the same shape, core type and thread count.
public func multiply(
  _ a: MatrixView, _ b: MatrixView, into c: UnsafeMutablePointer<Float>, rows: Int, columns: Int,
  inner: Int, accumulate: Bool = false
) {
  cblas_sgemm(
    CblasRowMajor, a.transpose, b.transpose, Int32(rows), Int32(columns), Int32(inner), 1,
    a.base, a.stride, b.base, b.stride, accumulate ? 1 : 0, c, Int32(columns))
}

/// C = A B with whole arrays, row-major and without padding.
///
/// - Parameters:
///   - a: [rows, inner], or [inner, rows] when `transposingA`.
///   - b: [inner, columns], or [columns, inner] when `transposingB`.
///   - c: [rows, columns], overwritten; all three may be longer.
public func multiply(
  _ a: [Float], _ b: [Float], into c: inout [Float], rows: Int, columns: Int, inner: Int,
  transposingA: Bool = false, transposingB: Bool = false
) {
  precondition(
    a.count >= rows * inner && b.count >= inner * columns && c.count >= rows * columns,
    "arrays of \(a.count), \(b.count), \(c.count) for [\(rows), \(inner)] x [\(inner), \(columns)]")
  a.withUnsafeBufferPointer { a in
    b.withUnsafeBufferPointer { b in
      c.withUnsafeMutableBufferPointer { c in
        guard let a = a.baseAddress, let b = b.baseAddress, let c = c.baseAddress else { return }
        multiply(
          MatrixView(a, stride: transposingA ? rows : inner, transposed: transposingA),
          MatrixView(b, stride: transposingB ? inner : columns, transposed: transposingB),
          into: c, rows: rows, columns: columns, inner: inner)
      }
    }
  }
}
