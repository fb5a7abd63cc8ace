import Foundation
import Losses
import TestSupport
import Testing

/// What a truncated teacher may cost, against the same loss with every class known.
@Suite struct ErrorBoundTests {
  /// One row of each side, the truncated and the full teacher, and what was dropped.
  struct Truncation {
    var student: [Double]
    var label: Int
    var row: [Double]
    var k: Int
    var temperature: Double
    var head: TeacherBatch
    var full: TeacherBatch
    var shape: String

    init(seed: Int) {
      var generator = SeededGenerator(seed: UInt64(seed))
      let classes = Int.random(in: 3...200, using: &generator)
      k = Int.random(in: 1..<classes, using: &generator)
      temperature = [1.0, 2, 4].randomElement(using: &generator)!
      let floats = TeacherBatchTests.row(classes: classes, generator: &generator)
      row = floats.map { Double($0) }
      label = Int.random(in: 0..<classes, using: &generator)
      let spread = Double.random(in: 0.1...5, using: &generator)
      student = (0..<classes).map { _ in Double(Float(spread * generator.normal())) }
      head = TeacherBatchTests.batch([floats], labels: [label], k: k)
      full = TeacherBatchTests.batch([floats], labels: [label], k: classes)
      shape = "seed \(seed): C \(classes), k \(k), T \(temperature)"
    }

    var order: [Int] { ReferenceRecord(full: row).ids }
    var probabilities: [Double] {
      logSoftmax(row, temperature: temperature).map { exp($0) }
    }
    /// m: the teacher's mass outside the head.
    var mass: Double { order[k...].reduce(0) { $0 + probabilities[$1] } }

    func run(_ term: LossTerm) throws -> (truncated: ReferenceResult, exact: ReferenceResult) {
      let configuration = LossConfiguration([term])
      return (
        try KernelRunner.run(configuration, [student], labels: [label], teacher: head),
        try KernelRunner.run(configuration, [student], labels: [label], teacher: full)
      )
    }

    func distance(_ a: ReferenceResult, _ b: ReferenceResult) -> Double {
      zip(a.gradient[0], b.gradient[0]).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        .squareRoot()
    }
  }

  /// What float kernels may add to a bound, of a loss with values of this size.
  private func slack(_ size: Double) -> Double { 1e-5 * (1 + abs(size)) }

  @Test(arguments: 0..<200)
  func `KD with an even tail`(seed: Int) throws {
    let step = Truncation(seed: seed)
    let (truncated, exact) = try step.run(.kd(temperature: Float(step.temperature)))
    let (t, m) = (step.temperature, step.mass)
    let smallest = step.probabilities[step.order[step.k - 1]]
    #expect(
      step.distance(truncated, exact) <= t * min(m, (m * smallest).squareRoot()) + slack(t),
      "\(step.shape)")
    let tail = step.order[step.k...].map { step.student[$0] }
    let bound = t * t * (m * log(Double(tail.count)) + m * (tail.max()! - tail.min()!) / t)
    #expect(abs(truncated.loss - exact.loss) <= bound + slack(t * t + exact.loss), "\(step.shape)")
  }

  @Test(arguments: 0..<200)
  func `KD with the tail as one class`(seed: Int) throws {
    let step = Truncation(seed: seed)
    let (truncated, exact) = try step.run(
      .kd(temperature: Float(step.temperature), tail: .bucket))
    let (t, m) = (step.temperature, step.mass)
    #expect(step.distance(truncated, exact) <= 2.0.squareRoot() * t * m + slack(t), "\(step.shape)")
    let tail = Array(step.order[step.k...])
    let logP = logSoftmax(tail.map { step.row[$0] }, temperature: t)
    let logQ = logSoftmax(tail.map { step.student[$0] }, temperature: t)
    let within = zip(logP, logQ).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
    #expect(
      abs(exact.loss - truncated.loss - t * t * m * within) <= slack(t * t + exact.loss),
      "\(step.shape)")
  }

  @Test(arguments: 0..<200)
  func `PLD without the tail`(seed: Int) throws {
    let step = Truncation(seed: seed)
    let (truncated, exact) = try step.run(.pld(temperature: Float(step.temperature)))
    let placed = Set(step.order[..<step.k] + [step.label])
    let outside = step.student.indices.filter { !placed.contains($0) }
    let rest = outside.reduce(0) { $0 + step.probabilities[$1] }
    #expect(step.distance(truncated, exact) <= 2.0.squareRoot() * rest + slack(1), "\(step.shape)")
    for c in placed {
      #expect(
        abs(truncated.gradient[0][c] - exact.gradient[0][c]) < 4e-6, "\(step.shape), class \(c)")
    }
    let dropped = exact.loss - truncated.loss
    #expect(dropped >= -slack(exact.loss), "\(step.shape)")
    guard !outside.isEmpty else { return }
    let logits = outside.map { step.student[$0] }
    #expect(
      dropped <= rest * (logSumExp(logits) - logits.min()!) + slack(exact.loss), "\(step.shape)")
  }

  @Test(arguments: 0..<100)
  func `MSE with the tail at its mean`(seed: Int) throws {
    let step = Truncation(seed: seed)
    let (truncated, exact) = try step.run(.mse())
    let tail = step.order[step.k...].map { step.row[$0] }
    let mean = tail.reduce(0, +) / Double(tail.count)
    let variance = tail.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    let expected = 2 / Double(step.row.count) * variance.squareRoot()
    #expect(abs(step.distance(truncated, exact) - expected) <= 1e-5, "\(step.shape)")
  }

  @Test(arguments: 0..<100)
  func `DIST between classes with an even tail`(seed: Int) throws {
    let step = Truncation(seed: seed)
    let (truncated, exact) = try step.run(
      .dist(
        DISTSettings(
          temperature: Float(step.temperature), gamma: 0, scalesByTemperatureSquared: false)))
    let m = step.mass
    let smallest = step.probabilities[step.order[step.k - 1]]
    let norm =
      (step.probabilities.reduce(0) { $0 + $1 * $1 } - 1 / Double(step.row.count)).squareRoot()
    let bound = 2 * min(m, (m * smallest).squareRoot()) / norm
    #expect(abs(truncated.loss - exact.loss) <= bound + slack(1), "\(step.shape)")
  }
}
