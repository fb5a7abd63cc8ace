import Foundation
import LogitCache
import Losses

/// A certificate's errors measured again, from decoded records and the teacher's full rows alone.
///
/// Written from the definitions in docs/FORMAT.md and with nothing of the encoder, so that the two can
/// disagree.
struct DirectCertificate {
  private let temperatures: [Double]
  private let step: Double
  private var sums: [String: Double] = [:]
  private var largest: [String: Double] = [:]
  private var records = 0
  private var topOneAgreements = 0
  private var orderAgreements = 0

  init(_ encoding: Encoding) {
    temperatures = encoding.temperatures.map(\.value)
    step = 1 / Double(encoding.stepsPerNat)
  }

  /// Measures the decoded record `index` against the teacher's row.
  ///
  /// - Parameter full: its rebuilt full row, which errors above T = 1 and the missing energy are of.
  mutating func add(
    _ record: borrowing TeacherBatch, _ index: Int, row: Span<Float>,
    full: (rows: TeacherBatch, index: Int)? = nil
  ) {
    let (classes, k) = (record.classes, record.k)
    let ids = (0..<k).map { Int(record.classIDs[index * k + $0]) }
    let gaps = (0..<k).map { Double(record.gaps[index * k + $0]) }
    let label = Int(record.labels[index])
    var logits = [Double](repeating: 0, count: classes)
    for c in 0..<classes { logits[c] = Double(row[c]) }
    records += 1
    compareOrder(logits, ids)
    var tailConstant = 0.0
    for temperature in temperatures where full == nil || temperature <= 1 {
      let full = softmax(logits, temperature)
      let head = gaps.map { exp(-$0 / temperature) }
      let headSum = head.reduce(0, +)
      let ratio = exp(record.logTailRatio(row: index, temperature: Float(temperature)))
      let tailEach = classes > k ? ratio / ((1 + ratio) * Double(classes - k)) : 0
      var rebuilt = [Double](repeating: tailEach, count: classes)
      for j in 0..<k { rebuilt[ids[j]] = head[j] / (headSum * (1 + ratio)) }
      if classes > k {
        tailConstant = -temperature * log(ratio * headSum / Double(classes - k))
      }
      compare(full, rebuilt, temperature)
      var dropped = full
      for id in ids + [label] { dropped[id] = 0 }
      let rest = dropped.reduce(0, +)
      note(
        "pldDroppedWeight@\(temperature)",
        record.hasRanking ? misplaced(record, index, full, rest: rest) : rest)
    }
    if let full { return compare(logits, record, index, full.rows, full.index) }
    var rebuilt = [Double](
      repeating: Double(record.largestLogits[index]) - tailConstant, count: classes)
    for j in 0..<k { rebuilt[ids[j]] = Double(record.largestLogits[index]) - gaps[j] }
    compareEnergy(logits, rebuilt)
  }

  /// The weight that stands with another class where PLD places all of them.
  private func misplaced(
    _ record: TeacherBatch, _ index: Int, _ full: [Double], rest: Double
  ) -> Double {
    let (classes, k) = (record.classes, record.k)
    let order = record.ranking[index * classes..<(index + 1) * classes].map { Int($0) }
    let ranks = (k..<classes).filter { order[$0] != Int(record.labels[index]) }
    let exponent = RankedWeights(k: k, classes: classes).exponent(
      mean: rest / Double(max(ranks.count, 1)), last: full[order[k - 1]])
    let weights = ranks.map { pow(Double($0 + 1) / Double(k), -exponent) }
    let sum = weights.reduce(0, +)
    return zip(ranks, weights).reduce(0) {
      $0 + abs(full[order[$1.0]] - (sum > 0 ? $1.1 * rest / sum : 0))
    } / 2
  }

  /// Compares a rebuilt full row, head and tail each with their stored mass.
  private mutating func compare(
    _ logits: [Double], _ record: borrowing TeacherBatch, _ index: Int, _ rows: TeacherBatch,
    _ place: Int
  ) {
    let (classes, k) = (logits.count, record.k)
    let order = (place * classes..<(place + 1) * classes).map { Int(rows.classIDs[$0]) }
    var rebuilt = [Double](repeating: 0, count: classes)
    for (rank, id) in order.enumerated() {
      rebuilt[id] = Double(rows.largestLogits[place] - rows.gaps[place * classes + rank])
    }
    for temperature in temperatures where temperature > 1 {
      let full = softmax(logits, temperature)
      var shares = softmax(rebuilt, temperature)
      let ratio = exp(record.logTailRatio(row: index, temperature: Float(temperature)))
      for (part, mass) in [(order[..<k], 1 / (1 + ratio)), (order[k...], ratio / (1 + ratio))] {
        let sum = part.reduce(0) { $0 + shares[$1] }
        for id in part { shares[id] *= mass / sum }
      }
      compare(full, shares, temperature)
      var (outOfOrder, lowest) = (0.0, Double.infinity)
      for id in order[k...] where id != Int(record.labels[index]) {
        outOfOrder += max(0, full[id] - lowest)
        lowest = min(lowest, full[id])
      }
      note("pldDroppedWeight@\(temperature)", outOfOrder)
    }
    compareEnergy(logits, rebuilt)
  }

  private mutating func note(_ name: String, _ value: Double) {
    sums[name, default: 0] += value
    largest[name] = max(largest[name] ?? 0, value)
  }

  private mutating func compare(_ full: [Double], _ rebuilt: [Double], _ temperature: Double) {
    let mean = 1 / Double(full.count)
    var (absolute, squared, covariance, variance, rebuiltVariance) = (0.0, 0.0, 0.0, 0.0, 0.0)
    for (p, q) in zip(full, rebuilt) {
      absolute += abs(p - q)
      squared += (p - q) * (p - q)
      covariance += (p - mean) * (q - mean)
      variance += (p - mean) * (p - mean)
      rebuiltVariance += (q - mean) * (q - mean)
    }
    note("totalVariation@\(temperature)", absolute / 2)
    note("kdGradientError@\(temperature)", temperature * squared.squareRoot())
    let correlation = covariance / (variance * rebuiltVariance).squareRoot()
    note("distAngle@\(temperature)", max(0, 1 - correlation))
  }

  private mutating func compareEnergy(_ logits: [Double], _ rebuilt: [Double]) {
    let mean = logits.reduce(0, +) / Double(logits.count)
    var (error, energy) = (0.0, 0.0)
    for (t, u) in zip(logits, rebuilt) {
      error += (t - u) * (t - u)
      energy += (t - mean) * (t - mean)
    }
    note("mseMissingEnergy", error / max(energy, Double(logits.count) * step * step))
  }

  /// Whether the head is the first of the row's order: descending, ties lower class first.
  private mutating func compareOrder(_ logits: [Double], _ ids: [Int]) {
    func precedes(_ a: Int, _ b: Int) -> Bool { (-logits[a], a) < (-logits[b], b) }
    var inHead = [Bool](repeating: false, count: logits.count)
    for id in ids { inHead[id] = true }
    let last = ids[ids.count - 1]
    let outside = logits.indices.filter { !inHead[$0] }
    let isOrdered =
      zip(ids, ids.dropFirst()).allSatisfy(precedes) && outside.allSatisfy { precedes(last, $0) }
    orderAgreements += isOrdered ? 1 : 0
    topOneAgreements += logits[ids[0]] == logits.max() ? 1 : 0
  }

  /// Every error beside the certificate's, by name: means and largest values.
  func beside(_ certificate: Certificate) -> [CertificateCheck] {
    var pairs: [(String, ErrorStatistic)] = [("mseMissingEnergy", certificate.mseMissingEnergy)]
    for errors in certificate.atTemperature {
      let temperature = errors.temperature.value
      pairs += [
        ("totalVariation@\(temperature)", errors.totalVariation),
        ("kdGradientError@\(temperature)", errors.kdGradientError),
        ("pldDroppedWeight@\(temperature)", errors.pldDroppedWeight),
        ("distAngle@\(temperature)", errors.distAngle),
      ]
    }
    let count = Double(max(records, 1))
    let agreements = [
      ("topOneAgreements", certificate.topOneAgreements, topOneAgreements),
      ("orderAgreements", certificate.orderAgreements, orderAgreements),
    ].map { name, stored, found in
      CertificateCheck(
        name: name, mean: Double(stored) / Double(max(certificate.records, 1)),
        measuredMean: Double(found) / count, max: 1, measuredMax: 1)
    }
    return pairs.map { name, statistic in
      CertificateCheck(
        name: name, mean: statistic.mean, measuredMean: (sums[name] ?? 0) / count,
        max: statistic.max, measuredMax: largest[name] ?? 0)
    } + agreements
  }
}

/// One error in a cache's certificate and as measured again.
struct CertificateCheck: Encodable {
  var name: String
  var mean: Double
  var measuredMean: Double
  var max: Double
  var measuredMax: Double

  /// The larger relative difference of the two; differences below 1e-12 are rounding.
  var difference: Double {
    func relative(_ a: Double, _ b: Double) -> Double {
      abs(a - b) <= 1e-12 ? 0 : abs(a - b) / Swift.max(abs(a), abs(b))
    }
    return Swift.max(relative(mean, measuredMean), relative(max, measuredMax))
  }
}

private func softmax(_ logits: [Double], _ temperature: Double) -> [Double] {
  let largest = logits.max() ?? 0
  let powers = logits.map { exp(($0 - largest) / temperature) }
  let sum = powers.reduce(0, +)
  return powers.map { $0 / sum }
}
