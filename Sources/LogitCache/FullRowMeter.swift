import Losses

/// Measures how far a rebuilt full row is from the teacher's: `RowMeter` for records with a
/// subspace tail.
///
/// Works on one row at a time without allocating.
package struct FullRowMeter {
  private let encoding: Encoding
  /// Gaps to the row's largest logit in the rebuilt order: the teacher's, and rebuilt.
  private var gaps: [Double]
  private var rebuiltGaps: [Double]
  /// Probabilities at one temperature times their normaliser.
  private var powers: [Double]
  private var rebuiltPowers: [Double]
  /// The largest gap of the teacher among the classes up to each place behind the head.
  private var furthest: [Double]
  private var labelPlace = 0

  package init(_ encoding: Encoding) {
    self.encoding = encoding
    gaps = Array(repeating: 0, count: encoding.classes)
    rebuiltGaps = gaps
    powers = gaps
    rebuiltPowers = gaps
    furthest = gaps
  }

  /// Takes in a row and measures it into the certificate, at every planned temperature above 1.
  ///
  /// Head order and top-1 are `RowMeter`'s matter: a rebuilt row has the head's.
  ///
  /// - Parameters:
  ///   - row: the teacher's logits [C].
  ///   - rows: rebuilt full rows in the teacher's order (`SubspaceAxes.rebuild`).
  ///   - index: which of them.
  package mutating func measure(
    _ row: UnsafeBufferPointer<Float>, _ rows: borrowing TeacherBatch, _ index: Int,
    into certificate: inout Certificate
  ) {
    precondition(
      rows.isOrdered && rows.k == row.count && row.count == encoding.classes,
      "a rebuilt row of k = \(rows.k) for \(row.count) classes, ordered: \(rows.isOrdered)")
    let largest = load(row, rows, index)
    for place in encoding.temperatures.indices where encoding.temperatures[place].wantsFullRows {
      let temperature = encoding.temperatures[place].value
      measure(
        at: temperature, ratio: storedRatio(rows, index, temperature),
        into: &certificate.atTemperature[place])
    }
    measureEnergy(
      shift: Double(rows.largestLogits[index]) - largest, into: &certificate.mseMissingEnergy)
  }

  /// Returns the row's largest logit.
  private mutating func load(
    _ row: UnsafeBufferPointer<Float>, _ rows: borrowing TeacherBatch, _ index: Int
  ) -> Double {
    let classes = row.count
    let start = index * classes
    let (ids, stored) = (rows.classIDs.span, rows.gaps.span)
    let largest = Double(row[Int(ids[start])])
    let label = rows.labels[index]
    var furthest = 0.0
    for place in 0..<classes {
      let id = ids[unchecked: start &+ place]
      let gap = largest - Double(row[Int(id)])
      gaps[place] = gap
      rebuiltGaps[place] = Double(stored[unchecked: start &+ place])
      if id == label { labelPlace = place }
      if place >= encoding.k && id != label { furthest = max(furthest, gap) }
      self.furthest[place] = furthest
    }
    return largest
  }

  /// log(tail / head) that losses keep; nil when there is no tail.
  private func storedRatio(
    _ rows: borrowing TeacherBatch, _ index: Int, _ temperature: Double
  ) -> Double? {
    guard let anchor = rows.anchor, encoding.k < encoding.classes else { return nil }
    return anchor.logTailRatio(row: index, temperature: Float(temperature))
  }

  /// Gives the rebuilt probabilities behind the head the stored mass.
  ///
  /// - Returns: the sum of all.
  private mutating func anchorTail(to ratio: Double, k: Int) -> Double {
    rebuiltPowers.withUnsafeMutableBufferPointer { powers in
      let head = LaneSum.sum(UnsafeBufferPointer(rebasing: powers[..<k]))
      let tail = LaneSum.sum(UnsafeBufferPointer(rebasing: powers[k...]))
      let wanted = head * exactExpOfEitherSign(ratio)
      let factor = tail > 0 ? wanted / tail : 0
      for place in k..<powers.count { powers[place] *= factor }
      return head + tail * factor
    }
  }

  private mutating func measure(
    at temperature: Double, ratio: Double?, into errors: inout Certificate.AtTemperature
  ) {
    let normaliser = 1 / exponentials(of: gaps, -1 / temperature, into: &powers)
    var rebuiltSum = exponentials(of: rebuiltGaps, -1 / temperature, into: &rebuiltPowers)
    if let ratio { rebuiltSum = anchorTail(to: ratio, k: encoding.k) }
    let rebuiltNormaliser = 1 / rebuiltSum
    let count = Double(gaps.count)
    var (absolute, squared) = (0.0, 0.0)
    var (variance, rebuiltVariance, covariance) = (0.0, 0.0, 0.0)
    for place in 0..<powers.count {
      let p = powers[place] * normaliser
      let rebuilt = rebuiltPowers[place] * rebuiltNormaliser
      absolute += abs(p - rebuilt)
      squared += (p - rebuilt) * (p - rebuilt)
      // Both sum to 1: their means are 1 / C.
      variance += (p - 1 / count) * (p - 1 / count)
      rebuiltVariance += (rebuilt - 1 / count) * (rebuilt - 1 / count)
      covariance += (p - 1 / count) * (rebuilt - 1 / count)
    }
    errors.totalVariation.add(absolute / 2)
    errors.kdGradientError.add(temperature * squared.squareRoot())
    errors.distAngle.add(angle(variance, rebuiltVariance, covariance))
    errors.pldDroppedWeight.add(weightOutOfOrder(temperature, normaliser))
  }

  /// What every class behind the head exceeds the weakest class before it by: 0 in the teacher's
  /// own order.
  private func weightOutOfOrder(_ temperature: Double, _ normaliser: Double) -> Double {
    var sum = 0.0
    for place in encoding.k..<max(powers.count, encoding.k) {
      if place == labelPlace || gaps[place] >= furthest[place] { continue }
      sum += powers[place] - exactExp(-furthest[place] / temperature)
    }
    return max(0, sum * normaliser)
  }

  private func measureEnergy(shift: Double, into statistic: inout ErrorStatistic) {
    let mean = gaps.withUnsafeBufferPointer(LaneSum.sum) / Double(gaps.count)
    let energy = gaps.withUnsafeBufferPointer { LaneSum.squares($0, around: (mean, mean)).0 }
    var error = 0.0
    for place in 0..<gaps.count {
      let difference = shift - rebuiltGaps[place] + gaps[place]
      error += difference * difference
    }
    let step = 1 / Double(encoding.stepsPerNat)
    statistic.add(error / max(energy, Double(gaps.count) * step * step))
  }

  /// 1 - correlation, as `RowMeter` has it.
  private func angle(_ variance: Double, _ rebuilt: Double, _ covariance: Double) -> Double {
    if variance < 1e-24 { return 0 }
    if rebuilt < 1e-24 { return 1 }
    return max(0, 1 - covariance / (variance * rebuilt).squareRoot())
  }

  private func exponentials(
    of source: [Double], _ scale: Double, into target: inout [Double]
  ) -> Double {
    source.withUnsafeBufferPointer { source in
      target.withUnsafeMutableBufferPointer {
        LaneSum.exponentials(of: source, scale: scale, in: $0)
      }
    }
  }
}
