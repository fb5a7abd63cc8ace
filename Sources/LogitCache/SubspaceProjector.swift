internal import BLAS
import Basics

/// Turns rows of logits into the integers of a subspace tail.
///
/// The coefficients are those that rebuild a row best from the axes as they are *stored*: with A
/// the stored axes without their means [r, C], they are (A A^T)^-1 A x, so rounding the axes costs
/// only what no coefficient can bring back.
///
/// Integers come from single-precision sums. They repeat on the same OpenBLAS and core type, because
/// the rows of a block are multiplied in strips of fixed length from its first row on, on one
/// thread; another machine may round a value that lies between two steps the other way, and then some
/// codes near it in the trellis.
///
/// Keeps its working memory between blocks; for use by one thread at a time.
package struct SubspaceProjector {
  private let axes: SubspaceAxes
  /// Of one row.
  private var quantiser: SubspaceQuantiser
  /// (A A^T)^-1 A [r, C].
  private let dual: [Float]
  /// The mean of every axis, and of the mean row.
  private let axisMeans: [Double]
  private let levelOfMean: Double
  private var strip: [Float] = []
  private var products: [Float] = []

  /// Rows multiplied at once.
  private let stripRows: Int

  package init(_ axes: SubspaceAxes, step: Float) {
    BLASCore.useOneThread()
    self.axes = axes
    quantiser = SubspaceQuantiser(axes: axes.count, trellisAxes: axes.trellisAxes, step: step)
    let classes = axes.classes
    axisMeans = (0..<axes.count).map { axis in
      SubspaceProjector.sum(axes.values[axis * classes..<(axis + 1) * classes]) / Double(classes)
    }
    levelOfMean = SubspaceProjector.sum(axes.mean[...]) / Double(classes)
    stripRows = min(64, max(1, (1 << 22) / classes))
    dual = SubspaceProjector.dualAxes(axes, axisMeans)
  }

  private static func sum(_ values: ArraySlice<Float>) -> Double {
    values.reduce(0.0) { $0 + Double($1) }
  }

  private static func dualAxes(_ axes: SubspaceAxes, _ means: [Double]) -> [Float] {
    let (count, classes) = (axes.count, axes.classes)
    if count == 0 { return [] }
    var gram = [Double](repeating: 0, count: count * count)
    let length = max(1, (1 << 20) / count)
    for start in stride(from: 0, to: classes, by: length) {
      let part = start..<min(start + length, classes)
      var strip: [Double] = []
      strip.reserveCapacity(count * part.count)
      for axis in 0..<count {
        for index in part {
          strip.append(Double(axes.values[axis * classes + index]) - means[axis])
        }
      }
      addGram(of: strip, rows: count, columns: part.count, transposed: false, to: &gram)
    }
    let inverse = inverted(gram, size: count)
    var centred = Array(axes.values[..<(count * classes)])
    for axis in 0..<count {
      for index in axis * classes..<(axis + 1) * classes { centred[index] -= Float(means[axis]) }
    }
    var dual = [Float](repeating: 0, count: count * classes)
    multiply(inverse, centred, into: &dual, rows: count, columns: classes, inner: count)
    return dual
  }

  /// The inverse of a symmetric matrix; directions in which it is nearly 0 stay 0.
  private static func inverted(_ matrix: [Double], size: Int) -> [Float] {
    var vectors = matrix
    guard let values = replaceByEigenvectors(&vectors, size: size), let largest = values.last
    else { preconditionFailure("the inner products of \(size) axes have no eigenvectors") }
    var weighted = vectors.map { Float($0) }
    for place in 0..<size {
      // Axes have a length of about 1; whatever a file says, the inverse stays finite.
      let smallest = max(1e-6 * largest, 1e-12)
      let factor = values[place] > smallest ? Float(1 / values[place]) : 0
      for index in place * size..<(place + 1) * size { weighted[index] *= factor }
    }
    var inverse = [Float](repeating: 0, count: size * size)
    multiply(
      weighted, vectors.map { Float($0) }, into: &inverse, rows: size, columns: size, inner: size,
      transposingA: true)
    return inverse
  }

  /// Overwrites the columns with the tails of a block's rows.
  ///
  /// - Parameters:
  ///   - rows: logits [rows, C], row-major, in nats.
  ///   - largest: every row's largest logit as stored, in nats.
  ///   - gapStepsPerNat: steps of an offset in a nat.
  package mutating func project(
    _ rows: UnsafeBufferPointer<Float>, largest: (Int) -> Double, gapStepsPerNat: Int,
    into columns: inout SubspaceColumns
  ) {
    let classes = axes.classes
    let count = rows.count / classes
    precondition(
      rows.count == count * classes && columns.axes == axes.count,
      "\(rows.count) logits of \(classes) classes, \(columns.axes) columns for \(axes.count) axes")
    columns.resize(to: count)
    for start in stride(from: 0, to: count, by: stripRows) {
      let part = start..<min(start + stripRows, count)
      let levels = multiplyStrip(rows, part)
      for row in part {
        let level = write(row, from: part.lowerBound, of: count, into: &columns)
        let offset = largest(row) - (levels[row - part.lowerBound] - levelOfMean - level)
        columns.offsets[row] = SubspaceProjector.rounded(offset * Double(gapStepsPerNat))
      }
    }
  }

  /// The best coefficients of rows on the axes as stored [rows, axes], in nats.
  ///
  /// - Parameter rows: logits [rows, C], row-major, in nats.
  mutating func coefficients(of rows: UnsafeBufferPointer<Float>) -> [Float] {
    let count = rows.count / axes.classes
    var coefficients: [Float] = []
    coefficients.reserveCapacity(count * axes.count)
    for start in stride(from: 0, to: count, by: stripRows) {
      let part = start..<min(start + stripRows, count)
      _ = multiplyStrip(rows, part)
      coefficients += products[..<(part.count * axes.count)]
    }
    return coefficients
  }

  /// Overwrites `products` with a strip of rows times the dual axes; returns the rows' means.
  private mutating func multiplyStrip(
    _ rows: UnsafeBufferPointer<Float>, _ part: Range<Int>
  ) -> [Double] {
    strip.setCount(stripRows * axes.classes, filler: 0)
    products.setCount(stripRows * axes.count, filler: 0)
    let levels = centre(rows, part)
    if axes.count > 0 {
      multiply(
        strip, dual, into: &products, rows: part.count, columns: axes.count,
        inner: axes.classes, transposingB: true)
    }
    return levels
  }

  /// Copies rows into the strip without their means and the mean row; returns their means.
  private mutating func centre(
    _ rows: UnsafeBufferPointer<Float>, _ part: Range<Int>
  ) -> [Double] {
    let classes = axes.classes
    return axes.mean.withUnsafeBufferPointer { mean in
      strip.withUnsafeMutableBufferPointer { strip in
        part.map { row in
          let values = UnsafeBufferPointer(rebasing: rows[row * classes..<(row + 1) * classes])
          let level = values.reduce(0.0) { $0 + Double($1) } / Double(classes)
          let start = (row - part.lowerBound) * classes
          let shift = Float(level)
          for index in 0..<classes {
            strip[start &+ index] = (values[index] - shift) - mean[index]
          }
          return level
        }
      }
    }
  }

  /// Quantises a row's coefficients; returns what they add to the row's mean.
  private mutating func write(
    _ row: Int, from first: Int, of rows: Int, into columns: inout SubspaceColumns
  ) -> Double {
    quantiser.quantise(products[(row - first) * axes.count..<(row - first + 1) * axes.count])
    var level = 0.0
    for axis in 0..<axes.count {
      columns.coefficients[axis * rows + row] = quantiser.codes[axis]
      level += Double(quantiser.values[axis]) * axisMeans[axis]
    }
    return level
  }

  /// Rounds half to even; keeps within what is stored.
  private static func rounded(_ steps: Double) -> Int32 {
    let largest = Double(SubspaceColumns.largest)
    return Int32(min(max(steps.rounded(.toNearestOrEven), -largest), largest))
  }
}
