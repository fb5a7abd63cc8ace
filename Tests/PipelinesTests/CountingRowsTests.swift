import Losses
import Networks
import Pipelines
import TestSupport
import Testing

/// Random logits of a student with positions, rows of them that count, and a teacher's records for these.
private struct MaskedStep {
  static let classes = 5

  let logits: Tensor
  let gradient: Tensor
  let values: [Float]
  let rows: [Int32]
  let labels: [Int32]
  let teacher: TeacherBatch

  /// - Parameter rows: which of the rows count, of all of them.
  init(
    samples: Int, positions: Int, seed: UInt64,
    counting rows: (ClosedRange<Int32>, inout SeededGenerator) -> [Int32]
  ) throws {
    var random = SeededGenerator(seed: seed)
    let network = try Network(
      Architecture("mlp"), input: LayerShape(features: positions * 3), classes: Self.classes,
      positions: positions, seed: seed)
    let input = network.inputBatch(count: samples)
    input.withMutableValues { x in for i in 0..<x.count { x[i] = 3 * Float(random.normal()) } }
    logits = network.forward(input)
    gradient = network.logitsGradient(count: logits.count)
    values = logits.withValues { y in (0..<y.count).map { y[$0] } }
    self.rows = rows(0...Int32(samples * positions - 1), &random)
    labels = self.rows.map { _ in Int32.random(in: 0..<Int32(Self.classes), using: &random) }
    var teacher = TeacherBatch(
      classes: Self.classes, k: Self.classes, tailTemperatures: [], count: labels.count)
    for row in labels.indices {
      let logits = (0..<Self.classes).map { _ in 2 * Float(random.normal()) }
      teacher.assign(row: row, logits: logits.span, label: Int(labels[row]))
    }
    self.teacher = teacher
  }

  func evaluator(_ loss: String) throws -> LossEvaluator {
    LossEvaluator(
      configuration: try LossConfiguration(parsing: loss), classes: Self.classes,
      maximumBatch: max(values.count / Self.classes, 1), k: Self.classes)
  }

  /// The loss of all rows that count at once, and the gradient at all rows.
  func fused(_ loss: String) throws -> (Double, [Float]) {
    logits.withMutableValues { x in for i in values.indices { x[i] = values[i] } }
    gradient.withMutableValues { x in for i in values.indices { x[i] = .nan } }
    var evaluator = try evaluator(loss)
    let total = try withCountingRows(rows, of: logits, gradient: gradient) { logits, gradient in
      if labels.isEmpty { return 0.0 }
      return try evaluator.evaluate(
        logits: logits, labels: labels.span, teacher: teacher, gradient: &gradient
      ).total
    }
    return (total, gradient.withValues { x in (0..<x.count).map { x[$0] } })
  }

  /// The same, one position after the other: the mean of the losses of those that count.
  func plain(_ loss: String) throws -> (Double, [Float]) {
    var evaluator = try evaluator(loss)
    var (total, gradient) = (0.0, [Float](repeating: 0, count: values.count))
    for (index, row) in rows.enumerated() {
      let place = Int(row) * Self.classes..<(Int(row) + 1) * Self.classes
      var one = TeacherBatch(
        classes: Self.classes, k: Self.classes, tailTemperatures: [], count: 1)
      one.copyRow(index, of: teacher, to: 0)
      let label = [labels[index]]
      var slopes = [Float](repeating: 0, count: Self.classes)
      do {
        var span = slopes.mutableSpan
        total += try evaluator.evaluate(
          logits: values.span.extracting(place), labels: label.span, teacher: one,
          gradient: &span
        ).total
      }
      gradient.replaceSubrange(place, with: slopes.map { $0 / Float(rows.count) })
    }
    return (total / Double(max(rows.count, 1)), gradient)
  }
}

@Suite struct CountingRowsTests {
  @Test(arguments: 1...25 as ClosedRange<UInt64>)
  func `the loss of masked rows is the mean of its positions`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let (samples, positions) = (
      Int.random(in: 1...9, using: &random), Int.random(in: 2...6, using: &random)
    )
    let share = Double.random(in: 0...1, using: &random)
    let step = try MaskedStep(samples: samples, positions: positions, seed: seed) { all, random in
      all.filter { _ in Double.random(in: 0..<1, using: &random) < share }
    }
    for loss in ["ce", "kd@4", "pld", "mse", "dkd@4", "0.3*ce+0.7*kd@2"] {
      let (fused, gradient) = try step.fused(loss)
      let (plain, slopes) = try step.plain(loss)
      #expect(abs(fused - plain) < 1e-5 * (1 + abs(plain)), "\(loss), seed \(seed)")
      for index in slopes.indices {
        #expect(
          abs(gradient[index] - slopes[index]) < 4e-6, "\(loss), number \(index), seed \(seed)")
      }
    }
  }

  @Test(arguments: ["ce", "kd@4", "pld", "mse", "dist@4", "2*ce+dist"], [UInt64(1), 2, 3])
  func `losses see the rows that count as their batch, bit for bit`(
    loss: String, seed: UInt64
  ) throws {
    let step = try MaskedStep(samples: 8, positions: 4, seed: seed) { all, random in
      all.filter { $0 == 5 || Bool.random(using: &random) }
    }
    let (fused, gradient) = try step.fused(loss)
    let classes = MaskedStep.classes
    let chosen = step.rows.flatMap { step.values[Int($0) * classes..<(Int($0) + 1) * classes] }
    var slopes = [Float](repeating: 0, count: chosen.count)
    var evaluator = try step.evaluator(loss)
    do {
      var span = slopes.mutableSpan
      let report = try evaluator.evaluate(
        logits: chosen.span, labels: step.labels.span, teacher: step.teacher, gradient: &span)
      #expect(report.total == fused)
    }
    for row in 0..<32 {
      let found = Array(gradient[row * classes..<(row + 1) * classes])
      let index = step.rows.firstIndex(of: Int32(row))
      let wanted = index.map { Array(slopes[$0 * classes..<($0 + 1) * classes]) }
      #expect(found == wanted ?? Array(repeating: 0, count: classes), "row \(row), seed \(seed)")
    }
  }

  @Test func `with every row masked the loss and its gradient are 0`() throws {
    let step = try MaskedStep(samples: 3, positions: 4, seed: 1) { _, _ in [] }
    let (loss, gradient) = try step.fused("ce")
    #expect(loss == 0)
    #expect(gradient.allSatisfy { $0 == 0 })
  }

  @Test func `rows that all count are left where they are`() throws {
    let step = try MaskedStep(samples: 3, positions: 4, seed: 1) { all, _ in Array(all) }
    _ = try step.fused("kd@4")
    #expect(
      step.logits.withValues { x in step.values.indices.allSatisfy { x[$0] == step.values[$0] } })
  }
}
