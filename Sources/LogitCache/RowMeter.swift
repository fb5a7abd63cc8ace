import Losses

/// Computes tail ratios from a full row and measures how far the stored record is from it.
///
/// Sums are in Double, in the log domain relative to the largest logit of the head and of the tail:
/// the tail's mass is never 1 - sum p. Works on one row at a time without allocating.
///
/// exp(x / T) is the square of exp(x / 2T), so temperatures in ratio 2 share one exponential a class: the highest
/// of them is measured first. Every squaring doubles the exponentials' relative error of 2e-14.
struct RowMeter {
  private let encoding: Encoding
  /// The order in which temperatures are measured, and whether each squares the exponentials of the one before.
  private let steps: [(temperature: Int, squares: Bool)]
  /// The tail ratios of the measured row in steps, by temperature; 0 when there is no tail.
  private(set) var ratios: [Int32]
  /// Head gaps of the row: true, and as stored.
  private var gaps: [Double]
  private var storedGaps: [Double]
  /// Probabilities of the head times their normaliser: true, and as stored.
  private var head: [Double]
  private var storedHead: [Double]
  /// Tail logits minus the largest of them, and their exponentials at one temperature.
  private var tail: [Double]
  private var powers: [Double]
  /// 1 for classes of the head.
  private var inHead: [UInt8]
  /// With a ranking: which entry of the tail each class behind the head is, in the teacher's order, and
  /// log((rank + 1) / k) of each.
  private var ranked: [Int] = []
  private var logRanks: [Double] = []
  private let weights: RankedWeights
  /// The entry of the tail that each class is [C].
  private var places: [Int] = []
  private var largest = 0.0
  private var largestTail = 0.0
  /// The tail constant that the highest temperature implies, as a gap to the largest logit.
  private var tailConstant = 0.0

  init(_ encoding: Encoding) {
    self.encoding = encoding
    steps = Self.steps(encoding.temperatures)
    ratios = Array(repeating: 0, count: encoding.temperatures.count)
    gaps = Array(repeating: 0, count: encoding.k)
    storedGaps = gaps
    head = gaps
    storedHead = gaps
    tail = Array(repeating: 0, count: encoding.classes - encoding.k)
    powers = tail
    inHead = Array(repeating: 0, count: encoding.classes)
    weights = RankedWeights(k: encoding.k, classes: encoding.classes)
    if encoding.ranking != nil {
      logRanks = (encoding.k..<encoding.classes).map {
        exactLog(Double($0 + 1) / Double(encoding.k))
      }
      ranked = Array(repeating: 0, count: tail.count)
      places = Array(repeating: 0, count: encoding.classes)
    }
  }

  /// Takes in the order of a loaded row's classes behind the head, when the encoding keeps it.
  mutating func loadRanking(_ order: ArraySlice<UInt32>, head ids: ArraySlice<UInt32>) {
    for id in ids { inHead[Int(id)] = 1 }
    var filled = 0
    for id in 0..<places.count where inHead[id] == 0 {
      places[id] = filled
      filled += 1
    }
    for id in ids { inHead[Int(id)] = 0 }
    for (rank, id) in order.enumerated() { ranked[rank] = places[Int(id)] }
  }

  /// From the highest temperature down: each that is not half of another, then its halves.
  private static func steps(_ temperatures: [Temperature]) -> [(Int, Bool)] {
    var steps: [(Int, Bool)] = []
    for index in temperatures.indices.reversed()
    where !temperatures.contains(where: { $0.value == 2 * temperatures[index].value }) {
      steps.append((index, false))
      var half = temperatures[index].value / 2
      while let next = temperatures.firstIndex(where: { $0.value == half }) {
        steps.append((next, true))
        half /= 2
      }
    }
    return steps
  }

  /// What the meter needs to know of one record.
  struct Record {
    /// The row's largest logit as stored, in nats.
    var storedLargest: Double
    /// The label's gap, and whether the head has it.
    var labelGap: Double
    var labelInHead: Bool
    /// The label's rank in the full order.
    var labelRank: Int
  }

  /// Takes in a row: its head's gaps and its tail.
  ///
  /// - Parameter level: the stored gap of a rank in steps.
  mutating func load(
    _ row: UnsafeBufferPointer<Float>, head ids: ArraySlice<UInt32>, level: (Int) -> UInt32
  ) {
    largest = Double(row[Int(ids[0])])
    let step = 1 / Double(encoding.stepsPerNat)
    for rank in 0..<ids.count {
      gaps[rank] = largest - Double(row[Int(ids[rank])])
      storedGaps[rank] = Double(level(rank)) * step
    }
    if !tail.isEmpty { loadTail(row, ids) }
  }

  private mutating func loadTail(_ row: UnsafeBufferPointer<Float>, _ ids: ArraySlice<UInt32>) {
    for id in ids { inHead[Int(id)] = 1 }
    inHead.withUnsafeBufferPointer { inHead in
      var largest = -Float.infinity
      var start = 0
      while start < row.count {
        let end = firstMark(inHead, from: start)
        largest = max(largest, largestValue(row, start..<end))
        start = end + 1
      }
      let offset = Double(largest)
      tail.withUnsafeMutableBufferPointer { tail in
        var (start, filled) = (0, 0)
        while start < row.count {
          let end = firstMark(inHead, from: start)
          for index in 0..<end - start {
            tail[filled &+ index] = Double(row[start &+ index]) - offset
          }
          filled &+= end - start
          start = end + 1
        }
      }
      largestTail = offset
    }
    for id in ids { inHead[Int(id)] = 0 }
  }

  /// Measures the loaded row at every planned temperature, and fills `ratios`.
  mutating func measure(_ record: Record, into certificate: inout Certificate) {
    for step in steps {
      measure(
        record, step.temperature, squaring: step.squares,
        into: &certificate.atTemperature[step.temperature])
    }
    measureEnergy(record, into: &certificate.mseMissingEnergy)
  }

  private mutating func measure(
    _ record: Record, _ index: Int, squaring: Bool, into errors: inout Certificate.AtTemperature
  ) {
    let temperature = encoding.temperatures[index].value
    let scale = 1 / temperature
    let headSum = exponentials(of: gaps, -scale, squaring, in: &head)
    let storedSum = exponentials(of: storedGaps, -scale, squaring, in: &storedHead)
    var tailWeight = 0.0  // of one unit of `powers`, relative to the largest logit
    var tailSum = 0.0
    var storedTail = 0.0  // stored mass of the whole tail, relative to the stored head's
    if !tail.isEmpty {
      tailSum = exponentials(of: tail, scale, squaring, in: &powers)
      let logWeight = (largestTail - largest) * scale
      let steps = Double(encoding.tailStepsPerNat)
      let logRatio = logWeight + exactLog(tailSum) - exactLog(headSum)
      let ratio = (logRatio * steps).rounded(.toNearestOrEven)
      ratios[index] = Int32(ratio)
      tailWeight = exactExp(logWeight)
      storedTail = exactExpOfEitherSign(ratio / steps)
      if index == encoding.temperatures.count - 1 {
        let perClass = ratio / steps + exactLog(storedSum) - exactLog(Double(tail.count))
        tailConstant = -temperature * perClass
      }
    }
    let normaliser = 1 / (headSum + tailSum * tailWeight)
    let storedNormaliser = 1 / (storedSum * (1 + storedTail))
    compare(
      temperature: temperature, normaliser: normaliser, storedNormaliser: storedNormaliser,
      tailScale: tailWeight * normaliser,
      storedTailEach: tail.isEmpty
        ? 0 : storedTail / ((1 + storedTail) * Double(tail.count)),
      tailMass: tailSum * tailWeight * normaliser, into: &errors)
    let label = record.labelInHead ? 0 : exactExp(-record.labelGap * scale) * normaliser
    errors.pldDroppedWeight.add(
      weightError(
        record, tailMass: tailSum * tailWeight * normaliser, label: label,
        last: head[head.count - 1] * normaliser, scale: tailWeight * normaliser))
  }

  /// What PLD drops: the weight of the classes it does not place.
  ///
  /// With a ranking it places them all, with weights that fall with the rank behind the head, and what
  /// counts is the weight that stands with a wrong class.
  private func weightError(
    _ record: Record, tailMass: Double, label: Double, last: Double, scale: Double
  ) -> Double {
    let rest = max(0, tailMass - label)
    let others = tail.count - (record.labelInHead ? 0 : 1)
    if encoding.ranking == nil || others <= 0 { return rest }
    let exponent = weights.exponent(mean: rest / Double(others), last: last)
    let skipped = record.labelInHead ? -1 : record.labelRank - encoding.k
    var sum = 0.0
    for rank in 0..<ranked.count where rank != skipped {
      sum += weights.weight(exponent, logRank: logRanks[rank])
    }
    let scaleOfWeights = sum > 0 ? rest / sum : 0
    var absolute = 0.0
    for rank in 0..<ranked.count where rank != skipped {
      let weight = scaleOfWeights * weights.weight(exponent, logRank: logRanks[rank])
      absolute += abs(powers[ranked[rank]] * scale - weight)
    }
    return min(rest, absolute / 2)
  }

  private func compare(
    temperature: Double, normaliser: Double, storedNormaliser: Double, tailScale: Double,
    storedTailEach: Double, tailMass: Double, into errors: inout Certificate.AtTemperature
  ) {
    let count = Double(encoding.classes)
    var absolute = 0.0
    var squared = 0.0
    var mass = tailMass
    var storedMass = storedTailEach * Double(tail.count)
    for rank in 0..<head.count {
      let p = head[rank] * normaliser
      let stored = storedHead[rank] * storedNormaliser
      absolute += abs(p - stored)
      squared += (p - stored) * (p - stored)
      mass += p
      storedMass += stored
    }
    let mean = mass / count
    let storedMean = storedMass / count
    var variance = 0.0
    var storedVariance = 0.0
    var covariance = 0.0
    for rank in 0..<head.count {
      let p = head[rank] * normaliser - mean
      let stored = storedHead[rank] * storedNormaliser - storedMean
      variance += p * p
      storedVariance += stored * stored
      covariance += p * stored
    }
    powers.withUnsafeBufferPointer { powers in
      let tailCount = Double(powers.count)
      let distances = LaneSum.distances(
        powers, scale: tailScale, stored: storedTailEach, mean: mean)
      absolute += distances.absolute
      squared += distances.squared
      variance += distances.variance
      let difference = storedTailEach - storedMean
      storedVariance += tailCount * difference * difference
      covariance += difference * (tailMass - tailCount * mean)
    }
    errors.totalVariation.add(absolute / 2)
    errors.kdGradientError.add(temperature * squared.squareRoot())
    errors.distAngle.add(angle(variance, storedVariance, covariance))
  }

  /// 1 - correlation; 0 for a constant full row, which gives DIST no direction to lose.
  private func angle(_ variance: Double, _ storedVariance: Double, _ covariance: Double) -> Double {
    if variance < 1e-24 { return 0 }
    if storedVariance < 1e-24 { return 1 }
    return max(0, 1 - covariance / (variance * storedVariance).squareRoot())
  }

  /// Measures the energy of the logits' error, after the highest temperature.
  private func measureEnergy(_ record: Record, into statistic: inout ErrorStatistic) {
    let shift = record.storedLargest - largest
    var error = 0.0
    var sum = 0.0
    for rank in 0..<gaps.count {
      let difference = shift - storedGaps[rank] + gaps[rank]
      error += difference * difference
      sum -= gaps[rank]
    }
    // Everything is measured from the largest logit; tail values are offsets from their largest.
    let tailOffset = largestTail - largest
    sum += tail.withUnsafeBufferPointer { LaneSum.sum($0) } + Double(tail.count) * tailOffset
    let mean = sum / Double(encoding.classes)
    let squares = tail.withUnsafeBufferPointer {
      LaneSum.squares($0, around: (shift - tailConstant - tailOffset, mean - tailOffset))
    }
    error += squares.0
    var energy = 0.0
    for gap in gaps { energy += (-gap - mean) * (-gap - mean) }
    energy += squares.1
    let step = 1 / Double(encoding.stepsPerNat)
    statistic.add(error / max(energy, Double(encoding.classes) * step * step))
  }

  /// Whether the first class of the head has the largest logit of the row.
  var headIsLargest: Bool {
    gaps.allSatisfy { $0 >= 0 } && (tail.isEmpty || largestTail <= largest)
  }

  /// Whether the head is in the row's own order, ties lower class first, and above the tail.
  func isOrdered(_ ids: ArraySlice<UInt32>) -> Bool {
    for rank in 1..<max(ids.count, 1) {
      let descends =
        gaps[rank - 1] < gaps[rank] || (gaps[rank - 1] == gaps[rank] && ids[rank - 1] < ids[rank])
      if !descends { return false }
    }
    return tail.isEmpty || largestTail <= largest - gaps[gaps.count - 1]
  }

  /// Writes exp(scale * x) for every x, or squares what is there, and returns the sum.
  private func exponentials(
    of source: [Double], _ scale: Double, _ squaring: Bool, in target: inout [Double]
  ) -> Double {
    if squaring {
      return target.withUnsafeMutableBufferPointer { LaneSum.squareExponentials($0) }
    }
    return source.withUnsafeBufferPointer { source in
      target.withUnsafeMutableBufferPointer {
        LaneSum.exponentials(of: source, scale: scale, in: $0)
      }
    }
  }
}

/// The first class from `start` on that is marked with 1; their number when there is none.
@inline(__always)
private func firstMark(_ marks: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
  let bytes = UnsafeRawPointer(marks.baseAddress!)
  var index = start
  while index + 8 <= marks.count, bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) == 0 {
    index += 8
  }
  while index < marks.count, marks[index] == 0 { index += 1 }
  return index
}

/// The largest of some finite values; minus infinity when there are none.
@inline(__always)
private func largestValue(_ values: UnsafeBufferPointer<Float>, _ range: Range<Int>) -> Float {
  let bytes = UnsafeRawPointer(values.baseAddress!)
  var lanes = SIMD16<Float>(repeating: -.infinity)
  var index = range.lowerBound
  while index + 16 <= range.upperBound {
    let chunk = bytes.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self)
    lanes.replace(with: chunk, where: chunk .> lanes)
    index += 16
  }
  var largest = lanes.max()
  while index < range.upperBound {
    largest = max(largest, values[index])
    index += 1
  }
  return largest
}
