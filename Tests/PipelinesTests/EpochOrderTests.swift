import Pipelines
import TestSupport
import Testing

/// The samples of an epoch in the order they are visited.
private func visit(
  _ samples: Int, blockRows: Int = 7, seed: UInt64 = 1, epoch: Int = 0
) -> [Int] {
  let order = EpochOrder(samples: samples, blockRows: blockRows, seed: seed, epoch: epoch)
  return order.windows().flatMap { window in
    window.places.map { window.blocks[$0.block] * blockRows + $0.row }
  }
}

@Suite struct EpochOrderTests {
  @Test(arguments: 1...40 as ClosedRange<UInt64>)
  func `every sample comes exactly once in an epoch`(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let samples = Int.random(in: 1...2000, using: &generator)
    let blockRows = Int.random(in: 1...200, using: &generator)
    let epoch = Int.random(in: 0...1000, using: &generator)
    let visited = visit(samples, blockRows: blockRows, seed: seed, epoch: epoch)
    #expect(
      visited.sorted() == Array(0..<samples),
      "seed \(seed): \(samples) samples in blocks of \(blockRows), epoch \(epoch)")
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `a window holds few blocks, and each block is in one window`(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let samples = Int.random(in: 1...5000, using: &generator)
    let blockRows = Int.random(in: 1...100, using: &generator)
    let order = EpochOrder(samples: samples, blockRows: blockRows, seed: seed, epoch: 0)
    let windows = order.windows()
    #expect(windows.allSatisfy { (1...EpochOrder.windowBlocks).contains($0.blocks.count) })
    let blocks = windows.flatMap(\.blocks)
    #expect(blocks.sorted() == Array(0..<(samples + blockRows - 1) / blockRows), "seed \(seed)")
    for window in windows {
      let rows = window.blocks.reduce(0) { $0 + order.rows(of: $1).count }
      #expect(window.places.count == rows, "seed \(seed)")
    }
  }

  @Test func `the same seed and epoch give the same order`() {
    #expect(visit(500, seed: 3, epoch: 5) == visit(500, seed: 3, epoch: 5))
  }

  @Test func `other epochs and other seeds give unrelated orders`() {
    let first = visit(2000, blockRows: 2048, seed: 1, epoch: 1)
    let neighbours = Set(zip(first, first.dropFirst()).map { [$0, $1] })
    for (seed, epoch) in [(1, 2), (1, 0), (2, 1), (0, 1), (3, 1), (1, 100)] as [(UInt64, Int)] {
      let other = visit(2000, blockRows: 2048, seed: seed, epoch: epoch)
      // Two random orders share one pair of neighbours on average.
      let shared = zip(other, other.dropFirst()).count { neighbours.contains([$0, $1]) }
      #expect(shared < 8, "seed \(seed), epoch \(epoch)")
    }
  }

  @Test func `samples are mixed across the blocks of a window`() {
    let visited = visit(1600, blockRows: 100)
    let firstBlocks = Set(visited.prefix(100).map { $0 / 100 })
    #expect(firstBlocks.count >= 12)
  }
}
