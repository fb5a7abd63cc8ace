/// How far apart a record and the one derived from it are, as readers rebuild them: head probabilities
/// from gaps, the tail's mass from its ratio, spread evenly.
///
/// Costs O(k): all classes outside the source's head are alike.
struct RecordDistance {
  /// Distances at one temperature.
  struct AtTemperature {
    /// Half of sum |m - d|.
    var totalVariation = 0.0
    /// L2 distance.
    var euclidean = 0.0
    /// 1 - correlation; rows that are constant as in `RowMeter`.
    var angle = 0.0
    /// m's mass of the classes that left the head, the label apart.
    var massLeft = 0.0
    /// m's mass of the classes outside its own head.
    var tailMass = 0.0
    /// |m - mean m|.
    var length = 0.0
  }

  private let source: Encoding
  private let target: Encoding
  /// Gaps of m's head and of d's head in nats.
  private var gaps: [Double] = []
  private var derivedGaps: [Double] = []
  private var logTailRatios: [Double] = []
  private var derivedRatios: [Double] = []
  /// Classes that left the head and are not the label, by rank.
  private var isLeft: [Bool] = []
  /// The gaps that all tail classes have, at the temperature measured last.
  private var tailGap = 0.0
  private var derivedTailGap = 0.0
  private var tailClasses = 0

  init(_ source: Encoding, _ target: Encoding) {
    self.source = source
    self.target = target
  }

  mutating func load(_ row: RecordDerivation.Row, _ columns: RecordColumns, _ index: Int) {
    let (step, derivedStep) = (1 / Double(source.stepsPerNat), 1 / Double(target.stepsPerNat))
    gaps = row.levels.map { Double($0) * step }
    derivedGaps = (0..<target.k).map {
      Double(columns.levels[$0 * columns.rows + index]) * derivedStep
    }
    logTailRatios = row.logTailRatios
    derivedRatios = (0..<columns.temperatures).map {
      Double(columns.tails[$0 * columns.rows + index]) / Double(target.tailStepsPerNat)
    }
    isLeft = row.ids.indices.map { $0 >= target.k && row.ids[$0] != row.label }
    tailClasses = target.classes - gaps.count
  }

  /// Compares the loaded record with its derived one at a planned temperature.
  mutating func measure(_ t: Int) -> AtTemperature {
    let temperature = target.temperatures[t].value
    let (head, tail, tailGap) = rebuild(
      gaps, logTailRatios.isEmpty ? nil : logTailRatios[t], tailClasses, temperature)
    let (derived, derivedTail, derivedGap) = rebuild(
      derivedGaps, derivedRatios.isEmpty ? nil : derivedRatios[t], target.classes - target.k,
      temperature)
    self.tailGap = tailGap
    derivedTailGap = derivedGap
    var result = AtTemperature()
    var moments = Moments(mean: 1 / Double(target.classes))
    for rank in head.indices {
      let other = rank < derived.count ? derived[rank] : derivedTail
      moments.add(head[rank], other, 1)
      if isLeft[rank] { result.massLeft += head[rank] }
    }
    moments.add(tail, derivedTail, Double(tailClasses))
    result.tailMass = tail * Double(tailClasses)
    result.totalVariation = moments.absolute / 2
    result.euclidean = moments.squared.squareRoot()
    result.length = moments.variance.squareRoot()
    result.angle = moments.angle
    return result
  }

  /// Probabilities of the head and of each tail class, and the gap that the latter stands for.
  private func rebuild(
    _ gaps: [Double], _ logTailRatio: Double?, _ tailClasses: Int, _ temperature: Double
  ) -> (head: [Double], tail: Double, tailGap: Double) {
    var head = gaps.map { exactExp(-$0 / temperature) }
    let sum = head.reduce(0, +)
    guard let ratio = logTailRatio else {
      for rank in head.indices { head[rank] /= sum }
      return (head, 0, 0)
    }
    let tailMass = ratio <= 0 ? exactExp(ratio) / (1 + exactExp(ratio)) : 1 / (1 + exactExp(-ratio))
    for rank in head.indices { head[rank] *= (1 - tailMass) / sum }
    let count = Double(tailClasses)
    return (head, tailMass / count, -temperature * (ratio + exactLog(sum) - exactLog(count)))
  }

  /// The squared distance of the logits, and the length of m's after centring; call it after the highest
  /// temperature, whose tail constant the logits of tail classes are.
  func logits() -> (squared: Double, length: Double) {
    let count = Double(tailClasses)
    var squared = 0.0
    var sum = 0.0
    for rank in gaps.indices {
      let difference = gaps[rank] - (rank < derivedGaps.count ? derivedGaps[rank] : derivedTailGap)
      squared += difference * difference
      sum += gaps[rank]
    }
    let mean = (sum + count * tailGap) / Double(target.classes)
    var energy = count * (tailGap - mean) * (tailGap - mean)
    for gap in gaps { energy += (gap - mean) * (gap - mean) }
    squared += count * (tailGap - derivedTailGap) * (tailGap - derivedTailGap)
    return (squared, energy.squareRoot())
  }

  /// Sums over classes of two distributions.
  private struct Moments {
    let mean: Double
    var absolute = 0.0
    var squared = 0.0
    var variance = 0.0
    var derivedVariance = 0.0
    var covariance = 0.0

    init(mean: Double) { self.mean = mean }

    mutating func add(_ p: Double, _ q: Double, _ count: Double) {
      absolute += count * abs(p - q)
      squared += count * (p - q) * (p - q)
      variance += count * (p - mean) * (p - mean)
      derivedVariance += count * (q - mean) * (q - mean)
      covariance += count * (p - mean) * (q - mean)
    }

    /// A constant row has no direction: two of them are alike, one is as far as can be measured.
    var angle: Double {
      let isConstant = (variance < 1e-24, derivedVariance < 1e-24)
      if isConstant.0 { return isConstant.1 ? 0 : 2 }
      if isConstant.1 { return 1 }
      return max(0, 1 - covariance / (variance * derivedVariance).squareRoot())
    }
  }
}
