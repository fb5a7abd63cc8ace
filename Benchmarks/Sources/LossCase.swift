import Arrays
import Basics
import Foundation
import Losses

/// The inputs of one case, the same for both sides.
struct LossCase {
  /// B.
  let batch: Int
  /// C.
  let classes: Int
  /// Logits [B, C] and labels [B].
  let student: [Float]
  let teacher: [Float]
  let labels: [Int32]

  /// Random inputs: a teacher that mostly knows the label, a student half-way to it.
  init(batch: Int, classes: Int, seed: UInt64) {
    var generator = SplitMix64(seed: seed)
    var teacher = [Float]()
    var student = [Float]()
    var labels = [Int32]()
    for _ in 0..<batch {
      let label = Int.random(in: 0..<classes, using: &generator)
      labels.append(Int32(label))
      for c in 0..<classes {
        let pull = c == label ? Float(log(Double(classes))) + 3 : 0
        let logit = 2 * normal(&generator) + pull
        teacher.append(logit)
        student.append(0.5 * logit + normal(&generator))
      }
    }
    self.batch = batch
    self.classes = classes
    self.student = student
    self.teacher = teacher
    self.labels = labels
  }

  /// B C, what times are divided by.
  var logits: Int { batch * classes }

  /// Writes the inputs for `TorchPeer.load`.
  func write(to folder: String) throws {
    let shape = [batch, classes]
    try NumPy.write(
      NamedArray(shape: shape, values: .float32(student)), to: folder + "/student.npy")
    try NumPy.write(
      NamedArray(shape: shape, values: .float32(teacher)), to: folder + "/teacher.npy")
    try NumPy.write(
      NamedArray(shape: [batch], values: .int32(labels)), to: folder + "/labels.npy")
  }

  /// What a cache keeps of the teacher: the best k classes and the tail's mass.
  func records(k: Int) -> TeacherBatch {
    var records = TeacherBatch(
      classes: classes, k: k, tailTemperatures: k < classes ? [1, 2, 4] : [], count: batch,
      meanTailGaps: k < classes)
    for b in 0..<batch {
      let row = teacher.span.extracting(b * classes..<(b + 1) * classes)
      records.assign(row: b, logits: row, label: Int(labels[b]))
    }
    return records
  }

  /// The value and the gradient [B, C] of a loss, by this package.
  func evaluate(_ loss: String, _ records: TeacherBatch) throws -> (
    loss: Double, gradient: [Float]
  ) {
    var evaluator = try evaluator(loss, records)
    var gradient = [Float](repeating: 0, count: logits)
    let value = try step(&evaluator, records, gradient: &gradient)
    return (value, gradient)
  }

  /// The least nanoseconds of a forward and backward pass, by this package.
  func fastest(_ loss: String, _ records: TeacherBatch, seconds: Double) throws -> Double {
    var evaluator = try evaluator(loss, records)
    var gradient = [Float](repeating: 0, count: logits)
    return try benchmarks.fastest(seconds: seconds) {
      _ = try step(&evaluator, records, gradient: &gradient)
    }
  }

  private func evaluator(_ loss: String, _ records: TeacherBatch) throws -> LossEvaluator {
    LossEvaluator(
      configuration: try LossConfiguration(parsing: loss), classes: classes, maximumBatch: batch,
      k: records.k)
  }

  private func step(
    _ evaluator: inout LossEvaluator, _ records: TeacherBatch, gradient: inout [Float]
  ) throws -> Double {
    var slopes = gradient.mutableSpan
    return try evaluator.evaluate(
      logits: student.span, labels: labels.span, teacher: records, gradient: &slopes
    ).total
  }

  /// The least nanoseconds of what no loss can do without, row by row: read the logits and write
  /// as much as the gradient (a copy), and all but MSE take an exp of each logit (the losses' own).
  func fastestPossible(exponentials: Bool, seconds: Double) -> Double {
    var gradient = [Float](repeating: 0, count: logits)
    var row = [Float](repeating: 0, count: classes)
    let maximum = student.max() ?? 0
    return benchmarks.fastest(seconds: seconds) {
      student.withUnsafeBufferPointer { source in
        gradient.withUnsafeMutableBufferPointer { target in
          row.withUnsafeMutableBufferPointer { numerators in
            for start in stride(from: 0, to: logits, by: classes) {
              let values = source.baseAddress! + start
              (target.baseAddress! + start).update(from: values, count: classes)
              guard exponentials else { continue }
              writeExponentials(
                values, maximum: maximum, scale: 1, count: classes, into: numerators.baseAddress!)
            }
          }
        }
      }
    }
  }
}

/// A number from the standard normal distribution (Box and Muller).
func normal(_ generator: inout SplitMix64) -> Float {
  let u = Double.random(in: Double.leastNonzeroMagnitude...1, using: &generator)
  let v = Double.random(in: 0..<1, using: &generator)
  return Float((-2 * log(u)).squareRoot() * cos(2 * .pi * v))
}
