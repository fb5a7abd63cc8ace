/// Bounds the error of records made from sparse rows, whose classes outside the head nobody knows.
///
/// Known are the head's probabilities, the tail's mass M, the label's probability, and that no class of the tail is
/// more probable than the last of the head. Errors are worst over all tails that fit:
///
/// - total variation and KD's gradient error are convex in the tail's probabilities, so they are largest where as
///   many classes as M allows have the probability of the last one of the head, one has the rest, the others none;
/// - DIST's angle falls with the covariance, to which only M matters, as the stored tail is even; and it grows with the
///   variance, largest for that same tail;
/// - PLD's dropped weight is M without the label: known;
/// - the tail's logits may lie as low as they like: with t the row, t' the record, c the logit of an even tail and
///   u the tail, |t - t'| <= |head, c - t'| + |u - c|, and |u - c|^2 is at most C / k of the row's energy.
///
/// First class and order are what the rows say. Rounding of the log-sum-exp is added to each.
struct SparseBounds {
  private let encoding: Encoding
  private let tailClasses: Int
  /// Probabilities of the head: true, and as stored.
  private var head: [Double]
  private var storedHead: [Double]

  init(_ encoding: Encoding) {
    self.encoding = encoding
    tailClasses = encoding.classes - encoding.k
    head = Array(repeating: 0, count: encoding.k)
    storedHead = head
  }

  /// The tail with the largest error: `full` classes with probability `cap`, one with `rest`, `empty` with none.
  private struct WorstTail {
    var full = 0.0
    var cap = 0.0
    var rest = 0.0
    var hasRest = false
    var empty = 0.0

    init(mass: Double, classes: Int, cap: Double) {
      guard classes > 0 else { return }
      self.cap = max(cap, mass / Double(classes))
      full = self.cap > 0 ? min((mass / self.cap).rounded(.down), Double(classes)) : 0
      rest = max(0, mass - full * self.cap)
      hasRest = full < Double(classes)
      empty = Double(classes) - full - (hasRest ? 1 : 0)
    }

    func sum(_ term: (Double) -> Double) -> Double {
      full * (full > 0 ? term(cap) : 0) + (hasRest ? term(rest) : 0) + empty * term(0)
    }
  }

  /// Adds the bounds of record `index` of the columns, made from `row`.
  mutating func measure(
    _ row: SparseMeter.Row, _ columns: RecordColumns, _ index: Int, _ rows: SparseRows,
    into certificate: inout Certificate
  ) {
    for t in encoding.temperatures.indices {
      measure(row, columns, index, rows, t, into: &certificate.atTemperature[t])
    }
    measureEnergy(row, columns, index, rows, into: &certificate.mseMissingEnergy)
    certificate.topOneAgreements += 1
    certificate.orderAgreements += 1
  }

  private mutating func measure(
    _ row: SparseMeter.Row, _ columns: RecordColumns, _ index: Int, _ rows: SparseRows, _ t: Int,
    into errors: inout Certificate.AtTemperature
  ) {
    let temperature = encoding.temperatures[t].value
    let tail = load(row, columns, index, rows, temperature)
    let worst = tail.worst(cap: head[encoding.k - 1])
    var absolute = worst.sum { abs($0 - tail.even) } + tail.outsideLabel { abs($0 - tail.even) }
    var squared =
      worst.sum { ($0 - tail.even) * ($0 - tail.even) }
      + tail.outsideLabel { ($0 - tail.even) * ($0 - tail.even) }
    var (power, storedPower, product) = (0.0, 0.0, 0.0)
    for (p, stored) in zip(head, storedHead) {
      absolute += abs(p - stored)
      squared += (p - stored) * (p - stored)
      power += p * p
      storedPower += stored * stored
      product += p * stored
    }
    errors.totalVariation.add(min(1, absolute / 2 + 2 * tail.slack))
    errors.kdGradientError.add(temperature * (squared.squareRoot() + 4 * tail.slack))
    errors.pldDroppedWeight.add(min(1, max(0, tail.mass - tail.label) + tail.slack))
    power += tail.outsideLabel { $0 * $0 }
    let mean = 1 / Double(encoding.classes)  // of both: they sum to 1
    errors.distAngle.add(
      angle(
        largest: power + worst.sum { $0 * $0 } - mean, smallest: power + tail.evenPower - mean,
        stored: storedPower + Double(tailClasses) * tail.even * tail.even - mean,
        covariance: product + tail.mass * tail.even - mean, slack: tail.slack))
  }

  /// What is known of a tail at one temperature, as probabilities.
  private struct Tail {
    var mass = 0.0
    /// How far the mass may be off.
    var slack = 0.0
    /// The probability of each class as stored.
    var even = 0.0
    /// The label's, when the head does not name it.
    var label = 0.0
    var hasLabel: Bool
    /// Classes without the label.
    var others: Int

    func worst(cap: Double) -> WorstTail {
      WorstTail(mass: mass - label, classes: others, cap: cap)
    }

    func outsideLabel(_ term: (Double) -> Double) -> Double { hasLabel ? term(label) : 0 }

    /// The least sum of squares that the other classes can have.
    var evenPower: Double { (mass - label) * (mass - label) / Double(max(1, others)) }
  }

  /// Fills in the head's probabilities, and returns the tail's.
  private mutating func load(
    _ row: SparseMeter.Row, _ columns: RecordColumns, _ index: Int, _ rows: SparseRows,
    _ temperature: Double
  ) -> Tail {
    var (sum, storedSum) = (0.0, 0.0)
    for rank in 0..<encoding.k {
      let gap = Double(row.largest) - Double(rows.logits[row.place.lowerBound + rank])
      let level = Double(columns.levels[rank * columns.rows + index])
      head[rank] = exactExp(-gap / temperature)
      storedHead[rank] = exactExp(-level / Double(encoding.stepsPerNat) / temperature)
      sum += head[rank]
      storedSum += storedHead[rank]
    }
    let isOutside = row.labelRank >= encoding.k
    var tail = Tail(hasLabel: isOutside, others: tailClasses - (isOutside ? 1 : 0))
    if tailClasses > 0 {
      // Only at T = 1: other temperatures are planned without a tail.
      let storedTail = storedSum * exactExpOfEitherSign(ratio(columns, index))
      sum += row.tailSum
      storedSum += storedTail
      tail.mass = row.tailSum / sum
      tail.slack = row.slack / sum
      tail.even = storedTail / storedSum / Double(tailClasses)
    }
    if isOutside {
      let power = exactExp(Double(row.labelLogit) - Double(row.largest))
      tail.label = min(tail.mass, power / sum)
    }
    for rank in 0..<encoding.k {
      head[rank] /= sum
      storedHead[rank] /= storedSum
    }
    return tail
  }

  /// 1 - correlation for the worst variance of the row between `smallest` and `largest`.
  private func angle(
    largest: Double, smallest: Double, stored: Double, covariance: Double, slack: Double
  ) -> Double {
    if largest < 1e-24 { return 0 }
    if stored < 1e-24 { return 1 }
    if smallest < 1e-24 { return 2 }
    let variance = covariance > 0 ? largest : smallest
    let angle = max(0, 1 - covariance / (variance * stored).squareRoot())
    // 2 (1 - r) is the squared distance of rows of length 1, each off by at most twice its error over its length.
    let shift = 8 * slack / smallest.squareRoot()
    let root = (2 * angle).squareRoot() + shift
    return min(2, root * root / 2)
  }

  private func measureEnergy(
    _ row: SparseMeter.Row, _ columns: RecordColumns, _ index: Int, _ rows: SparseRows,
    into statistic: inout ErrorStatistic
  ) {
    let (k, classes) = (Double(encoding.k), Double(encoding.classes))
    let step = 1 / Double(encoding.stepsPerNat)
    let shift =
      Double(columns.largest[index]) / Double(encoding.largestStepsPerNat) - Double(row.largest)
    var (error, sum, storedSum) = (0.0, 0.0, 0.0)
    let gaps = rows.logits[row.place].prefix(encoding.k).map { Double(row.largest) - Double($0) }
    for (rank, gap) in gaps.enumerated() {
      let stored = Double(columns.levels[rank * columns.rows + index]) * step
      error += (shift - stored + gap) * (shift - stored + gap)
      sum += gap
      storedSum += exactExp(-stored)
    }
    let mean = sum / k
    var energy = gaps.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    let floor = classes * step * step
    guard tailClasses > 0 else { return statistic.add(error / max(energy, floor)) }
    let count = Double(tailClasses)
    // Logits relative to the largest: of an even tail of the most mass there can be, and of the stored tail.
    let even = min(exactLog((row.tailSum + row.slack) / count), -mean)
    let stored = shift + ratio(columns, index) + exactLog(storedSum) - exactLog(count)
    error += count * (stored - even) * (stored - even)
    energy += k * count / classes * (-mean - even) * (-mean - even)
    let root = (classes / k).squareRoot() + (error / max(energy, floor)).squareRoot()
    statistic.add(root * root)
  }

  /// The stored log(tail / head) at T = 1.
  private func ratio(_ columns: RecordColumns, _ index: Int) -> Double {
    Double(columns.tails[index]) / Double(encoding.tailStepsPerNat)
  }
}
