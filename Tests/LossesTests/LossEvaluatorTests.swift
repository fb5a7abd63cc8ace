import Losses
import TestSupport
import Testing

@Suite struct LossEvaluatorTests {
  /// Evaluates one step from arrays.
  private func evaluate(
    _ evaluator: inout LossEvaluator, _ logits: [Float], labels: [Int32],
    partners: [Int32] = [], shares: [Float] = [], teacher: TeacherBatch? = nil, epoch: Int = 0
  ) throws(LossError) -> (report: LossReport, gradient: [Float]) {
    var gradient = [Float](repeating: .nan, count: logits.count)
    let report: LossReport
    do {
      var slopes = gradient.mutableSpan
      report = try evaluator.evaluate(
        logits: logits.span, labels: labels.span, partnerLabels: partners.span,
        ownShares: shares.span, teacher: teacher, epoch: epoch, gradient: &slopes)
    }
    return (report, gradient)
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity], [0, 16, 18])
  func `a logit that is not finite is an error that names its row`(value: Float, column: Int) {
    var evaluator = LossEvaluator(
      configuration: .crossEntropy, classes: 19, maximumBatch: 3, k: 0)
    var logits = [Float](repeating: 1, count: 57)
    logits[19 + column] = value
    #expect(throws: LossError.nonFiniteLogit(row: 1)) {
      _ = try self.evaluate(&evaluator, logits, labels: [0, 1, 2])
    }
  }

  @Test func `labels are checked, also against the teacher's`() throws {
    var evaluator = LossEvaluator(
      configuration: try LossConfiguration(parsing: "ce+kd"), classes: 3, maximumBatch: 2, k: 3)
    let logits: [Float] = [1, 2, 3, 4, 5, 6]
    let teacher = TeacherBatchTests.batch([[1, 2, 0], [0, 1, 2]], labels: [1, 2], k: 3)
    #expect(throws: LossError.labelOutOfRange(row: 1, label: 3, classes: 3)) {
      _ = try self.evaluate(&evaluator, logits, labels: [0, 3], teacher: teacher)
    }
    #expect(throws: LossError.labelOutOfRange(row: 0, label: -1, classes: 3)) {
      _ = try self.evaluate(
        &evaluator, logits, labels: [1, 2], partners: [-1, 0], shares: [1, 1], teacher: teacher)
    }
    #expect(throws: LossError.labelMismatch(row: 1, label: 0, teacherLabel: 2)) {
      _ = try self.evaluate(&evaluator, logits, labels: [1, 0], teacher: teacher)
    }
    #expect(throws: LossError.missingTeacher) {
      _ = try self.evaluate(&evaluator, logits, labels: [1, 0])
    }
    _ = try evaluate(&evaluator, logits, labels: [1, 2], teacher: teacher)
  }

  @Test(arguments: 0..<20)
  func `a sum is the weighted sum of its terms, with warm-up`(seed: Int) throws {
    let step = RandomStep(seed: 700 + seed)
    let terms: [LossTerm] = [
      .crossEntropy(weight: 0.5), .kd(weight: 2, temperature: 4), .pld(weight: 3),
      .mse(weight: 0.1),
    ]
    let sum = try KernelRunner.run(
      LossConfiguration(terms, warmupEpochs: 4), step.student, labels: step.labels,
      teacher: step.teacher, epoch: 1)
    let parts = terms.map {
      ($0.weight * ($0.comparesLogits ? 0.25 : 1), step.reference($0))
    }
    let right = weightedSum(parts)
    #expect(abs(sum.loss - right.loss) < 2e-5 * (10 + right.loss), "\(step.shape)")
    for (value, wanted) in zip(sum.gradient.joined(), right.gradient.joined()) {
      #expect(abs(value - wanted) < 1e-5, "\(step.shape)")
    }
  }

  @Test func `the report holds each term before its weight`() throws {
    let step = RandomStep(seed: 3)
    let configuration = try LossConfiguration(parsing: "0.5*ce+nd+2*kd")
    var evaluator = LossEvaluator(
      configuration: configuration, classes: step.student[0].count,
      maximumBatch: step.student.count + 5, k: step.teacher.k)
    let (report, _) = try evaluate(
      &evaluator, step.student.flatMap { $0.map { Float($0) } },
      labels: step.labels.map { Int32($0) }, teacher: step.teacher)
    #expect(abs(report[0] - step.reference(.crossEntropy()).loss) < 1e-4 * (1 + report[0]))
    #expect(report[1] == 0)
    #expect(abs(report[2] - step.reference(.kd()).loss) < 1e-4 * (1 + report[2]))
    #expect(report.total == 0.5 * report[0] + 2 * report[2])
  }

  @Test(arguments: 0..<20)
  func `mixed labels share the cross-entropy`(seed: Int) throws {
    let step = RandomStep(seed: 800 + seed)
    var generator = SeededGenerator(seed: UInt64(seed))
    let (count, classes) = (step.student.count, step.student[0].count)
    let partners = (0..<count).map { _ in Int.random(in: 0..<classes, using: &generator) }
    let shares = (0..<count).map { _ in Float.random(in: 0...1, using: &generator) }
    var evaluator = LossEvaluator(
      configuration: .crossEntropy, classes: classes, maximumBatch: count, k: 0)
    let (report, gradient) = try evaluate(
      &evaluator, step.student.flatMap { $0.map { Float($0) } },
      labels: step.labels.map { Int32($0) }, partners: partners.map { Int32($0) }, shares: shares)
    let right = referenceCrossEntropy(
      step.student, labels: step.labels, partners: partners, shares: shares.map { Double($0) })
    #expect(abs(report.total - right.loss) < 1e-5 * (1 + right.loss), "\(step.shape)")
    for (value, wanted) in zip(gradient, right.gradient.joined()) {
      #expect(abs(Double(value) - wanted) < 2e-6, "\(step.shape)")
    }
  }

  @Test func `an evaluator with only feature terms gives a zero gradient`() throws {
    var evaluator = LossEvaluator(
      configuration: LossConfiguration([.normDirection()]), classes: 2, maximumBatch: 1, k: 0)
    let (report, gradient) = try evaluate(&evaluator, [1, 2], labels: [0])
    #expect(report.total == 0 && gradient == [0, 0])
  }

  @Test func `the same step gives the same bits again, and a smaller batch fits too`() throws {
    let step = RandomStep(seed: 12)
    let configuration = try LossConfiguration(parsing: "ce+kd@4+dist+pld+dkd")
    let (count, classes) = (step.student.count, step.student[0].count)
    var evaluator = LossEvaluator(
      configuration: configuration, classes: classes, maximumBatch: count, k: step.teacher.k)
    let logits = step.student.flatMap { $0.map { Float($0) } }
    let labels = step.labels.map { Int32($0) }
    let first = try evaluate(&evaluator, logits, labels: labels, teacher: step.teacher)
    var smaller = step.teacher
    smaller.resize(to: 1)
    _ = try evaluate(
      &evaluator, Array(logits[..<classes]), labels: [labels[0]], teacher: smaller)
    let second = try evaluate(&evaluator, logits, labels: labels, teacher: step.teacher)
    #expect(first.report == second.report && first.gradient == second.gradient)
  }

  @Test func `losses and gradients are these bits on every x86-64 CPU`() throws {
    // Inputs from integers alone, so that nothing but the kernels decides.
    var generator = SeededGenerator(seed: 42)
    func uniform() -> Float { Float(generator.next() >> 40) * 0x1p-20 - 8 }
    let (count, classes, k) = (5, 77, 9)
    let logits = (0..<count * classes).map { _ in uniform() }
    let labels = (0..<count).map { _ in Int32(generator.next() % UInt64(classes)) }
    let rows = (0..<count).map { _ in (0..<classes).map { _ in uniform() } }
    let teacher = TeacherBatchTests.batch(rows, labels: labels.map { Int($0) }, k: k)
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for text in [
      "ce", "kd@4", "kd@3", "kd:bucket", "kd@inf", "mse", "dist@4", "pld:uniform", "dkd@2",
    ] {
      var evaluator = LossEvaluator(
        configuration: try LossConfiguration(parsing: text), classes: classes,
        maximumBatch: count, k: k)
      let (report, gradient) = try evaluate(&evaluator, logits, labels: labels, teacher: teacher)
      for bits in gradient.map({ UInt64($0.bitPattern) }) + [report.total.bitPattern] {
        hash = (hash ^ bits) &* 0x100_0000_01B3
      }
    }
    #expect(String(hash, radix: 16) == "d915085d4137b420")
  }
}
