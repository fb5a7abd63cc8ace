import BLAS
import Basics
import Foundation

/// A student as training makes one: the teacher's logits and an error of the teacher's own kind.
///
/// The error of a row is normal noise along the 64 main directions of the teacher's rows, spread along each as the
/// rows are, and white noise a tenth as large. Both are scaled by one factor, so that
/// a given share of the rows keeps its best class.
struct NoisyStudent {
  /// Logits [rows, C].
  private(set) var logits: [Float]
  /// The share of the rows whose best class is the teacher's.
  private(set) var agreement = 1.0
  /// The root mean square of the error, in nats.
  private(set) var distance = 0.0

  private static let directions = 64
  private static let whiteShare: Float = 0.1

  /// - Parameters:
  ///   - teacher: logits of the rows that the student sees [count, C].
  ///   - wanted: the share that keeps its best class.
  init(
    teacher: [Float], count: Int, rows: TeacherRows, agreement wanted: Double, seed: UInt64
  ) {
    var generator = SplitMix64(seed: seed)
    let noise = Self.noise(rows, count: count, &generator)
    let classes = rows.classes
    let best = (0..<count).map { Self.best(of: teacher, row: $0, classes) { teacher[$0] } }
    func agreement(at factor: Float) -> Double {
      let kept = (0..<count).count { row in
        best[row] == Self.best(of: teacher, row: row, classes) { teacher[$0] + factor * noise[$0] }
      }
      return Double(kept) / Double(count)
    }
    var (low, high) = (Float(0), Float(1))
    while agreement(at: high) > wanted { high *= 2 }
    for _ in 0..<20 {
      let middle = (low + high) / 2
      if agreement(at: middle) > wanted { low = middle } else { high = middle }
    }
    logits = zip(teacher, noise).map { $0 + high * $1 }
    self.agreement = agreement(at: high)
    distance = Double(high) * rootMeanSquare(noise)
  }

  private static func best(
    of teacher: [Float], row: Int, _ classes: Int, _ value: (Int) -> Float
  ) -> Int {
    var (best, largest) = (0, -Float.infinity)
    for index in row * classes..<(row + 1) * classes {
      let candidate = value(index)
      if candidate > largest { (best, largest) = (index, candidate) }
    }
    return best
  }

  /// [count, C].
  private static func noise(
    _ rows: TeacherRows, count: Int, _ generator: inout SplitMix64
  ) -> [Float] {
    let directions = mainDirections(rows, &generator)
    let weights = (0..<count * Self.directions).map { _ in normal(&generator) }
    var noise = product(
      weights, directions, rows: count, columns: rows.classes, inner: Self.directions)
    let white = whiteShare * Float(rootMeanSquare(noise))
    for index in noise.indices { noise[index] += white * normal(&generator) }
    return noise
  }

  /// Directions [64, C]: a standard normal combination of them has the covariance of the teacher's
  /// rows within the space of its 64 largest principal axes.
  private static func mainDirections(
    _ rows: TeacherRows, _ generator: inout SplitMix64
  ) -> [Float] {
    let classes = rows.classes
    let count = min(1024, rows.count)
    let sample = centred(rows, count)
    // Block power iteration on the rows' Gram matrix: any basis of the space will do.
    let gram = product(
      sample, sample, rows: count, columns: count, inner: classes, transposesB: true)
    var basis = (0..<count * directions).map { _ in normal(&generator) }  // [64, count]
    for _ in 0..<20 {
      basis = product(basis, gram, rows: directions, columns: count, inner: count)
      orthonormalise(&basis, rows: directions)
    }
    let scale = 1 / Float(count).squareRoot()
    return product(basis, sample, rows: directions, columns: classes, inner: count)
      .map { $0 * scale }
  }

  /// Rows from all over the teacher's, each without its mean, and without the mean row.
  private static func centred(_ rows: TeacherRows, _ count: Int) -> [Float] {
    let classes = rows.classes
    var sample: [Float] = []
    sample.reserveCapacity(count * classes)
    var meanRow = [Float](repeating: 0, count: classes)
    for index in 0..<count {
      let row = rows.copy(row: index * rows.count / count)
      let mean = row.reduce(0, +) / Float(classes)
      for c in 0..<classes {
        sample.append(row[c] - mean)
        meanRow[c] += (row[c] - mean) / Float(count)
      }
    }
    for index in 0..<count {
      for c in 0..<classes { sample[index * classes + c] -= meanRow[c] }
    }
    return sample
  }

  /// Gram and Schmidt, twice for accuracy.
  private static func orthonormalise(_ basis: inout [Float], rows: Int) {
    let width = basis.count / rows
    func dot(_ a: Int, _ b: Int) -> Float {
      (0..<width).reduce(0) { $0 + basis[a * width + $1] * basis[b * width + $1] }
    }
    for row in 0..<rows {
      for _ in 0..<2 {
        for other in 0..<row {
          let share = dot(row, other)
          for i in 0..<width { basis[row * width + i] -= share * basis[other * width + i] }
        }
        let length = dot(row, row).squareRoot()
        for i in 0..<width { basis[row * width + i] /= length }
      }
    }
  }

  /// A B, with A [rows, inner] and B [inner, columns], or B [columns, inner] transposed.
  private static func product(
    _ a: [Float], _ b: [Float], rows: Int, columns: Int, inner: Int, transposesB: Bool = false
  ) -> [Float] {
    var result = [Float](repeating: 0, count: rows * columns)
    a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in
        result.withUnsafeMutableBufferPointer {
          multiply(
            MatrixView(a.baseAddress!, stride: inner),
            MatrixView(
              b.baseAddress!, stride: transposesB ? inner : columns, transposed: transposesB),
            into: $0.baseAddress!, rows: rows, columns: columns, inner: inner)
        }
      }
    }
    return result
  }
}

private func rootMeanSquare(_ values: [Float]) -> Double {
  (values.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(values.count)).squareRoot()
}
