import Arrays
import Basics
import Foundation

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
  /// n, the samples that are used; the files may hold more.
  let samples: Int
  /// The label of each sample [n].
  let labels: [Int32]
  private let file: Data
  /// Where the logits begin in the file.
  private let start: Int

  /// Opens the rows of a teacher, the first `limit` samples of each view.
  init(folder: String, name: String, limit: Int?) throws {
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
    return file[first..<first + range.count * classes * 4].withUnsafeBytes {
      Array($0.bindMemory(to: Float.self))
    }
  }

  /// The logits of one row [C].
  func copy(row: Int) -> [Float] {
    let sample = row % samples
    return copy(view: row / samples, samples: sample..<sample + 1)
  }
}
