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

  var stepsPerEpoch: Int { (dataSet.count + batchSize - 1) / batchSize }
  private var blockRows: Int { cache?.manifest.encoding.blockRows ?? 2048 }

  /// The view an epoch trains on: the cache's views in turn, or a new one each time.
  func view(ofEpoch epoch: Int) -> Int {
    cache.map { epoch % $0.manifest.views } ?? epoch
  }

  /// Starts making the batches of an epoch on a second thread.
  func batches(ofEpoch epoch: Int) -> Prefetcher<TrainingBatch> {
    let order = EpochOrder(samples: dataSet.count, blockRows: blockRows, seed: seed, epoch: epoch)
    let view = view(ofEpoch: epoch)
    let cursor = Cursor(order: order, view: view, cache: needsTeacher ? cache : nil)
    return Prefetcher(
      depth: 2, elements: stepsPerEpoch, fresh: { emptyBatch() },
      fill: { index, batch in
        let count = min(batchSize, dataSet.count - index * batchSize)
        try cursor.take(count, into: &batch)
        augmenter.render(samples: batch.samples[...], view: view, into: &batch.views)
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

/// Walks an epoch's windows, holding the decoded blocks of one window.
private final class Cursor {
  private let order: EpochOrder
  private let view: Int
  private let cache: CacheReader?
  private var windows: [EpochOrder.Window]
  private var next = 0
  private var blocks: [TeacherBatch] = []

  init(order: EpochOrder, view: Int, cache: CacheReader?) {
    self.order = order
    self.view = view
    self.cache = cache
    windows = order.windows().reversed()
  }

  func take(_ count: Int, into batch: inout TrainingBatch) throws {
    batch.samples.removeAll(keepingCapacity: true)
    batch.teacher?.resize(to: count)
    for row in 0..<count {
      if next == 0 { try decodeWindow() }
      let window = windows[windows.count - 1]
      let place = window.places[next]
      batch.samples.append(window.blocks[place.block] * order.blockRows + place.row)
      if cache != nil { batch.teacher?.copyRow(place.row, of: blocks[place.block], to: row) }
      next += 1
      if next == window.places.count {
        windows.removeLast()
        next = 0
      }
    }
  }

  private func decodeWindow() throws {
    guard let cache, let window = windows.last else { return }
    for (index, block) in window.blocks.enumerated() {
      if index == blocks.count { blocks.append(cache.makeBatch()) }
      try cache.decode(view: view, block: block, into: &blocks[index])
    }
  }
}
