import Basics
import Foundation
import Losses

private let losses = ["ce", "kd@4", "dist@4", "pld", "mse", "dkd@4"]
private let shapes = [(256, 10), (256, 100), (256, 1000), (256, 6702), (64, 21841)]
private let seed: UInt64 = 1
private let rounds = 3
/// Of trying, for each loss, side, k and round.
private let seconds = 0.2
/// How far the two sides may be apart at k = C, relative; both compute in 32-bit floats.
private let tolerance = 1e-4

/// Nanoseconds per logit of a loss and its gradient: this package's sparse kernels from a cache's
/// records against dense PyTorch, eager, on one thread each, and against the physical limit.
///
/// At k = C both sides compute the same numbers; that is checked before anything is timed.
func lossesBenchmark(python: String, into report: inout BenchmarkReport) throws {
  let folder = FileManager.default.temporaryDirectory.path + "/logitcache-bench-\(getpid())"
  defer { try? FileManager.default.removeItem(atPath: folder) }
  try Files.makeFolder(folder)
  let peer = try TorchPeer(python: python)
  report.setup = [
    "peer": "PyTorch \(peer.version), eager, dense teacher logits",
    "threads": "1 on each side",
    "time": "least of \(rounds) rounds of \(seconds) s, the sides in turn",
    "limit": "a copy of the logits to the gradient and, but for mse, one exp for each",
    "difference": "to the peer at k = C: of the loss, and L2 of the gradient, relative",
    "seed": "\(seed)",
  ]
  let start = CPUTime.now
  for (batch, classes) in shapes {
    let inputs = LossCase(batch: batch, classes: classes, seed: seed)
    try inputs.write(to: folder)
    try peer.load(folder)
    report.rows += try rows(of: inputs, peer: peer, folder: folder)
  }
  report.setup?["busy"] = start.busyCores
  report.targets = targets(report.rows)
}

private func rows(of inputs: LossCase, peer: TorchPeer, folder: String) throws -> [BenchmarkRow] {
  let heads = Set([min(inputs.classes, 20), inputs.classes]).sorted()
  let records = heads.map { inputs.records(k: $0) }
  let differences = try losses.map {
    try difference($0, inputs, records.last!, peer: peer, folder: folder)
  }

  var times = losses.map { _ in LossTimes(heads: heads.count) }
  for _ in 0..<rounds {
    for (index, loss) in losses.enumerated() {
      try times[index].improve(loss, inputs, records, peer: peer)
    }
  }
  let logits = Double(inputs.logits)
  return heads.indices.flatMap { head in
    losses.indices.map { index in
      let (loss, time) = (losses[index], times[index])
      var row = BenchmarkRow.lessIsBetter(
        name(loss, batch: inputs.batch, classes: inputs.classes, k: heads[head]),
        ours: time.ours[head] / logits, peer: time.peer / logits, unit: "ns/logit")
      row.limit = time.limit / logits
      row.timesLimit = time.ours[head] / time.limit
      if heads[head] == inputs.classes { row.difference = differences[index] }
      return row
    }
  }
}

/// The least nanoseconds of a step of one loss so far.
private struct LossTimes {
  /// Per k.
  var ours: [Double]
  var peer = Double.infinity
  var limit = Double.infinity

  init(heads: Int) { ours = Array(repeating: .infinity, count: heads) }

  /// Measures once more, the sides one after the other.
  mutating func improve(
    _ loss: String, _ inputs: LossCase, _ records: [TeacherBatch], peer torch: TorchPeer
  ) throws {
    limit = min(limit, inputs.fastestPossible(exponentials: loss != "mse", seconds: seconds))
    for (head, records) in records.enumerated() {
      ours[head] = min(ours[head], try inputs.fastest(loss, records, seconds: seconds))
    }
    peer = min(peer, try torch.fastest(loss, seconds: seconds))
  }
}

private func name(_ loss: String, batch: Int, classes: Int, k: Int) -> String {
  "\(loss) B=\(batch) C=\(classes) k=\(k)"
}

/// The distance of the two sides at k = C.
///
/// - Throws: when they do not compute the same thing: then there is nothing to compare.
private func difference(
  _ loss: String, _ inputs: LossCase, _ records: TeacherBatch, peer: TorchPeer, folder: String
) throws -> BenchmarkDifference {
  let ours = try inputs.evaluate(loss, records)
  let theirs = try peer.evaluate(loss, passing: folder)
  var (distance, length) = (0.0, 0.0)
  for (a, b) in zip(ours.gradient, theirs.gradient) {
    distance += (Double(a) - Double(b)) * (Double(a) - Double(b))
    length += Double(b) * Double(b)
  }
  let result = BenchmarkDifference(
    loss: abs(ours.loss - theirs.loss) / abs(theirs.loss),
    gradient: (distance / length).squareRoot())
  guard result.loss <= tolerance, result.gradient <= tolerance else {
    throw Problem(
      .corrupt,
      "\(loss) at B = \(inputs.batch), C = k = \(inputs.classes) is \(ours.loss) here and "
        + "\(theirs.loss) in PyTorch, gradients \(result.gradient) apart (relative); "
        + "\(tolerance) is allowed, so the two do not compute the same thing")
  }
  return result
}

/// What the kernels were built to reach, at B = 256, C = 1000, k = 20.
private func targets(_ rows: [BenchmarkRow]) -> [BenchmarkTarget] {
  func row(_ loss: String) -> BenchmarkRow {
    let wanted = name(loss, batch: 256, classes: 1000, k: 20)
    return rows.first { $0.case == wanted }!
  }
  let ratios = [("kd@4", 5.0), ("dist@4", 6), ("pld", 60)].map { loss, least in
    BenchmarkTarget(
      name: "\(loss): times faster than the peer", bound: least, isUpper: false,
      measured: row(loss).ratio)
  }
  let sameCost = BenchmarkTarget(
    name: "pld: times our ce", bound: 1.5, isUpper: true,
    measured: row("pld").ours / row("ce").ours)
  let limits = losses.map {
    BenchmarkTarget(
      name: "\($0): times the limit", bound: 3, isUpper: true, measured: row($0).timesLimit!)
  }
  return ratios + [sameCost] + limits
}
