import Basics
import DataSets
import LogitCache
import Losses
import Teachers
import Views

/// One thread's teacher session, and the full rows it gave last.
struct TeacherRows {
  private let classes: Int
  private let featureWidth: Int
  /// The most samples that the teacher takes at once.
  let batchSize: Int
  private let augmenter: Augmenter
  private let session: any TeacherSession
  private var views: ViewBatch
  /// Logits [`count` or more, C].
  private(set) var logits: [Float]
  /// Features [`count` or more, D]; empty unless they are wanted.
  private(set) var features: [Float]
  /// The label of each row.
  private(set) var labels: [Int32] = []
  /// Where the rows belong; nil without positions.
  private(set) var places: RowPlaces?

  private let positions: Positions?
  /// What the teacher said of a batch at all positions [batch, M, C], and which of them count.
  private var spoken: [Float]
  private var spokenPlaces = RowPlaces()

  /// How many rows there are.
  var count: Int { labels.count }

  /// Room for the rows of `samples` samples.
  ///
  /// - Parameter encoding: says of how many positions rows are wanted, and whether features are.
  init(
    _ teacher: any Teacher, _ augmenter: Augmenter, samples: Int, _ encoding: Encoding
  ) throws {
    classes = teacher.classes
    featureWidth = encoding.featureWidth ?? 0
    positions = encoding.positions
    batchSize = teacher.batchSize
    self.augmenter = augmenter
    session = try teacher.makeSession()
    views = augmenter.makeBatch()
    let maximum = encoding.positions?.maximum ?? 1
    logits = [Float](repeating: 0, count: samples * maximum * classes)
    features = [Float](repeating: 0, count: samples * featureWidth)
    let batch = encoding.positions == nil ? 0 : min(batchSize, samples)
    spoken = [Float](repeating: 0, count: batch * maximum * classes)
  }

  /// Leaves no rows.
  mutating func clear() {
    labels.removeAll(keepingCapacity: true)
    places = positions.map { _ in RowPlaces() }
  }

  /// Runs the teacher over samples of a view, in batches from the first sample on, and adds the rows.
  ///
  /// - Returns: the digest of the tensors that the teacher saw.
  @discardableResult
  mutating func add(_ samples: Range<Int>, view: Int) throws -> Digest {
    var pixels = DigestBuilder()
    try add(samples, view: view, hashing: &pixels)
    return pixels.finish()
  }

  /// As above; hashes the tensors that the teacher saw into a digest that others go on with.
  mutating func add(
    _ samples: Range<Int>, view: Int, hashing pixels: inout DigestBuilder
  ) throws {
    for first in stride(from: samples.lowerBound, to: samples.upperBound, by: batchSize) {
      let batch = first..<min(first + batchSize, samples.upperBound)
      try augmenter.render(samples: batch, view: view, into: &views)
      views.appendTensors(to: &pixels)
      if let positions {
        try addPositions(of: batch, view: view, positions)
      } else {
        let rows = count..<count + batch.count
        try session.logits(of: views, into: &logits, rows * classes)
        if featureWidth > 0 { try session.features(into: &features, rows * featureWidth) }
        labels += augmenter.dataSet.labels[batch]
      }
    }
  }

  /// Adds the rows of the views that are rendered, at the positions that count.
  private mutating func addPositions(
    of samples: Range<Int>, view: Int, _ positions: Positions
  ) throws {
    let maximum = positions.maximum
    spokenPlaces = RowPlaces()
    try session.logits(
      of: views, into: &spoken, 0..<samples.count * maximum * classes, places: &spokenPlaces)
    precondition(
      spokenPlaces.samples == samples.count,
      "places of \(spokenPlaces.samples) samples for \(samples.count)")
    let all = augmenter.dataSet.labels
    if positions.labels == .position {
      let part = all[samples.lowerBound * maximum..<samples.upperBound * maximum]
      let labelled = RowPlaces(labels: part, maximum: maximum)
      try labelled.demandRows(among: spokenPlaces, firstSample: samples.lowerBound, view: view)
      spokenPlaces = labelled
    }
    for (index, sample) in samples.enumerated() {
      let rows = spokenPlaces.positions[spokenPlaces.rows(of: index)]
      for position in rows {
        copy(row: index * maximum + Int(position), to: count)
        labels.append(
          positions.labels == .sample ? all[sample] : all[sample * maximum + Int(position)])
      }
      places?.append(sampleAt: rows)
    }
  }

  private mutating func copy(row: Int, to target: Int) {
    let classes = classes
    precondition((target + 1) * classes <= logits.count, "row \(target) of \(logits.count)")
    spoken.withUnsafeBufferPointer { spoken in
      logits.withUnsafeMutableBufferPointer { logits in
        (logits.baseAddress! + target * classes).update(
          from: spoken.baseAddress! + row * classes, count: classes)
      }
    }
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

  /// Gives logits of all positions into a part of an array.
  fileprivate func logits(
    of batch: borrowing ViewBatch, into array: inout [Float], _ range: Range<Int>,
    places: inout RowPlaces
  ) throws {
    var all = array.mutableSpan
    var part = all._mutatingExtracting(range)
    try logits(of: batch, into: &part, places: &places)
  }

  /// Gives features into a part of an array.
  fileprivate func features(into array: inout [Float], _ range: Range<Int>) throws {
    var all = array.mutableSpan
    var part = all._mutatingExtracting(range)
    try features(into: &part)
  }
}
