import LogitCache
import TestSupport
import Testing

@Suite struct BlockRunsTests {
  /// A random set of 0..<60, put together block by block.
  private func random(_ generator: inout SeededGenerator) -> (runs: BlockRuns, plain: Set<Int>) {
    var runs = BlockRuns()
    var plain: Set<Int> = []
    for _ in 0..<Int.random(in: 0...50, using: &generator) {
      let position = Int.random(in: 0..<60, using: &generator)
      runs.insert(position)
      plain.insert(position)
    }
    return (runs, plain)
  }

  @Test(arguments: UInt64(1)...200)
  func `runs behave like a set of blocks`(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let (a, plainA) = random(&generator)
    let (b, plainB) = random(&generator)
    #expect(Array(a.positions) == plainA.sorted(), "seed \(seed)")
    #expect(a.count == plainA.count)
    #expect((0..<60).allSatisfy { a.contains($0) == plainA.contains($0) }, "seed \(seed)")
    #expect(Array(a.union(b).positions) == plainA.union(plainB).sorted(), "seed \(seed)")
    #expect(
      Array(a.intersection(b).positions) == plainA.intersection(plainB).sorted(), "seed \(seed)")
    #expect(
      Array(a.subtracting(b).positions) == plainA.subtracting(plainB).sorted(), "seed \(seed)")
    #expect(zip(a.runs, a.runs.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
    #expect(a.union(b) == b.union(a))
    for blocks in [1, 7, 59, 60, 100] {
      let plain = (0..<blocks).map { block in plainA.count { $0 % blocks == block } }
      #expect(a.views(blocksPerView: blocks) == plain, "seed \(seed), \(blocks) blocks a view")
    }
  }

  @Test(arguments: [(1, 1), (7, 3), (7, 7), (7, 12), (100, 16)])
  func `shards share every block once, in order, and differ by one at most`(
    samples: Int, count: Int
  ) {
    let manifest = Job(classes: 3, k: 2, samples: samples, views: 2, blockRows: 1).manifest
    let shards = (1...count).map { Shard($0, of: count)!.blocks(of: manifest) }
    #expect(shards.first?.lowerBound == 0 && shards.last?.upperBound == manifest.blockCount)
    #expect(zip(shards, shards.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
    #expect(shards.map(\.count).max()! - shards.map(\.count).min()! <= 1)
    #expect(shards.reduce(0) { $0 + manifest.viewedSamples(in: BlockRuns($1)) } == manifest.records)
  }

  @Test func `records are counted with the short last block of each view`() {
    let manifest = Job(classes: 3, k: 2, samples: 21, views: 3, blockRows: 8).manifest
    for first in 0..<manifest.blockCount {
      for end in first...manifest.blockCount {
        let plain = (first..<end).reduce(0) {
          $0 + manifest.samples(of: manifest.blockKey(at: $1)).count
        }
        #expect(manifest.viewedSamples(in: BlockRuns(first..<end)) == plain, "\(first)..<\(end)")
      }
    }
  }

  @Test func `a shard is two numbers that fit`() {
    #expect(Shard("3/16")?.blocks(of: Job(classes: 2, k: 1, samples: 1).manifest).isEmpty == true)
    for text in ["0/4", "5/4", "1", "1/2/3", "a/b", "+1/2", "01/2", "1/0", "", "1/100001"] {
      #expect(Shard(text) == nil, "\(text)")
    }
  }
}
