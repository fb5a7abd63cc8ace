import Basics
import DataSets
import LogitCache
import Losses
import Views

/// One step's inputs: views, labels and, when the loss compares with a teacher, its records.
struct TrainingBatch {
  var views: ViewBatch
  var labels: [Int32] = []
  /// Labels of mixup and CutMix partners; empty when the recipe mixes nothing.
  var partnerLabels: [Int32] = []
  var teacher: TeacherBatch?
  fileprivate var samples: [Int] = []

  /// How many samples it holds.
  var count: Int { labels.count }
}

/// Where a training run takes its batches from: a data set, an augmenter and perhaps a cache.
struct BatchSource {
  let dataSet: any DataSet
  let augmenter: Augmenter
  /// The cache whose views are replayed; `nil` when every epoch draws a new view.
  let cache: CacheReader?
  /// Whether teacher records are wanted, not only the cache's views.
  let needsTeacher: Bool
  let batchSize: Int
  let seed: UInt64
  /// How much memory decoded records may take that are kept for later epochs.
  let decodedBytes: Int

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
      blocks: needsTeacher ? cache.map { DecodedBlocks($0, keepingBytes: decodedBytes) } : nil,
      view: view(ofEpoch:))
    return Prefetcher(
      depth: 2, elements: epochs.count * stepsPerEpoch, fresh: { emptyBatch() },
      fill: { index, batch in
        let (epoch, step) = index.quotientAndRemainder(dividingBy: stepsPerEpoch)
        let count = min(batchSize, dataSet.count - step * batchSize)
        try cursor.take(count, samples: &batch.samples, records: &batch.teacher)
        augmenter.render(
          samples: batch.samples[...], view: view(ofEpoch: epochs.lowerBound + epoch),
          into: &batch.views)
        fillLabels(of: &batch)
      })
  }

  private func emptyBatch() -> TrainingBatch {
    TrainingBatch(
      views: ViewBatch(shape: dataSet.shape),
      teacher: needsTeacher ? cache?.makeBatch() : nil)
  }

  private func fillLabels(of batch: inout TrainingBatch) {
    batch.labels.removeAll(keepingCapacity: true)
    batch.partnerLabels.removeAll(keepingCapacity: true)
    for sample in batch.samples { batch.labels.append(dataSet.labels[sample]) }
    guard augmenter.recipe.operations.contains(where: \.mixes) else { return }
    for partner in batch.views.partners.prefix(batch.count) {
      batch.partnerLabels.append(dataSet.labels[Int(partner)])
    }
  }
}
