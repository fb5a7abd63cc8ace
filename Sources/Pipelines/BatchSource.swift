import Basics
import DataSets
import LogitCache
import Losses
import Views

/// One step's inputs: views, labels and, when the loss compares with a teacher, its records.
struct TrainingBatch {
  var views: ViewBatch
  /// The label of every row that counts.
  var labels: [Int32] = []
  /// Which rows of the student's logits [samples, positions] count, ascending; `nil` when all do.
  var rows: [Int32]?
  /// Labels of mixup and CutMix partners; empty when the recipe mixes nothing.
  var partnerLabels: [Int32] = []
  /// What losses read: records, or full rows rebuilt from them.
  var teacher: TeacherBatch?
  /// The records that full rows are rebuilt from; `nil` when losses read the records themselves.
  fileprivate var coefficients: TeacherBatch?
  fileprivate var samples: [Int] = []

  /// How many samples it holds.
  var count: Int { samples.count }
}

/// Where a training run takes its batches from: a data set, an augmenter and perhaps a cache.
struct BatchSource {
  let dataSet: any DataSet
  /// T, the distributions that the student gives for a sample.
  let positions: Int
  let augmenter: Augmenter
  /// The cache whose views are replayed; `nil` when every epoch draws a new view.
  let cache: CacheReader?
  /// Whether teacher records are wanted, not only the cache's views.
  let needsTeacher: Bool
  /// Whether losses read full rows, which `cache` can rebuild, and in the teacher's order.
  let fullRows: RebuiltRows
  /// Whether losses read the order of all classes, which `cache` keeps.
  let ranking: Bool
  let batchSize: Int
  let seed: UInt64
  /// How much memory decoded records may take that are kept for later epochs.
  let decodedBytes: Int
  /// What the certificate had against the loss and was accepted.
  var acceptedErrors: [UncoveredLoss] = []

  /// How losses read full rows.
  enum RebuiltRows {
    /// Not at all.
    case none
    /// In any order; in the teacher's.
    case unordered, ordered

    /// Full rows where losses use them and the cache can rebuild them.
    init(_ needs: LossRequirements, _ cache: CacheReader) {
      guard needs.usesFullRows && cache.axes != nil else {
        self = .none
        return
      }
      self = needs.order ? .ordered : .unordered
    }
  }

  /// The k of the batches that losses read; 0 without a teacher.
  var headClasses: Int {
    guard needsTeacher, let encoding = cache?.manifest.encoding else { return 0 }
    return fullRows == .none && !ranking ? encoding.k : encoding.classes
  }

  var stepsPerEpoch: Int { (dataSet.count + batchSize - 1) / batchSize }
  private var blockRows: Int { cache?.manifest.encoding.blockRows ?? 2048 }

  /// The view an epoch trains on: the cache's views in turn, or a new one each time.
  func view(ofEpoch epoch: Int) -> Int {
    cache.map { epoch % $0.manifest.views } ?? epoch
  }

  /// Starts making the batches of epochs on a second thread, `stepsPerEpoch` for each.
  func batches(ofEpochs epochs: Range<Int>) -> Prefetcher<TrainingBatch> {
    let cursor = EpochCursor(
      epochs: epochs, samples: dataSet.count, blockRows: blockRows, seed: seed,
      blocks: needsTeacher
        ? cache.map {
          DecodedBlocks(
            $0, coefficients: fullRows != .none, ranking: ranking, keepingBytes: decodedBytes)
        } : nil,
      view: view(ofEpoch:))
    return Prefetcher(
      depth: 2, elements: epochs.count * stepsPerEpoch, fresh: { emptyBatch() },
      fill: { index, batch in
        let (epoch, step) = index.quotientAndRemainder(dividingBy: stepsPerEpoch)
        let count = min(batchSize, dataSet.count - step * batchSize)
        try takeRecords(count, from: cursor, into: &batch)
        try augmenter.render(
          samples: batch.samples[...], view: view(ofEpoch: epochs.lowerBound + epoch),
          into: &batch.views)
        fillLabels(of: &batch)
      })
  }

  private func emptyBatch() -> TrainingBatch {
    var batch = TrainingBatch(views: ViewBatch(shape: dataSet.shape))
    if positions > 1 { batch.rows = [] }
    guard needsTeacher, let cache else { return batch }
    let records = cache.makeBatch(coefficients: fullRows != .none, ranking: ranking)
    if fullRows == .none {
      batch.teacher = records
    } else {
      batch.teacher = .fullRows(of: records)
      batch.coefficients = records
    }
    return batch
  }

  /// Goes on by `count` samples; rebuilds their full rows on this thread, beside the student's work.
  private func takeRecords(
    _ count: Int, from cursor: EpochCursor, into batch: inout TrainingBatch
  ) throws {
    if fullRows == .none {
      return try cursor.take(count, samples: &batch.samples, records: &batch.teacher)
    }
    try cursor.take(count, samples: &batch.samples, records: &batch.coefficients)
    guard let axes = cache?.axes, let records = batch.coefficients, var rows = batch.teacher.take()
    else { return }
    if records.count > 0 {
      axes.rebuild(records, into: &rows, ordered: fullRows == .ordered)
    } else {
      rows.resize(to: 0)
    }
    batch.teacher = rows
  }

  private func fillLabels(of batch: inout TrainingBatch) {
    batch.labels.removeAll(keepingCapacity: true)
    batch.partnerLabels.removeAll(keepingCapacity: true)
    guard positions == 1 else { return fillLabelsOfPositions(of: &batch) }
    for sample in batch.samples { batch.labels.append(dataSet.labels[sample]) }
    guard augmenter.recipe.operations.contains(where: \.mixes) else { return }
    for partner in batch.views.partners.prefix(batch.count) {
      batch.partnerLabels.append(dataSet.labels[Int(partner)])
    }
  }

  /// The positions that count are those with records; without records those with labels; and all
  /// when a sample has one label for all of them.
  private func fillLabelsOfPositions(of batch: inout TrainingBatch) {
    batch.rows?.removeAll(keepingCapacity: true)
    let labels = dataSet.labels
    let places = (batch.coefficients ?? batch.teacher)?.places
    func append(_ index: Int, _ position: Int, _ label: Int32) {
      batch.rows?.append(Int32(index * positions + position))
      batch.labels.append(label)
    }
    for (index, sample) in batch.samples.enumerated() {
      func label(at position: Int) -> Int32 {
        dataSet.positions == 1 ? labels[sample] : labels[sample * positions + position]
      }
      if let places {
        for row in places.rows(of: index) {
          let position = Int(places.positions[row])
          append(index, position, label(at: position))
        }
      } else {
        for position in 0..<positions where label(at: position) >= 0 {
          append(index, position, label(at: position))
        }
      }
    }
  }
}
