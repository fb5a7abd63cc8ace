import Foundation
import Losses

/// A reference loss and its gradient, in double precision.
struct ReferenceResult {
  var loss: Double
  var gradient: [[Double]]
}

/// One record of a teacher in double precision: the head, and what is known of the tail.
struct ReferenceRecord {
  /// Head classes in descending order.
  var ids: [Int]
  /// Their logits.
  var logits: [Double]
  var label = 0
  /// The label's logit, also outside the head.
  var labelLogit = 0.0
  /// log(tail / head) at the temperature in use; -infinity without a tail.
  var logTailRatio = -Double.infinity
  /// Mean logit of the classes outside the head.
  var tailMean = 0.0

  /// All classes of a full row.
  init(full row: [Double], label: Int = 0) {
    ids = row.indices.sorted { (row[$0], $1) > (row[$1], $0) }
    logits = ids.map { row[$0] }
    self.label = label
    labelLogit = row[label]
  }

  /// The best k classes of a full row, with the exact tail at a temperature.
  init(top k: Int, of row: [Double], temperature: Double, label: Int = 0) {
    self.init(full: row, label: label)
    let dropped = logits[k...].map { $0 }
    ids.removeLast(ids.count - k)
    logits.removeLast(logits.count - k)
    if dropped.isEmpty { return }
    logTailRatio =
      logSumExp(dropped.map { $0 / temperature }) - logSumExp(logits.map { $0 / temperature })
    tailMean = dropped.reduce(0, +) / Double(dropped.count)
  }

  /// What a teacher batch holds of a row, as seen at a temperature.
  init(_ batch: TeacherBatch, row: Int, temperature: Float) {
    let head = row * batch.k..<(row + 1) * batch.k
    let largest = Double(batch.largestLogits[row])
    ids = batch.classIDs[head].map(Int.init)
    logits = batch.gaps[head].map { largest - Double($0) }
    label = Int(batch.labels[row])
    labelLogit = largest - Double(batch.labelGaps[row])
    logTailRatio = batch.logTailRatio(row: row, temperature: temperature)
    tailMean = largest - batch.meanTailGap(row: row)
  }

  func isKept(_ c: Int) -> Bool { ids.contains(c) }

  /// log of the probabilities of the head at a temperature, and of the whole tail.
  func logShares(temperature: Double) -> (head: [Double], tail: Double) {
    let logHead = logSumExp(logits.map { $0 / temperature })
    let logAll = logSumExp([logHead, logHead + logTailRatio])
    return (logits.map { $0 / temperature - logAll }, logHead + logTailRatio - logAll)
  }

  /// log probabilities of all classes, the tail spread evenly.
  func uniformLogProbabilities(classes: Int, temperature: Double) -> [Double] {
    let shares = logShares(temperature: temperature)
    var result = [Double](
      repeating: shares.tail - log(Double(classes - ids.count)), count: classes)
    for (j, id) in ids.enumerated() { result[id] = shares.head[j] }
    return result
  }
}

func logSumExp(_ values: [Double]) -> Double {
  let highest = values.max() ?? -.infinity
  guard highest > -.infinity else { return highest }
  return highest + log(values.reduce(0) { $0 + exp($1 - highest) })
}

func logSoftmax(_ row: [Double], temperature: Double = 1) -> [Double] {
  let scaled = row.map { $0 / temperature }
  let total = logSumExp(scaled)
  return scaled.map { $0 - total }
}

/// weight a + weight b.
func weightedSum(_ parts: [(weight: Double, result: ReferenceResult)]) -> ReferenceResult {
  var sum = ReferenceResult(
    loss: 0, gradient: parts[0].result.gradient.map { $0.map { _ in 0.0 } })
  for (weight, result) in parts {
    sum.loss += weight * result.loss
    for b in result.gradient.indices {
      for c in result.gradient[b].indices {
        sum.gradient[b][c] += weight * result.gradient[b][c]
      }
    }
  }
  return sum
}
