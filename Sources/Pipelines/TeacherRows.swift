import Basics
import Teachers
import Views

/// One thread's teacher session, and the full rows it gave last.
struct TeacherRows {
  private let classes: Int
  private let featureWidth: Int
  private let batchSize: Int
  private let augmenter: Augmenter
  private let session: any TeacherSession
  private var views: ViewBatch
  /// Logits [rows, C].
  private(set) var logits: [Float]
  /// Features [rows, D]; empty unless they are wanted.
  private(set) var features: [Float]

  /// Room for `rows` rows.
  ///
  /// - Parameter featureWidth: D, or 0 when no features are wanted.
  init(
    _ teacher: any Teacher, _ augmenter: Augmenter, rows: Int, featureWidth: Int
  ) throws {
    classes = teacher.classes
    self.featureWidth = featureWidth
    batchSize = teacher.batchSize
    self.augmenter = augmenter
    session = try teacher.makeSession()
    views = augmenter.makeBatch()
    logits = [Float](repeating: 0, count: rows * classes)
    features = [Float](repeating: 0, count: rows * featureWidth)
  }

  /// Runs the teacher over samples of a view, in batches from the first sample on; fills the rows from `row` on.
  ///
  /// - Returns: the digest of the tensors that the teacher saw.
  @discardableResult
  mutating func fill(_ samples: Range<Int>, view: Int, row: Int = 0) throws -> Digest {
    var pixels = DigestBuilder()
    for first in stride(from: samples.lowerBound, to: samples.upperBound, by: batchSize) {
      let batch = first..<min(first + batchSize, samples.upperBound)
      try augmenter.render(samples: batch, view: view, into: &views)
      views.appendTensors(to: &pixels)
      let start = row + first - samples.lowerBound
      let rows = start..<start + batch.count
      try session.logits(of: views, into: &logits, rows * classes)
      if featureWidth > 0 { try session.features(into: &features, rows * featureWidth) }
    }
    return pixels.finish()
  }
}

/// The numbers of some rows.
private func * (rows: Range<Int>, width: Int) -> Range<Int> {
  rows.lowerBound * width..<rows.upperBound * width
}

extension TeacherSession {
  /// Gives logits into a part of an array.
  fileprivate func logits(
    of batch: borrowing ViewBatch, into array: inout [Float], _ range: Range<Int>
  ) throws {
    var all = array.mutableSpan
    var part = all._mutatingExtracting(range)
    try logits(of: batch, into: &part)
  }

  /// Gives features into a part of an array.
  fileprivate func features(into array: inout [Float], _ range: Range<Int>) throws {
    var all = array.mutableSpan
    var part = all._mutatingExtracting(range)
    try features(into: &part)
  }
}
