import LogitCache
import Losses

/// Walks the samples of consecutive epochs in training order and copies their records.
///
/// Holds the decoded blocks of the window at hand. Those of the next one, also of the next epoch, are
/// decoded one after the other while this one is used, so that no batch waits for a whole window.
package final class EpochCursor {
  /// The view that each epoch trains on.
  package typealias ViewOfEpoch = (_ epoch: Int) -> Int

  private let samples: Int
  private let blockRows: Int
  private let seed: UInt64
  private let view: ViewOfEpoch
  private var blocks: DecodedBlocks?

  private var epochs: Range<Int>
  private var windows: EpochOrder.Windows?
  private var viewAtHand = 0
  private var current: Window?
  private var upcoming: Window?
  /// How many of the current window's samples were taken.
  private var taken = 0
  /// Memory of `take`.
  private var addresses: [RowAddress] = []

  private struct Window {
    let order: EpochOrder.Window
    let view: Int
    /// Of its first blocks; of all of them before the first is read.
    var records: [TeacherBatch] = []

    func key(_ index: Int) -> BlockKey { BlockKey(view: view, block: order.blocks[index]) }

    /// Copies the records of some of the places, from row `first` on.
    ///
    /// - Parameter addresses: memory for where they are.
    /// - Returns: the row behind them.
    func copy(
      _ run: Range<Int>, to target: inout TeacherBatch?, from first: Int,
      _ addresses: inout [RowAddress]
    ) -> Int {
      addresses.removeAll(keepingCapacity: true)
      for place in order.places[run] {
        for row in records[place.block].rows(ofSample: place.row) {
          addresses.append(RowAddress(batch: place.block, row: row))
        }
        if let places = records[place.block].places {
          target?.places?.append(place.row, of: places)
        }
      }
      let end = first + addresses.count
      if let count = target?.count, count < end { target?.resize(to: end) }
      target?.copyRows(addresses, of: records, to: first)
      return end
    }
  }

  /// - Parameters:
  ///   - samples: n, of every epoch.
  ///   - blockRows: rows of a block: those of the cache, if there is one.
  ///   - blocks: where records come from; `nil` when only the order of samples is wanted.
  package init(
    epochs: Range<Int>, samples: Int, blockRows: Int, seed: UInt64, blocks: DecodedBlocks?,
    view: @escaping ViewOfEpoch
  ) {
    self.epochs = epochs
    self.samples = samples
    self.blockRows = blockRows
    self.seed = seed
    self.blocks = blocks
    self.view = view
  }

  /// How many blocks were decoded so far.
  package var decodedBlocks: Int { blocks?.decoded ?? 0 }

  /// Goes on by `count` samples.
  ///
  /// - Parameters:
  ///   - chosen: overwritten with the samples.
  ///   - records: gets the rows of each of them, when there are records: one, or as many as places say.
  /// - Precondition: the epochs have so many samples left.
  package func take(
    _ count: Int, samples chosen: inout [Int], records: inout TeacherBatch?
  ) throws {
    chosen.removeAll(keepingCapacity: true)
    var copied = 0
    if blocks != nil { records?.places?.removeAll() }
    while chosen.count < count {
      if current.map({ taken == $0.order.places.count }) ?? true { try openNextWindow() }
      guard let window = current else { preconditionFailure("the epochs have no sample left") }
      let run = taken..<min(taken + count - chosen.count, window.order.places.count)
      if blocks != nil { copied = window.copy(run, to: &records, from: copied, &addresses) }
      for place in window.order.places[run] {
        chosen.append(window.order.blocks[place.block] * blockRows + place.row)
      }
      taken = run.upperBound
    }
    if blocks != nil { records?.resize(to: copied) }
    try decodeAhead()
  }

  private func openNextWindow() throws {
    if let used = current {
      current = nil
      for (index, records) in used.records.enumerated() {
        blocks?.recycle(records, of: used.key(index))
      }
    }
    if upcoming == nil { upcoming = nextWindow() }
    try decodeUpcoming(share: 1)
    current = upcoming
    upcoming = nextWindow()
    taken = 0
  }

  private func nextWindow() -> Window? {
    while true {
      if let order = windows?.next() { return Window(order: order, view: viewAtHand) }
      guard let epoch = epochs.popFirst() else { return nil }
      windows = EpochOrder(samples: samples, blockRows: blockRows, seed: seed, epoch: epoch)
        .windows()
      viewAtHand = view(epoch)
    }
  }

  /// Keeps the next window decoded as far as this one is used up.
  private func decodeAhead() throws {
    guard let places = current?.order.places.count else { return }
    try decodeUpcoming(share: Double(taken) / Double(places))
  }

  /// Decodes blocks of the next window until a share of them is there.
  private func decodeUpcoming(share: Double) throws {
    guard let window = upcoming else { return }
    let wanted = Int((share * Double(window.order.blocks.count)).rounded(.up))
    for index in min(window.records.count, wanted)..<wanted {
      guard let records = try blocks?.records(of: window.key(index)) else { return }
      upcoming?.records.append(records)
    }
  }
}
