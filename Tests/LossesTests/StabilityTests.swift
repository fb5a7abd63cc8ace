import Losses
import TestSupport
import Testing

/// Inputs at the edges: everything is finite, and right where the formulas are well conditioned.
@Suite struct StabilityTests {
  static let kinds = ["+-80", "+-1e4", "equal student", "equal teacher", "offset 1e4", "far tail"]

  /// Student and teacher rows of one kind.
  static func rows(_ kind: String, count: Int, classes: Int, seed: UInt64)
    -> (student: [[Double]], teacher: [[Float]])
  {
    var generator = SeededGenerator(seed: seed)
    func draw(_ values: [Double]) -> [[Double]] {
      (0..<count).map { _ in (0..<classes).map { _ in values.randomElement(using: &generator)! } }
    }
    let normal = (0..<count).map { _ in
      (0..<classes).map { _ in Double(Float(3 * generator.normal())) }
    }
    func floats(_ rows: [[Double]]) -> [[Float]] { rows.map { $0.map { Float($0) } } }
    switch kind {
    case "+-80": return (draw([-80, 0, 80]), floats(draw([-80, 0, 80])))
    case "+-1e4": return (draw([-1e4, 0, 1e4]), floats(draw([-1e4, 0, 1e4])))
    case "equal student": return (draw([0.7]), floats(normal))
    case "equal teacher": return (normal, floats(draw([0.7])))
    case "offset 1e4":
      return (normal.map { $0.map { Double(Float($0 + 1e4)) } }, floats(normal))
    default:
      // The student puts everything on the teacher's head, the rest far below.
      return (
        normal.map { $0.indices.map { c in c == 0 ? 9e3 : -9e3 + Double(c) } },
        floats(normal.map { row in row.indices.map { c in c == 0 ? 30 : row[c] } })
      )
    }
  }

  @Test(arguments: kinds, [(1, 2), (1, 5), (4, 2), (7, 40)])
  func `every loss is finite and right`(kind: String, shape: (count: Int, classes: Int)) throws {
    let (student, teacher) = Self.rows(
      kind, count: shape.count, classes: shape.classes, seed: 11)
    for k in Set([1, (shape.classes + 1) / 2, shape.classes - 1, shape.classes]) {
      for label in [0, shape.classes - 1] {
        let labels = [Int](repeating: label, count: shape.count)
        var step = RandomStep(seed: 0)
        step.student = student
        step.labels = labels
        step.teacherRows = teacher
        step.teacher = TeacherBatchTests.batch(teacher, labels: labels, k: k)
        step.shape = "\(kind), \(shape), k \(k), label \(label)"
        for (term, scale) in logitTerms { try check(step, term, scale: scale) }
        try checkDIST(step, kind: kind)
      }
    }
  }

  private func check(_ step: RandomStep, _ term: LossTerm, scale: Double) throws {
    let result = try KernelRunner.run(
      LossConfiguration([term]), step.student, labels: step.labels, teacher: step.teacher)
    let right = step.reference(term)
    let allowed = 1e-5 * (scale * scale + abs(right.loss))
    #expect(
      result.loss.isFinite && abs(result.loss - right.loss) <= allowed,
      "\(step.shape), \(term): loss \(result.loss), should be \(right.loss)")
    for (row, rightRow) in zip(result.gradient, right.gradient) {
      let size = rightRow.map(abs).max()!
      for (value, wanted) in zip(row, rightRow) {
        #expect(
          value.isFinite && abs(value - wanted) <= 4e-6 * (scale + size),
          "\(step.shape), \(term): gradient \(value), should be \(wanted)")
      }
    }
  }

  /// DIST's gradient at a constant student row or column is of order 1 / eps and not reproducible.
  private func checkDIST(_ step: RandomStep, kind: String) throws {
    let term = LossTerm.dist()
    let result = try KernelRunner.run(
      LossConfiguration([term]), step.student, labels: step.labels, teacher: step.teacher)
    #expect(
      result.loss.isFinite && result.gradient.allSatisfy { $0.allSatisfy(\.isFinite) },
      "\(step.shape)")
    // With a tail, p and its share differ by the rounding of the stored ratio, as large as eps.
    if kind == "equal teacher" && step.teacher.k == step.teacher.classes {
      // Nothing correlates with a constant: 1 - 0 for rows and columns.
      #expect(abs(result.loss - 2) < 1e-4, "\(step.shape): \(result.loss)")
      #expect(result.gradient.allSatisfy { $0.allSatisfy { abs($0) < 1e-3 } }, "\(step.shape)")
    }
  }

  @Test func `a batch of one has no relation within classes`() throws {
    let batch = TeacherBatchTests.batch([[3, 1, 0, -2]], labels: [0], k: 2)
    let result = try KernelRunner.run(
      LossConfiguration([.dist(DISTSettings(temperature: 4, beta: 0, gamma: 1))]), [[1, 2, 0, 5]],
      labels: [0], teacher: batch)
    #expect(result.loss == 16)
    #expect(result.gradient == [[0, 0, 0, 0]])
  }
}
