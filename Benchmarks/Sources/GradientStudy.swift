import Basics
import Foundation
import LogitCache
import Losses

/// How far a loss's gradient from decoded records is from that with the teacher's full rows.
///
/// Rows are drawn at random from all views. The student stands in for one in training; the full rows
/// are records with k = C, so both gradients come from the same code.
struct GradientStudy {
  /// What is reported, and the loss that it is.
  static let losses = [
    ("kd@1", "kd"), ("kd@2", "kd@2"), ("kd@4", "kd@4"), ("pld:drop", "pld"),
    ("pld:uniform", "pld:uniform"), ("dist:inter", "dist:gamma=0"), ("dist:intra", "dist:beta=0"),
    ("mse", "mse"),
  ]
  static let batchRows = 256

  let student: NoisyStudent
  /// The rows of all batches, one batch after the other.
  let chosen: [Int]
  private let classes: Int
  private let labels: [Int32]
  /// Per loss, [rows, C].
  private let references: [[Float]]

  init(_ rows: TeacherRows, batches: Int, seed: UInt64) throws {
    var generator = SplitMix64(seed: seed)
    let count = min(batches, rows.count / Self.batchRows) * Self.batchRows
    guard count > 0 else {
      throw Problem(.usage, "\(rows.count) rows do not fill a batch of \(Self.batchRows)")
    }
    chosen = Array((0..<rows.count).shuffled(using: &generator)[..<count])
    labels = chosen.map { rows.labels[$0 % rows.samples] }
    classes = rows.classes
    var teacher: [Float] = []
    teacher.reserveCapacity(count * classes)
    for row in chosen { teacher += rows.copy(row: row) }
    student = NoisyStudent(
      teacher: teacher, count: count, rows: rows, agreement: 0.7, seed: seed + 1)
    var references = Self.losses.map { _ in [Float]() }
    for first in stride(from: 0, to: count, by: Self.batchRows) {
      var full = TeacherBatch(
        classes: classes, k: classes, tailTemperatures: [], count: Self.batchRows)
      for row in 0..<Self.batchRows {
        let index = first + row
        full.assign(
          row: row, logits: teacher.span.extracting(index * classes..<(index + 1) * classes),
          label: Int(labels[index]))
      }
      for (index, loss) in Self.losses.enumerated() {
        references[index] += try Self.gradient(
          loss.1, full, student.logits, labels, first: first)
      }
    }
    self.references = references
  }

  /// The mean over batches of |g - g'| / |g|, by name of the loss.
  ///
  /// - Parameters:
  ///   - records: the decoded records of the rows `chosen`.
  ///   - axes: of their subspace tail, to compare rebuilt full rows; nil to compare records.
  func errors(of records: TeacherBatch, axes: SubspaceAxes?) throws -> [String: Double] {
    precondition(records.count == chosen.count, "\(records.count) records of \(chosen.count)")
    var batch = TeacherBatch(
      classes: classes, k: records.k, tailTemperatures: records.tailTemperatures,
      count: Self.batchRows, axes: records.axes, ranking: records.hasRanking)
    var full = TeacherBatch.fullRows(of: batch)
    var sums = Self.losses.map { _ in 0.0 }
    let starts = stride(from: 0, to: chosen.count, by: Self.batchRows)
    for first in starts {
      for row in 0..<Self.batchRows { batch.copyRow(first + row, of: records, to: row) }
      axes?.rebuild(batch, into: &full, ordered: true)
      for (index, loss) in Self.losses.enumerated() {
        let found = try Self.gradient(
          loss.1, axes == nil ? batch : full, student.logits, labels, first: first)
        let wanted = references[index][first * classes..<(first + Self.batchRows) * classes]
        sums[index] += distance(found, wanted)
      }
    }
    let batches = Double(chosen.count / Self.batchRows)
    return Dictionary(
      uniqueKeysWithValues: zip(Self.losses, sums).map { ($0.0, $1 / batches) })
  }

  /// [batchRows, C].
  private static func gradient(
    _ loss: String, _ teacher: TeacherBatch, _ student: [Float], _ labels: [Int32], first: Int
  ) throws -> [Float] {
    let classes = teacher.classes
    var evaluator = LossEvaluator(
      configuration: try LossConfiguration(parsing: loss), classes: classes,
      maximumBatch: batchRows, k: teacher.hasRanking ? classes : teacher.k)
    var gradient = [Float](repeating: 0, count: batchRows * classes)
    var slopes = gradient.mutableSpan
    _ = try evaluator.evaluate(
      logits: student.span.extracting(first * classes..<(first + batchRows) * classes),
      labels: labels.span.extracting(first..<first + batchRows), teacher: teacher,
      gradient: &slopes)
    return gradient
  }
}

/// |a - b| / |b|.
private func distance(_ a: [Float], _ b: ArraySlice<Float>) -> Double {
  var (difference, length) = (0.0, 0.0)
  for (a, b) in zip(a, b) {
    difference += (Double(a) - Double(b)) * (Double(a) - Double(b))
    length += Double(b) * Double(b)
  }
  return (difference / length).squareRoot()
}
