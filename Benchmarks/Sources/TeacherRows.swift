import Arrays
import Basics
import Foundation

/// What becomes of a teacher's rows before they are kept.
enum RowForm: String, CaseIterable {
  /// Nothing: logits as the teacher gives them.
  case logits
  /// Each row minus its log-sum-exp: what is left of logits when a teacher's output is a softmax.
  case logProbabilities = "log-probabilities"
}

/// A teacher's full rows, as `Benchmarks/Peers/teacher_rows.py` writes them; mapped, not loaded.
struct TeacherRows {
  /// What the files say about themselves.
  struct Facts: Decodable {
    var views: Int
    var samples: Int
    var classes: Int
    var teacher: String
    var how: String
    /// The mean probability of a row's best class.
    var meanP1: Double
    /// Rows whose best class is the label.
    var agreementWithLabel: Double
  }

  let name: String
  let facts: Facts
  let form: RowForm
  /// n, the samples that are used; the files may hold more.
  let samples: Int
  /// The label of each sample [n].
  let labels: [Int32]
  private let file: Data
  /// Where the logits begin in the file.
  private let start: Int

  /// Opens the rows of a teacher, the first `limit` samples of each view.
  init(folder: String, name: String, form: RowForm, limit: Int?) throws {
    let prefix = "\(folder)/\(name)"
    let text = String(decoding: try Files.read(prefix + ".json"), as: UTF8.self)
    let facts = try decode(Facts.self, from: text, source: prefix + ".json")
    samples = min(limit ?? facts.samples, facts.samples)
    let stored = try NumPy.read(prefix + "-labels.npy")
    guard case .int32(let labels) = stored.values, labels.count == facts.samples else {
      throw Problem(.corrupt, "\(prefix)-labels.npy is not int32 [\(facts.samples)]")
    }
    self.labels = Array(labels[..<samples])
    file = try Data(
      contentsOf: URL(fileURLWithPath: prefix + "-logits.npy"), options: .alwaysMapped)
    let rows = facts.views * facts.samples
    start = file.count - rows * facts.classes * MemoryLayout<Float>.size
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(rows), \(facts.classes)), }"
    guard start > 10, String(decoding: file[10..<start], as: UTF8.self).hasPrefix(header) else {
      throw Problem(.corrupt, "\(prefix)-logits.npy is not float32 [\(rows), \(facts.classes)]")
    }
    self.name = name
    self.facts = facts
    self.form = form
  }

  /// C.
  var classes: Int { facts.classes }
  /// V.
  var views: Int { facts.views }
  /// V n; row r is view r / n of sample r % n.
  var count: Int { views * samples }

  /// The logits of consecutive samples of a view, [samples, C].
  func copy(view: Int, samples range: Range<Int>) -> [Float] {
    precondition(
      view < views && range.upperBound <= samples, "no samples \(range) in view \(view)")
    let first = start + (view * facts.samples + range.lowerBound) * classes * 4
    var logits = file[first..<first + range.count * classes * 4].withUnsafeBytes {
      Array($0.bindMemory(to: Float.self))
    }
    if form == .logProbabilities {
      for start in stride(from: 0, to: logits.count, by: classes) {
        normalise(&logits, start..<start + classes)
      }
    }
    return logits
  }

  /// The logits of one row [C].
  func copy(row: Int) -> [Float] {
    let sample = row % samples
    return copy(view: row / samples, samples: sample..<sample + 1)
  }
}

/// Subtracts the log-sum-exp of a row, as a softmax and a logarithm in double precision do.
private func normalise(_ logits: inout [Float], _ row: Range<Int>) {
  let largest = Double(logits[row].max()!)
  var sum = 0.0
  for index in row { sum += exp(Double(logits[index]) - largest) }
  let shift = largest + log(sum)
  for index in row { logits[index] = Float(Double(logits[index]) - shift) }
}
