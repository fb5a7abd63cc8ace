import Losses

extension TeacherBatch {
  /// A batch of an encoding's shape with no rows.
  ///
  /// - Parameters:
  ///   - axes: how many axes its coefficients are on; nil to have none.
  ///   - ranking: whether it takes in the order of all classes.
  init(_ encoding: Encoding, axes: Int?, ranking: Bool = false) {
    self.init(
      classes: encoding.classes, k: encoding.k,
      tailTemperatures: encoding.tailTemperatures.map { Float($0.value) }, count: 0,
      featureNorms: encoding.featureWidth != nil, axes: axes, ranking: ranking)
    if encoding.positions != nil { places = RowPlaces() }
  }
}

/// The records of a block as integers, one column per field: exactly what a block stores.
///
/// Columns of ranks are rank-major: rank j of row r is at `j * rows + r`.
struct RecordColumns: Equatable {
  let classes: Int
  let k: Int
  let temperatures: Int
  let hasFeatureNorms: Bool
  let hasRanking: Bool
  private(set) var rows = 0

  /// Head classes [k, rows], best first.
  var ids: [UInt32] = []
  /// Gaps to the largest logit in steps [k, rows], ascending along ranks, 0 at rank 0.
  var levels: [UInt32] = []
  /// The largest logit in its steps [rows].
  var largest: [Int32] = []
  /// The label [rows].
  var labels: [UInt32] = []
  /// The label's rank in the full order [rows].
  var labelRanks: [UInt32] = []
  /// The label's gap in steps [rows].
  var labelLevels: [UInt32] = []
  /// log(tail / head) in its steps [temperatures, rows].
  var tails: [Int32] = []
  /// Codes of the feature norms [rows]; empty unless kept.
  var featureNorms: [UInt32] = []
  /// The classes behind the head [C - k, rows], best first; empty unless kept.
  var ranking: [UInt32] = []
  /// Which sample and position each row belongs to; nil when every sample has one row.
  var places: RowPlaces?
  /// The subspace tail; nil without one.
  var tail: SubspaceColumns?

  /// - Parameter axes: of a subspace tail; nil without one.
  init(_ encoding: Encoding, axes: SubspaceAxes? = nil) {
    classes = encoding.classes
    k = encoding.k
    temperatures = encoding.tailTemperatures.count
    hasFeatureNorms = encoding.featureWidth != nil
    hasRanking = encoding.ranking != nil
    tail = axes.map { SubspaceColumns(axes: $0.count, trellisAxes: $0.trellisAxes) }
  }

  /// Makes room for `count` rows; their content is arbitrary until overwritten.
  mutating func resize(to count: Int) {
    if count == rows { return }
    rows = count
    ids = Array(repeating: 0, count: k * count)
    levels = ids
    largest = Array(repeating: 0, count: count)
    labels = Array(repeating: 0, count: count)
    labelRanks = labels
    labelLevels = labels
    tails = Array(repeating: 0, count: temperatures * count)
    featureNorms = Array(repeating: 0, count: hasFeatureNorms ? count : 0)
    ranking = Array(repeating: 0, count: hasRanking ? (classes - k) * count : 0)
    tail?.resize(to: count)
  }

  /// Gives every label that its record's head names the head's rank and gap, and the others rank k.
  mutating func findLabels() {
    for row in 0..<rows { labelRanks[row] = UInt32(k) }
    labelRanks.withUnsafeMutableBufferPointer { found in
      ids.withUnsafeBufferPointer { ids in
        labels.withUnsafeBufferPointer { labels in
          for rank in 0..<k {
            let (start, rank) = (rank &* rows, UInt32(truncatingIfNeeded: rank))
            for row in 0..<rows {
              let before = found[row]
              found[row] = ids[start &+ row] == labels[row] ? rank : before
            }
          }
        }
      }
    }
    for row in 0..<rows where labelRanks[row] < UInt32(k) {
      labelLevels[row] = levels[Int(labelRanks[row]) * rows + row]
    }
  }

  /// Writes the records as floating-point values, row-major.
  ///
  /// - Precondition: the batch has this shape: same classes, k and tail temperatures, and as many axes
  ///   or none; it takes in a ranking only if there is one.
  func write(to batch: inout TeacherBatch, _ encoding: Encoding) {
    precondition(
      batch.classes == classes && batch.k == k && batch.tailTemperatures.count == temperatures
        && batch.hasFeatureNorms == hasFeatureNorms,
      "a batch of \(batch.classes) classes, k = \(batch.k) cannot hold \(classes), k = \(k)")
    batch.resize(to: rows)
    batch.places = places
    let step = 1 / Float(encoding.stepsPerNat)
    let largestStep = 1 / Float(encoding.largestStepsPerNat)
    let tailStep = 1 / Float(encoding.tailStepsPerNat)
    transpose(ids, columns: k, into: &batch.classIDs) { Int32(truncatingIfNeeded: $0) }
    transpose(levels, columns: k, into: &batch.gaps) { Float($0) * step }
    transpose(tails, columns: temperatures, into: &batch.logTailRatios) { Float($0) * tailStep }
    transpose(largest, columns: 1, into: &batch.largestLogits) { Float($0) * largestStep }
    transpose(labels, columns: 1, into: &batch.labels) { Int32(truncatingIfNeeded: $0) }
    transpose(labelRanks, columns: 1, into: &batch.labelRanks) { Int32(truncatingIfNeeded: $0) }
    if hasFeatureNorms {
      transpose(featureNorms, columns: 1, into: &batch.featureNorms) { FeatureNorm.value(of: $0) }
    }
    transpose(labelLevels, columns: 1, into: &batch.labelGaps) { Float($0) * step }
    if batch.hasRanking { writeRanking(to: &batch.ranking) }
    if batch.axes != nil, let tail, let settings = encoding.subspaceTail {
      tail.write(to: &batch, step: settings.step, gapStep: step)
    }
  }

  /// Turns columns into rows, a tile of rows after the other.
  ///
  /// So a column's writes stay in the first cache: about one store a cycle. Exchanging lanes of vectors
  /// instead gains up to a third at some k and loses it at others.
  @inline(__always)
  private func transpose<Source, Target>(
    _ source: [Source], columns: Int, into target: inout [Target],
    _ convert: (Source) -> Target
  ) {
    let rows = rows
    source.withUnsafeBufferPointer { source in
      target.withUnsafeMutableBufferPointer { target in
        for start in stride(from: 0, to: rows, by: 128) {
          for column in 0..<columns {
            for row in start..<min(start + 128, rows) {
              target[row &* columns &+ column] = convert(source[column &* rows &+ row])
            }
          }
        }
      }
    }
  }
}
