import Basics

/// The order in which an epoch visits samples: shuffled blocks, then shuffled rows in a window of them.
///
/// A cache block is decoded once per epoch and only a window of blocks is held, so memory does not grow
/// with the data set. The order depends on the seed and the epoch alone: nothing to store in a
/// checkpoint, and training with or without a cache sees the same samples in the same order.
package struct EpochOrder {
  /// Blocks held at once: 16 blocks of 2,048 rows mix 32,768 samples.
  package static let windowBlocks = 16

  package let samples: Int
  package let blockRows: Int
  private let seed: UInt64
  private let epoch: Int

  package init(samples: Int, blockRows: Int, seed: UInt64, epoch: Int) {
    self.samples = samples
    self.blockRows = blockRows
    self.seed = seed
    self.epoch = epoch
  }

  /// One sample of a window: which of the window's blocks it is in, and which row there.
  package struct Place {
    package var block: Int
    package var row: Int
  }

  /// A run of blocks and the order of their rows.
  package struct Window {
    package var blocks: [Int]
    package var places: [Place]
  }

  /// The windows of the epoch, in order; each is made when it is asked for.
  package func windows() -> Windows { Windows(self) }

  package struct Windows: Sequence, IteratorProtocol {
    private let order: EpochOrder
    private var generator: SplitMix64
    /// Those of later windows.
    private var blocks: ArraySlice<Int>

    fileprivate init(_ order: EpochOrder) {
      self.order = order
      // Through the generator once: sequences that start a multiple of its increment apart overlap,
      // so neighbouring seeds must not simply be scaled.
      var start = SplitMix64(seed: order.seed)
      generator = SplitMix64(seed: start.next() &+ UInt64(order.epoch))
      var blocks = Array(0..<(order.samples + order.blockRows - 1) / order.blockRows)
      generator.shuffle(&blocks)
      self.blocks = blocks[...]
    }

    package mutating func next() -> Window? {
      if blocks.isEmpty { return nil }
      let held = Array(blocks.prefix(EpochOrder.windowBlocks))
      blocks = blocks.dropFirst(held.count)
      var places: [Place] = []
      for (index, block) in held.enumerated() {
        for row in 0..<order.rows(of: block).count { places.append(Place(block: index, row: row)) }
      }
      generator.shuffle(&places)
      return Window(blocks: held, places: places)
    }
  }

  /// The samples of a block.
  package func rows(of block: Int) -> Range<Int> {
    block * blockRows..<min((block + 1) * blockRows, samples)
  }
}
