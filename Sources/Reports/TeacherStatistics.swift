import Foundation
import LogitCache
import Losses

/// Counts and sums over a cache's records, block by block; memory does not grow with the records.
struct TeacherStatistics {
  private(set) var records = 0
  private(set) var correctTop1 = 0
  private(set) var correctTop5 = 0
  private(set) var entropy: Distribution
  private(set) var confidence = Distribution(upTo: 1)
  private let classNames: [String]
  private let temperatures: [Temperature]
  /// How often each norm is stored: they are quantised, so there are at most 32,770.
  private var normCounts: [Float: Int] = [:]
  private var massByRank: [Double]
  private var tailSums: [Double]
  private var tailMaxima: [Double]
  private var firstView: (block: Int, named: [Int32], places: RowPlaces?) = (-1, [], nil)
  /// Records of a view: the fewest, the most, and how many views there were.
  private(set) var positions = (least: Int.max, most: 0, views: 0)
  private var compared = 0
  private var agreeing = 0
  private var classRecords: [Int]
  private var classCorrect: [Int]
  private var classProbability: [Double]
  /// confusions[label][named]: how often the teacher named another class.
  private var confusions: [[Int32: Int]]

  init(_ manifest: Manifest) {
    let classes = manifest.encoding.classes
    classNames = manifest.dataSet.classNames
    temperatures = manifest.encoding.tailTemperatures
    entropy = Distribution(upTo: max(log(Double(classes)), 1e-9))
    massByRank = [Double](repeating: 0, count: manifest.encoding.k)
    tailSums = [Double](repeating: 0, count: temperatures.count)
    tailMaxima = tailSums
    classRecords = [Int](repeating: 0, count: classes)
    classCorrect = classRecords
    classProbability = [Double](repeating: 0, count: classes)
    confusions = [[Int32: Int]](repeating: [:], count: classes)
  }

  /// Adds block `number` of a view; view 0 of the same block must come before the others.
  mutating func add(_ block: TeacherBatch, view: Int, number: Int) {
    records += block.count
    let named = (0..<block.count).map { block.classIDs[$0 * block.k] }
    for row in 0..<block.count {
      addAccuracy(block, row)
      addProbabilities(block, row)
    }
    for norm in block.featureNorms { normCounts[norm, default: 0] += 1 }
    if let places = block.places { count(places) }
    if view == 0 { firstView = (number, named, block.places) }
    if view > 0 && firstView.block == number { compare(named, block.places) }
  }

  private mutating func count(_ places: RowPlaces) {
    for sample in 0..<places.samples {
      let records = places.rows(of: sample).count
      positions.least = min(positions.least, records)
      positions.most = max(positions.most, records)
    }
    positions.views += places.samples
  }

  /// Compares the first choices of a view with those of view 0, at the positions that both have.
  private mutating func compare(_ named: [Int32], _ places: RowPlaces?) {
    guard let places, let first = firstView.places else {
      compared += named.count
      agreeing += zip(named, firstView.named).count { $0 == $1 }
      return
    }
    for sample in 0..<places.samples {
      for row in places.rows(of: sample) {
        let position = Int(places.positions[row])
        guard let other = first.row(of: sample, position: position) else { continue }
        compared += 1
        agreeing += named[row] == firstView.named[other] ? 1 : 0
      }
    }
  }

  private mutating func addAccuracy(_ block: TeacherBatch, _ row: Int) {
    let label = Int(block.labels[row])
    let named = block.classIDs[row * block.k]
    classRecords[label] += 1
    if block.labelRanks[row] < 5 { correctTop5 += 1 }
    if block.labelRanks[row] == 0 {
      correctTop1 += 1
      classCorrect[label] += 1
    } else {
      confusions[label][named, default: 0] += 1
    }
  }

  /// Probabilities at T = 1: p = exp(-gap) / (head sum + tail sum), the tail spread evenly.
  private mutating func addProbabilities(_ block: TeacherBatch, _ row: Int) {
    let k = block.k
    let ratio = block.tailRatio(row)
    let total = block.headSum(row) * (1 + ratio)
    var (bits, mass) = (0.0, 0.0)
    for j in 0..<k {
      let p = exactExp(-Double(block.gaps[row * k + j])) / total
      if p > 0 { bits -= p * log(p) }
      mass += p
      massByRank[j] += mass
    }
    let tail = ratio / (1 + ratio)
    if tail > 0 { bits -= tail * log(tail / Double(block.classes - k)) }
    entropy.add(bits)
    confidence.add(1 / total)
    classProbability[Int(block.labels[row])] += exactExp(-Double(block.labelGaps[row])) / total
    for (index, temperature) in temperatures.enumerated() {
      let ratio = exactExpOfEitherSign(
        block.logTailRatio(row: row, temperature: Float(temperature.value)))
      tailSums[index] += ratio / (1 + ratio)
      tailMaxima[index] = max(tailMaxima[index], ratio / (1 + ratio))
    }
  }

  func share(_ count: Int) -> Double { records > 0 ? Double(count) / Double(records) : 0 }

  var cumulativeMass: [Double] { massByRank.map { $0 / Double(max(records, 1)) } }

  var tailMass: [Inspection.TailMass] {
    temperatures.indices.map {
      Inspection.TailMass(
        temperature: temperatures[$0].description, mean: tailSums[$0] / Double(max(records, 1)),
        max: tailMaxima[$0])
    }
  }

  /// Mean and exact quantiles of the feature norms.
  var featureNorms: Inspection.Summary {
    let sorted = normCounts.sorted { $0.key < $1.key }
    let total = sorted.reduce(0) { $0 + $1.value }
    func quantile(_ fraction: Double) -> Double {
      var rest = max(1, Int((Double(total) * fraction).rounded(.up)))
      for (norm, count) in sorted {
        rest -= count
        if rest <= 0 { return Double(norm) }
      }
      return 0
    }
    let sum = sorted.reduce(0) { $0 + Double($1.key) * Double($1.value) }
    return Inspection.Summary(
      mean: sum / Double(max(total, 1)), p1: quantile(0.01), p10: quantile(0.1),
      p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99))
  }

  var viewAgreement: Double? { compared > 0 ? Double(agreeing) / Double(compared) : nil }

  var perClass: [Inspection.ClassRow] {
    classNames.indices.map { label in
      let count = Double(max(classRecords[label], 1))
      // Most often named; the lower class of equals, so that the report is the same every time.
      let worst = confusions[label].max { ($0.value, -$0.key) < ($1.value, -$1.key) }
      return Inspection.ClassRow(
        name: classNames[label], records: classRecords[label],
        accuracy: Double(classCorrect[label]) / count,
        meanLabelProbability: classProbability[label] / count,
        mostConfusedWith: worst.map { classNames[Int($0.key)] })
    }
  }
}
