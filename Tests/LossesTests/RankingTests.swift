import Foundation
import Losses
import TestSupport
import Testing

/// PLD over the stored order of all classes.
@Suite struct RankingTests {
  /// A random step whose teacher batch holds rankings, k < C.
  private func step(seed: Int) -> RandomStep {
    var step = RandomStep(seed: 70_000 + seed)
    var generator = SeededGenerator(seed: UInt64(seed))
    let classes = step.student[0].count
    let k = [1, classes - 1, Int.random(in: 1..<classes, using: &generator)]
      .randomElement(using: &generator)!
    // Ties, as quantised teachers have them.
    if seed.isMultiple(of: 3) {
      step.teacherRows = step.teacherRows.map { $0.map { $0.rounded() } }
    }
    var batch = TeacherBatch(
      classes: classes, k: k, tailTemperatures: [1, 2, 4], count: step.student.count,
      ranking: true)
    for (b, row) in step.teacherRows.enumerated() {
      batch.assign(row: b, logits: row.span, label: step.labels[b])
    }
    step.teacher = batch
    step.shape += ", ranked with k \(k)"
    return step
  }

  /// The plain way: every class placed, one log-sum-exp for each position.
  private func reference(_ step: RandomStep, temperature t: Double) -> ReferenceResult {
    let classes = step.student[0].count
    return meanOverBatch(
      step.student.indices.map { b in
        let row = step.student[b]
        let record = ReferenceRecord(step.teacher, row: b, temperature: Float(t))
        let ranking = step.teacher.ranking[b * classes..<(b + 1) * classes].map { Int($0) }
        let order = [record.label] + ranking.filter { $0 != record.label }
        let shares = record.logShares(temperature: t)
        let logAll = record.logits[0] / t - shares.head[0]
        var alpha = [Int: Double](
          uniqueKeysWithValues: zip(record.ids, shares.head.map { exp($0) }))
        var left = exp(shares.tail)
        if !record.isKept(record.label) {
          alpha[record.label] = exp(record.labelLogit / t - logAll)
          left = max(0, left - alpha[record.label]!)
        }
        let others = order.filter { alpha[$0] == nil }
        let weights = plainWeights(
          ranks: others.map { ranking.firstIndex(of: $0)! }, k: record.ids.count, classes: classes,
          sum: left, last: exp(shares.head.last!))
        for (id, weight) in zip(others, weights) { alpha[id] = weight }
        var loss = 0.0
        var gradient = [Double](repeating: 0, count: classes)
        for (r, id) in order.enumerated() {
          let total = logSumExp(order[r...].map { row[$0] })
          loss += alpha[id]! * (total - row[id])
          for c in order[r...] { gradient[c] += alpha[id]! * exp(row[c] - total) }
          gradient[id] -= alpha[id]!
        }
        return (loss, gradient)
      })
  }

  private func kernel(_ step: RandomStep, _ term: LossTerm) throws -> ReferenceResult {
    try KernelRunner.run(
      LossConfiguration([term]), step.student, labels: step.labels, teacher: step.teacher)
  }

  @Test(arguments: 0..<120)
  func `PLD over a stored order agrees with the plain reference`(seed: Int) throws {
    let step = step(seed: seed)
    for t: Float in [1, 2, 4] {
      let right = reference(step, temperature: Double(t))
      for tail in [PLDTail.drop, .uniform] {
        let result = try kernel(step, .pld(temperature: t, tail: tail))
        let lossError = abs(result.loss - right.loss) / (1 + abs(right.loss))
        #expect(lossError < 1e-5, "\(step.shape), T \(t): \(result.loss), \(right.loss)")
        let error =
          zip(result.gradient.joined(), right.gradient.joined())
          .map { abs($0 - $1) }.max()! * Double(step.student.count)
        #expect(error < 2e-6, "\(step.shape), T \(t): gradient off by \(error)")
        for row in result.gradient {
          #expect(abs(row.reduce(0, +)) < 1e-5, "\(step.shape): the gradient has a mean")
        }
      }
    }
  }

  @Test(arguments: 0..<20)
  func `the reference's gradient is the slope of its loss`(seed: Int) {
    var step = step(seed: 500 + seed)
    step.student = step.student.map { $0.map { 0.3 * $0 } }
    expectSlopes(of: step, seed: seed, "pld@2") { reference($0, temperature: 2) }
  }

  /// Behind a head of C - 1 classes stands one, whose weight is all that is left.
  @Test func `the vectors of full rows hold for rankings behind C - 1 classes`() throws {
    var checked = 0
    for vector in try VectorFile.read("pld.json").cases {
      guard let logits = vector.inputs.teacherLogits, logits[0].count > 2 else { continue }
      let classes = logits[0].count
      let t = Float(vector.params.temperature!)
      var batch = TeacherBatch(
        classes: classes, k: classes - 1, tailTemperatures: [t], count: logits.count,
        ranking: true)
      for (b, row) in logits.enumerated() {
        let values = row.map { Float($0) }
        batch.assign(row: b, logits: values.span, label: vector.labels[b])
      }
      let result = try KernelRunner.run(
        LossConfiguration([.pld(temperature: t)]), vector.student, labels: vector.labels,
        teacher: batch)
      let wrong = vector.mismatch(loss: result.loss, gradient: result.gradient, vector.tol.f32)
      #expect(wrong == nil, "\(vector.name): \(wrong ?? "")")
      checked += 1
    }
    #expect(checked > 0)
  }

  /// Logits behind the head that equal its last make even weights right: nothing is lost to a full row.
  @Test(arguments: 0..<20)
  func `behind the head equal logits lose nothing`(seed: Int) throws {
    var step = step(seed: 900 + seed)
    let (classes, k) = (step.student[0].count, step.teacher.k)
    var full = TeacherBatch(
      classes: classes, k: classes, tailTemperatures: [], count: step.student.count)
    for b in step.teacherRows.indices {
      let row = step.teacherRows[b]
      let order = row.indices.sorted { (row[$0], $1) > (row[$1], $0) }
      for id in order[k...] { step.teacherRows[b][id] = row[order[k - 1]] }
      let values = step.teacherRows[b]
      step.teacher.assign(row: b, logits: values.span, label: step.labels[b])
      full.assign(row: b, logits: values.span, label: step.labels[b])
    }
    let ranked = try kernel(step, .pld())
    step.teacher = full
    let whole = try kernel(step, .pld())
    #expect(abs(ranked.loss - whole.loss) < 1e-5 * (1 + whole.loss), "\(step.shape)")
    for (a, b) in zip(ranked.gradient.joined(), whole.gradient.joined()) {
      #expect(abs(a - b) < 2e-6, "\(step.shape)")
    }
  }

  @Test func `only PLD asks for the order of all classes`() {
    #expect(LossConfiguration([.kd(), .pld()]).requirements.ranking)
    #expect(!LossConfiguration([.kd(), .dkd(), .mse(), .dist()]).requirements.ranking)
  }
}

/// ((r + 1) / k)^-c, scaled to the sum; c >= 0 by the integral from k + 1/2 to C + 1/2 that has the same
/// mean.
private func plainWeights(
  ranks: [Int], k: Int, classes: Int, sum: Double, last: Double
) -> [Double] {
  let mean = sum / Double(max(ranks.count, 1))
  var c = 0.0
  if mean > 0 && mean < last {
    func integral(_ c: Double) -> Double {
      let (from, to) = ((Double(k) + 0.5) / Double(k), (Double(classes) + 0.5) / Double(k))
      let power = 1 - c
      if abs(power) < 1e-9 { return Double(k) * (log(to) - log(from)) }
      return Double(k) * (pow(to, power) - pow(from, power)) / power
    }
    var high = 1.0
    let wanted = mean / last * Double(classes - k)
    while integral(high) > wanted && high < 64 * Double(k + 1) { high *= 2 }
    high = min(high, 64 * Double(k + 1))
    var low = 0.0
    for _ in 0..<100 {
      c = (low + high) / 2
      if integral(c) > wanted { low = c } else { high = c }
    }
  }
  let powers = ranks.map { pow(Double($0 + 1) / Double(k), -c) }
  let total = powers.reduce(0, +)
  return powers.map { total > 0 ? $0 * sum / total : 0 }
}
