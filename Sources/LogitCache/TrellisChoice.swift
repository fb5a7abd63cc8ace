/// Along how many axes a trellis pays: measured on calibration rows, as orders of classes are.
///
/// A trellis errs less and, along axes whose codes are mostly 0, takes more bits: every second grid
/// has no 0. The two are weighed by what finer steps without a trellis would pay for the same error.
package struct TrellisChoice {
  private let coefficients: [Float]
  private let axes: Int
  private let step: Float

  /// Bits and squared error of codes, all rows together.
  private struct Cost {
    var bits = 0.0
    var error = 0.0

    static func sum(_ costs: some Sequence<Cost>) -> Cost {
      costs.reduce(into: Cost()) {
        $0.bits += $1.bits
        $0.error += $1.error
      }
    }
  }

  /// - Parameters:
  ///   - coefficients: of calibration rows on the axes as stored [rows, axes], in nats.
  ///   - axes: of a row.
  ///   - step: in nats.
  package init(coefficients: [Float], axes: Int, step: Float) {
    self.coefficients = coefficients
    self.axes = axes
    self.step = step
  }

  /// The best number of axes, from the first on, in whole groups: codes of a group share a plane,
  /// and those of both kinds in one plane take more bits than in two.
  package func best() -> Int {
    let rounded = costs(step, upTo: axes, isTrellis: false)
    guard let price = price(rounded) else { return 0 }
    var (most, best) = (0.0, 0)
    // The first two states are even: a trellis of two axes is rounding.
    for (index, group) in ColumnGroups.ranges(axes).enumerated() where group.upperBound > 2 {
      let plain = Cost.sum(rounded[...index])
      let coded = Cost.sum(costs(step, upTo: group.upperBound, isTrellis: true))
      let saved = plain.bits - coded.bits + price * (plain.error - coded.error)
      if saved > most { (most, best) = (saved, group.upperBound) }
    }
    return best
  }

  /// Bits that a unit of squared error is worth: what a tenth finer step pays for it.
  private func price(_ rounded: [Cost]) -> Double? {
    let finer = Cost.sum(costs(0.9 * step, upTo: axes, isTrellis: false))
    let (bits, error) = (
      finer.bits - Cost.sum(rounded).bits, Cost.sum(rounded).error - finer.error
    )
    return bits > 0 && error > 0 ? bits / error : nil
  }

  /// What each group of the first `count` axes costs, in records without any others.
  private func costs(_ step: Float, upTo count: Int, isTrellis: Bool) -> [Cost] {
    let rows = coefficients.count / max(axes, 1)
    let trellisAxes = isTrellis ? count : 0
    var quantiser = SubspaceQuantiser(axes: count, trellisAxes: trellisAxes, step: step)
    var columns = SubspaceColumns(axes: count, trellisAxes: trellisAxes)
    columns.resize(to: rows)
    var errors = [Double](repeating: 0, count: count)
    for row in 0..<rows {
      let exact = coefficients[row * axes..<row * axes + count]
      quantiser.quantise(exact)
      for axis in 0..<count {
        columns.coefficients[axis * rows + row] = quantiser.codes[axis]
        let error = Double(quantiser.values[axis] - exact[exact.startIndex + axis])
        errors[axis] += error * error
      }
    }
    return ColumnGroups.ranges(count).map { group in
      let bits = columns.folded(group).withUnsafeBufferPointer { WrittenPlane.smallest($0).bits }
      return Cost(bits: Double(bits), error: errors[group].reduce(0, +))
    }
  }
}
