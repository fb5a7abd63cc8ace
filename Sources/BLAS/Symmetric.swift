import COpenBLAS

/// G += A A^T, or G += A^T A, in double precision: the upper triangle of G, row-major.
///
/// - Parameters:
///   - a: [rows, columns] row-major.
///   - transposed: false gives G of [rows, rows], true of [columns, columns].
///   - gram: G; entries below the diagonal are left alone.
public func addGram(
  of a: UnsafePointer<Double>, rows: Int, columns: Int, transposed: Bool,
  to gram: UnsafeMutablePointer<Double>
) {
  let size = Int32(transposed ? columns : rows)
  cblas_dsyrk(
    CblasRowMajor, CblasUpper, transposed ? CblasTrans : CblasNoTrans, size,
    Int32(transposed ? rows : columns), 1, a, Int32(columns), 1, gram, size)
}

/// Replaces a symmetric matrix by its eigenvectors, one a row, and returns their eigenvalues,
/// ascending.
///
/// - Parameters:
///   - matrix: [size, size]; only its upper triangle is read.
///   - size: at least 1.
/// - Returns: `nil` when the iteration does not converge, which finite matrices do not cause.
/// - Determinism: the same bits for the same matrix, core type and thread count; an eigenvector's
///   sign is arbitrary.
public func replaceByEigenvectors(_ matrix: inout [Double], size: Int) -> [Double]? {
  precondition(
    size >= 1 && matrix.count == size * size, "\(matrix.count) values for \(size) x \(size)")
  var (order, info) = (blasint(size), blasint(0))
  var values = [Double](repeating: 0, count: size)
  // What LAPACK asks for at least, for eigenvectors.
  var workSize = blasint(1 + 6 * size + 2 * size * size)
  var integerSize = blasint(3 + 5 * size)
  var work = [Double](repeating: 0, count: Int(workSize))
  var integers = [blasint](repeating: 0, count: Int(integerSize))
  // Fortran counts down columns: our upper triangle is its lower one, its columns are our rows.
  dsyevd_(
    "V", "L", &order, &matrix, &order, &values, &work, &workSize, &integers, &integerSize, &info,
    1, 1)
  return info == 0 ? values : nil
}
