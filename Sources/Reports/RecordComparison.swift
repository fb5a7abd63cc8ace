import Foundation
import Losses

/// How far two records of the same sample and view are apart, as readers rebuild them: the tail's mass
/// spread evenly over the classes outside the head.
///
/// Costs O(k) for each temperature; works on one pair at a time.
struct RecordComparison {
  private let classes: Int
  /// The rank of each class in B's head, -1 outside it [C].
  private var rankInB: [Int32]
  /// Whether A's head names a class [C].
  private var isInA: [Bool]
  private var idsA: [Int] = []
  private var idsB: [Int] = []
  private var a = Distribution()
  private var b = Distribution()
  private var order = InversionCounter()

  /// A rebuilt distribution: logarithms of probabilities.
  private struct Distribution {
    var head: [Double] = []
    /// Of each class outside the head; minus infinity when there is none.
    var tail = -Double.infinity
  }

  init(classes: Int) {
    self.classes = classes
    rankInB = [Int32](repeating: -1, count: classes)
    isInA = [Bool](repeating: false, count: classes)
  }

  /// Takes in row `rowA` of A and row `rowB` of B.
  mutating func load(_ batchA: TeacherBatch, _ rowA: Int, _ batchB: TeacherBatch, _ rowB: Int) {
    for id in idsA { isInA[id] = false }
    for id in idsB { rankInB[id] = -1 }
    idsA.removeAll(keepingCapacity: true)
    idsB.removeAll(keepingCapacity: true)
    for rank in 0..<batchA.k {
      let id = Int(batchA.classIDs[rowA * batchA.k + rank])
      idsA.append(id)
      isInA[id] = true
    }
    for rank in 0..<batchB.k {
      let id = Int(batchB.classIDs[rowB * batchB.k + rank])
      idsB.append(id)
      rankInB[id] = Int32(rank)
    }
  }

  /// Whether both name the same class first.
  var agreesOnFirst: Bool { idsA[0] == idsB[0] }

  /// KL(A || B) in nats and the total variation at a temperature.
  mutating func measure(
    _ batchA: TeacherBatch, _ rowA: Int, _ batchB: TeacherBatch, _ rowB: Int, temperature: Double
  ) -> (divergence: Double, totalVariation: Double) {
    rebuild(batchA, rowA, temperature, into: &a)
    rebuild(batchB, rowB, temperature, into: &b)
    var divergence = 0.0
    var absolute = 0.0
    func add(_ logP: Double, _ logQ: Double, _ count: Double) {
      let (p, q) = (exp(logP), exp(logQ))
      if p > 0 { divergence += count * p * (logP - logQ) }
      absolute += count * abs(p - q)
    }
    var shared = 0
    for (rank, id) in idsA.enumerated() {
      let other = Int(rankInB[id])
      shared += other < 0 ? 0 : 1
      add(a.head[rank], other < 0 ? b.tail : b.head[other], 1)
    }
    // What is left of B's head are the classes that A's does not name; they are all alike in A.
    for (rank, id) in idsB.enumerated() where !isInA[id] { add(a.tail, b.head[rank], 1) }
    let rest = classes - idsA.count - idsB.count + shared
    if rest > 0 { add(a.tail, b.tail, Double(rest)) }
    return (max(0, divergence), absolute / 2)
  }

  private func rebuild(
    _ batch: TeacherBatch, _ row: Int, _ temperature: Double, into result: inout Distribution
  ) {
    let k = batch.k
    result.head.removeAll(keepingCapacity: true)
    var sum = 0.0
    for rank in 0..<k {
      let logit = -Double(batch.gaps[row * k + rank]) / temperature
      result.head.append(logit)
      sum += exp(logit)
    }
    var shift = log(sum)
    result.tail = -.infinity
    if k < classes {
      let ratio = batch.logTailRatio(row: row, temperature: Float(temperature))
      let logMass = max(ratio, 0) + log1p(exp(-abs(ratio)))  // log(1 + e^ratio)
      result.tail = ratio - logMass - log(Double(classes - k))
      shift += logMass
    }
    for rank in 0..<k { result.head[rank] -= shift }
  }

  /// Kendall's tau over the classes that both heads name, by their ranks there: pairs in the same order
  /// minus pairs in the other order, over all pairs; `nil` with fewer than two such classes.
  mutating func rankCorrelation() -> (tau: Double, shared: Int)? {
    let ranks = rankInB
    let inversions = order.count(idsA.lazy.map { ranks[$0] }.filter { $0 >= 0 })
    let shared = order.length
    if shared < 2 { return nil }
    return (1 - 4 * Double(inversions) / (Double(shared) * Double(shared - 1)), shared)
  }
}

/// Counts pairs out of order by merge sort, O(n log n).
private struct InversionCounter {
  private var values: [Int32] = []
  private var merged: [Int32] = []

  /// How many numbers were counted last.
  var length: Int { values.count }

  mutating func count(_ numbers: some Sequence<Int32>) -> Int {
    values.removeAll(keepingCapacity: true)
    values.append(contentsOf: numbers)
    var inversions = 0
    var width = 1
    while width < values.count {
      merged.removeAll(keepingCapacity: true)
      for start in stride(from: 0, to: values.count, by: 2 * width) {
        inversions += merge(
          start, min(start + width, values.count), min(start + 2 * width, values.count))
      }
      swap(&values, &merged)
      width *= 2
    }
    return inversions
  }

  private mutating func merge(_ start: Int, _ middle: Int, _ end: Int) -> Int {
    var (left, right, inversions) = (start, middle, 0)
    while left < middle || right < end {
      if right == end || (left < middle && values[left] <= values[right]) {
        merged.append(values[left])
        left += 1
      } else {
        merged.append(values[right])
        right += 1
        inversions += middle - left
      }
    }
    return inversions
  }
}
