import Losses
import TestSupport
import Testing

/// A random step: student logits, labels and a teacher batch of random shape.
struct RandomStep {
  var student: [[Double]]
  var labels: [Int]
  var teacherRows: [[Float]]
  var teacher: TeacherBatch
  var shape: String

  init(seed: Int, temperatures: [Float] = [1, 2, 4]) {
    var generator = SeededGenerator(seed: UInt64(seed))
    let classes = [2, 3, 5, 10, 16, 17, 33, 100, 131, 257].randomElement(using: &generator)!
    let rows = Int.random(in: 1...9, using: &generator)
    let k = [1, classes, Int.random(in: 1...classes, using: &generator)]
      .randomElement(using: &generator)!
    let spread = [0.1, 1, 5, 20].randomElement(using: &generator)!
    student = (0..<rows).map { _ in
      // Float values, so that rounding the inputs is not measured.
      (0..<classes).map { _ in Double(Float(spread * generator.normal())) }
    }
    teacherRows = (0..<rows).map { _ in
      TeacherBatchTests.row(classes: classes, generator: &generator)
    }
    // The best class, or any: labels in the head and outside.
    labels = teacherRows.map { row in
      Bool.random(using: &generator)
        ? row.indices.max { row[$0] < row[$1] }! : Int.random(in: 0..<classes, using: &generator)
    }
    teacher = TeacherBatchTests.batch(
      teacherRows, labels: labels, k: k, temperatures: temperatures)
    shape = "seed \(seed): B \(rows), C \(classes), k \(k), spread \(spread)"
  }

  /// The teacher's records as the batch holds them.
  func records(temperature: Float) -> [ReferenceRecord] {
    teacherRows.indices.map { ReferenceRecord(teacher, row: $0, temperature: temperature) }
  }

  /// The plain reference of a term.
  func reference(_ term: LossTerm) -> ReferenceResult {
    let records = records(temperature: term.temperature ?? 1)
    switch term {
    case .crossEntropy: return referenceCrossEntropy(student, labels: labels)
    case .kd(_, .infinity, _): return referenceKDLimit(student, records)
    case .kd(_, let t, let tail):
      return referenceKD(
        student, records, temperature: Double(t), tail: tail == .uniform ? .uniform : .bucket)
    case .mse(_, let tail): return referenceMSE(student, records, tail: tail)
    case .dist(_, let settings): return referenceDIST(student, records, settings: settings)
    case .pld(_, let t, let tail):
      return referencePLD(student, records, temperature: Double(t), tail: tail)
    case .dkd(_, let t, let alpha, let beta):
      return referenceDKD(student, records, temperature: Double(t), alpha: alpha, beta: beta)
    case .normDirection, .classMeanCosine: preconditionFailure("a feature term")
    }
  }
}

/// Expects four entries of a reference's gradient to be the slopes of its loss.
func expectSlopes(
  of step: RandomStep, seed: Int, _ term: String, _ reference: (RandomStep) -> ReferenceResult
) {
  let right = reference(step).gradient
  for index in 0..<4 {
    let b = index % step.student.count
    let c = (index * 7 + seed) % step.student[0].count
    let width = 1e-5
    var moved = step
    moved.student[b][c] = step.student[b][c] + width
    let above = reference(moved).loss
    moved.student[b][c] = step.student[b][c] - width
    let slope = (above - reference(moved).loss) / (2 * width)
    #expect(
      abs(slope - right[b][c]) < 1e-5 * (1 + abs(slope)),
      "\(step.shape), \(term): slope \(slope), gradient \(right[b][c])")
  }
}

/// The terms that read logits, with the size that a gradient entry of one row can have.
let logitTerms: [(term: LossTerm, scale: Double)] = [
  (.crossEntropy(), 1), (.kd(), 1), (.kd(temperature: 4), 4), (.kd(temperature: 3), 3),
  (.kd(temperature: 2, tail: .bucket), 2), (.kd(temperature: .infinity), 10), (.mse(), 20),
  (.mse(tail: .drop), 20), (.pld(), 1), (.pld(temperature: 4), 1),
  (.pld(temperature: 2, tail: .uniform), 1), (.dkd(), 10),
  (.dkd(temperature: 4, alpha: 1, beta: 2), 12),
]

@Suite struct KernelPropertyTests {
  @Test(arguments: 0..<150)
  func `float kernels agree with the plain reference on random shapes`(seed: Int) throws {
    let step = RandomStep(seed: seed)
    for (term, scale) in logitTerms {
      let result = try KernelRunner.run(
        LossConfiguration([term]), step.student, labels: step.labels, teacher: step.teacher)
      let right = step.reference(term)
      let lossError = abs(result.loss - right.loss) / (scale * scale + abs(right.loss))
      #expect(lossError < 1e-5, "\(step.shape), \(term): \(result.loss), \(right.loss)")
      // Of the loss of one row: the mean over the batch divides by B.
      let error =
        worst(result.gradient, right.gradient) * Double(step.student.count) / scale
      #expect(error < 2e-6, "\(step.shape), \(term): gradient off by \(error)")
    }
  }

  @Test(arguments: 0..<150)
  func `the DIST kernel agrees with the plain reference on random shapes`(seed: Int) throws {
    let step = RandomStep(seed: 5000 + seed)
    for settings in [
      DISTSettings(), DISTSettings(temperature: 4, beta: 2, gamma: 2),
      DISTSettings(beta: 1, gamma: 0, scalesByTemperatureSquared: false),
      DISTSettings(temperature: 2, beta: 0, gamma: 1),
    ] {
      let term = LossTerm.dist(settings)
      let result = try KernelRunner.run(
        LossConfiguration([term]), step.student, labels: step.labels, teacher: step.teacher)
      let right = step.reference(term)
      #expect(
        abs(result.loss - right.loss) < 1e-4 * (1 + right.loss),
        "\(step.shape), \(term): \(result.loss), \(right.loss)")
      // Relative: nearly constant rows and columns have large gradients and lose digits. Between
      // two numbers a correlation is +-1 and its gradient nothing but rounding and eps.
      let size = right.gradient.flatMap(\.self).map(abs).max()!
      let allowed = step.student.count == 2 || step.student[0].count == 2 ? 5e-3 : 1e-4
      let error = worst(result.gradient, right.gradient) / (size + 1)
      #expect(error < allowed, "\(step.shape), \(term): gradient off by \(error) of \(size)")
    }
  }

  @Test(arguments: 0..<40)
  func `gradient rows sum to zero where the loss ignores a common offset`(seed: Int) throws {
    let step = RandomStep(seed: 9000 + seed)
    for (term, scale) in logitTerms + [(.dist(), 1)] {
      if case .mse = term { continue }
      let result = try KernelRunner.run(
        LossConfiguration([term]), step.student, labels: step.labels, teacher: step.teacher)
      for row in result.gradient {
        let size = scale + row.reduce(0) { $0 + abs($1) }
        #expect(abs(row.reduce(0, +)) < 1e-5 * size, "\(step.shape), \(term)")
      }
    }
  }

  @Test(arguments: 0..<20)
  func `the reference gradients are the slopes of the reference losses`(seed: Int) {
    var step = RandomStep(seed: 300 + seed)
    step.student = step.student.map { $0.map { 0.3 * $0 } }
    for term in logitTerms.map(\.term) + [.dist(DISTSettings(temperature: 2, gamma: 2))] {
      expectSlopes(of: step, seed: seed, "\(term)") { $0.reference(term) }
    }
  }

  @Test(arguments: 0..<20)
  func `feature terms agree with the plain reference`(seed: Int) throws {
    var generator = SeededGenerator(seed: UInt64(seed))
    let width = Int.random(in: 1...70, using: &generator)
    func rows(_ count: Int) -> [[Double]] {
      (0..<count).map { _ in (0..<width).map { _ in Double(Float(generator.normal())) } }
    }
    var (features, means) = (rows(6), rows(4))
    means[3] = means[3].map { _ in 0 }
    features[5] = features[5].map { _ in 0 }
    let norms = [0.1, 0.1, 20, 20, 1, 0]
    let labels = [0, 1, 2, 3, 0, 1]
    for (term, teacherNorms) in [
      (LossTerm.normDirection(weight: 3), Optional(norms)), (.classMeanCosine(weight: 3), nil),
    ] {
      let result = try KernelRunner.runFeatures(
        LossConfiguration([.crossEntropy(), term]), features, teacherNorms: norms,
        classMeans: means, labels: labels)
      let right = weightedSum([
        (
          3,
          referenceNormDirection(
            features, teacherNorms: teacherNorms, classMeans: means, labels: labels)
        )
      ])
      #expect(abs(result.loss - right.loss) < 1e-5, "seed \(seed), \(term)")
      let size = right.gradient.flatMap(\.self).map(abs).max()!
      #expect(worst(result.gradient, right.gradient) < 2e-6 * (1 + size), "seed \(seed), \(term)")
    }
  }

  private func worst(_ a: [[Double]], _ b: [[Double]]) -> Double {
    zip(a.flatMap(\.self), b.flatMap(\.self)).map { abs($0 - $1) }.max() ?? 0
  }
}
