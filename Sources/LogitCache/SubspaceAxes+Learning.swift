internal import BLAS
import Basics

extension SubspaceAxes {
  /// No calibration holds more numbers, rows x C.
  public static let largestCalibration = 1 << 28

  /// An axis along which rows deviate less than this part of a step has almost no codes but 0
  /// (half a step is four standard deviations): leaving it out changes nothing stored.
  fileprivate static let smallestDeviation = 0.125

  /// Learns the principal axes of calibration rows, and along how many of them a trellis pays.
  ///
  /// Every row's own mean is taken off first, because softmax rows carry a free constant; then the
  /// mean row. With fewer rows than classes the axes come from the matrix of inner products of rows
  /// (m x m), otherwise from that of classes (C x C), both in double precision and in strips, so
  /// beside the rows only the smaller of the two matrices and its workspace are held. Then the axes
  /// are held three times while the trellis is measured, and coefficients and codes of the rows.
  ///
  /// - Parameters:
  ///   - rows: logits [m, C], row-major, finite.
  ///   - classes: C.
  ///   - tail: how many axes at most, and how exactly.
  /// - Throws: `Problem(.configuration)` when there are fewer than two rows or more than
  ///   `largestCalibration` numbers.
  /// - Determinism: the same bits for the same rows, OpenBLAS and core type.
  public init(learning rows: Span<Float>, classes: Int, tail: SubspaceTail) throws {
    let rowCount = rows.count / max(classes, 1)
    precondition(
      classes >= 1 && rows.count == rowCount * classes && tail.step > 0,
      "\(rows.count) calibration logits for \(classes) classes, step \(tail.step)")
    guard rowCount >= 2, rows.count <= SubspaceAxes.largestCalibration else {
      throw Problem(
        .configuration,
        "\(rowCount) calibration rows of \(classes) classes: a subspace tail needs at least 2 and at "
          + "most \(SubspaceAxes.largestCalibration / classes)")
    }
    BLASCore.useOneThread()
    let centred = rows.withUnsafeBufferPointer { CentredRows($0, classes: classes) }
    let axes = try rows.withUnsafeBufferPointer {
      try centred.principalAxes(of: $0, tail)
    }
    self.init(mean: centred.mean, axes: axes, width: tail.axisBytes)
    var projector = SubspaceProjector(self, step: tail.step)
    let coefficients = rows.withUnsafeBufferPointer { projector.coefficients(of: $0) }
    trellisAxes = TrellisChoice(coefficients: coefficients, axes: count, step: tail.step).best()
  }
}

/// Calibration rows without their own means and the mean row.
private struct CentredRows {
  let classes: Int
  let count: Int
  /// The mean of every row.
  private var rowMeans: [Float] = []
  /// The mean row of what is left.
  private(set) var mean: [Float] = []

  /// How many numbers of the rows are in double precision at a time.
  private static let strip = 1 << 20

  init(_ rows: UnsafeBufferPointer<Float>, classes: Int) {
    self.classes = classes
    count = rows.count / classes
    var sums = [Double](repeating: 0, count: classes)
    for row in 0..<count {
      let values = UnsafeBufferPointer(rebasing: rows[row * classes..<(row + 1) * classes])
      let rowMean = Float(values.reduce(0.0) { $0 + Double($1) } / Double(classes))
      rowMeans.append(rowMean)
      for index in 0..<classes { sums[index] += Double(values[index] - rowMean) }
    }
    mean = sums.map { Float($0 / Double(count)) }
  }

  /// The strongest axes as rows of C numbers, of length 1.
  func principalAxes(
    of rows: UnsafeBufferPointer<Float>, _ tail: SubspaceTail
  ) throws -> [Float] {
    let byRows = count <= classes
    let size = min(count, classes)
    var vectors = gram(of: rows, byRows: byRows)
    guard let energies = replaceByEigenvectors(&vectors, size: size) else {
      throw Problem(
        .corrupt, "the principal axes of \(count) calibration rows could not be computed")
    }
    let kept = strongest(energies, tail)
    // Eigenvectors are in ascending order; as floats and, by rows, as weights of unit axes.
    var weights: [Float] = []
    weights.reserveCapacity(kept * size)
    for axis in 0..<kept {
      let place = size - 1 - axis
      let scale = byRows ? 1 / energies[place].squareRoot() : 1
      for index in place * size..<(place + 1) * size {
        weights.append(Float(vectors[index] * scale))
      }
    }
    var axes = byRows ? combine(rows, weights, axes: kept) : weights
    for axis in 0..<kept { fixSign(&axes, axis) }
    return axes
  }

  /// How many axes deviate enough from the mean row to get codes other than 0.
  private func strongest(_ energies: [Double], _ tail: SubspaceTail) -> Int {
    let deviation = Double(tail.step) * SubspaceAxes.smallestDeviation
    let smallest = max(deviation * deviation * Double(count), 1e-12 * (energies.last ?? 0))
    let most = min(
      tail.maximumAxes, Limits.axes, SubspaceAxes.Bounds.values / classes)
    return min(energies.count { $0 >= smallest && $0 > 0 }, most)
  }

  /// Inner products of all rows (m x m) or of all classes (C x C), upper triangle.
  private func gram(of rows: UnsafeBufferPointer<Float>, byRows: Bool) -> [Double] {
    let size = byRows ? count : classes
    var gram = [Double](repeating: 0, count: size * size)
    var strip: [Double] = []
    // By rows, a strip is all rows at some classes; else some rows at all classes.
    let length = byRows ? classes : count
    let step = max(1, CentredRows.strip / size)
    for start in stride(from: 0, to: length, by: step) {
      let part = start..<min(start + step, length)
      let (inRows, inClasses) = byRows ? (0..<count, part) : (part, 0..<classes)
      strip.setCount(inRows.count * inClasses.count, filler: 0)
      fill(&strip, from: rows, inRows, inClasses) { Double($0) }
      addGram(
        of: strip, rows: inRows.count, columns: inClasses.count, transposed: !byRows, to: &gram)
    }
    return gram
  }

  @inline(__always)
  private func fill<Target>(
    _ strip: inout [Target], from rows: UnsafeBufferPointer<Float>, _ inRows: Range<Int>,
    _ inClasses: Range<Int>, _ convert: (Float) -> Target
  ) {
    var place = 0
    mean.withUnsafeBufferPointer { mean in
      strip.withUnsafeMutableBufferPointer { strip in
        for row in inRows {
          let rowMean = rowMeans[row]
          for index in inClasses {
            strip[place] = convert((rows[row &* classes &+ index] - rowMean) - mean[index])
            place &+= 1
          }
        }
      }
    }
  }

  /// Sums of rows: [axes, C] from weights [axes, m].
  private func combine(
    _ rows: UnsafeBufferPointer<Float>, _ weights: [Float], axes: Int
  ) -> [Float] {
    var result = [Float](repeating: 0, count: axes * classes)
    if axes == 0 { return result }
    var (strip, sums): ([Float], [Float]) = ([], [])
    let step = max(1, CentredRows.strip / count)
    for start in stride(from: 0, to: classes, by: step) {
      let part = start..<min(start + step, classes)
      strip.setCount(count * part.count, filler: 0)
      sums.setCount(axes * part.count, filler: 0)
      fill(&strip, from: rows, 0..<count, part) { $0 }
      multiply(
        weights, strip, into: &sums, rows: axes, columns: part.count, inner: count)
      for axis in 0..<axes {
        for index in 0..<part.count {
          result[axis * classes + start + index] = sums[axis * part.count + index]
        }
      }
    }
    return result
  }

  /// Turns an axis so that its largest number in magnitude, the first among equals, is positive.
  private func fixSign(_ axes: inout [Float], _ axis: Int) {
    let range = axis * classes..<(axis + 1) * classes
    var largest: Float = 0
    for index in range where abs(axes[index]) > abs(largest) { largest = axes[index] }
    if largest < 0 { for index in range { axes[index] = -axes[index] } }
  }
}
