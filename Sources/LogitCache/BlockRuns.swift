import Basics

/// A set of blocks as runs of positions in key order (`Manifest.position(of:)`).
///
/// Memory grows with the number of runs: a shard of any size is one.
package struct BlockRuns: Equatable, Sendable {
  /// Ascending, none empty, none touching the next.
  package private(set) var runs: [Range<Int>] = []

  /// No blocks.
  package init() {}

  /// The blocks of one run.
  package init(_ run: Range<Int>) { runs = run.isEmpty ? [] : [run] }

  /// The number of blocks.
  package var count: Int { runs.reduce(0) { $0 + $1.count } }

  package var isEmpty: Bool { runs.isEmpty }

  /// The positions in ascending order.
  package var positions: some Sequence<Int> { runs.lazy.joined() }

  /// The first run that ends at or after a position.
  private func place(of position: Int) -> Int {
    var (low, high) = (0, runs.count)
    while low < high {
      let middle = (low + high) / 2
      if runs[middle].upperBound < position { low = middle + 1 } else { high = middle }
    }
    return low
  }

  package func contains(_ position: Int) -> Bool {
    // The run found may end at the position, and then the next one may begin there only if they
    // touched, which they do not.
    let index = place(of: position + 1)
    return index < runs.count && runs[index].contains(position)
  }

  /// Adds one block.
  package mutating func insert(_ position: Int) {
    let index = place(of: position)
    guard index < runs.count, runs[index].lowerBound <= position + 1 else {
      return runs.insert(position..<position + 1, at: index)
    }
    let run = runs[index]
    var end = max(run.upperBound, position + 1)
    if index + 1 < runs.count, runs[index + 1].lowerBound == end {
      end = runs.remove(at: index + 1).upperBound
    }
    runs[index] = min(run.lowerBound, position)..<end
  }

  /// The blocks of either set.
  package func union(_ other: BlockRuns) -> BlockRuns {
    var result = BlockRuns()
    for run in (runs + other.runs).sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = result.runs.last, last.upperBound >= run.lowerBound {
        result.runs[result.runs.count - 1] =
          last.lowerBound..<max(last.upperBound, run.upperBound)
      } else {
        result.runs.append(run)
      }
    }
    return result
  }

  /// The blocks of both sets.
  package func intersection(_ other: BlockRuns) -> BlockRuns {
    var result = BlockRuns()
    var (a, b) = (0, 0)
    while a < runs.count, b < other.runs.count {
      let common = runs[a].clamped(to: other.runs[b])
      if !common.isEmpty { result.runs.append(common) }
      if runs[a].upperBound < other.runs[b].upperBound { a += 1 } else { b += 1 }
    }
    return result
  }

  /// The blocks of this set that the other has not.
  package func subtracting(_ other: BlockRuns) -> BlockRuns {
    var result = BlockRuns()
    var taken = intersection(other).runs[...]
    for run in runs {
      var start = run.lowerBound
      while let gap = taken.first, gap.lowerBound < run.upperBound {
        if start < gap.lowerBound { result.runs.append(start..<gap.lowerBound) }
        start = gap.upperBound
        taken.removeFirst()
      }
      if start < run.upperBound { result.runs.append(start..<run.upperBound) }
    }
    return result
  }

  /// In how many views each block is among the positions [blocksPerView].
  package func views(blocksPerView: Int) -> [Int] {
    // How much each block's number is above the one's before it.
    var changes = [Int](repeating: 0, count: blocksPerView + 1)
    for run in runs {
      let (start, rest) = (run.lowerBound % blocksPerView, run.count % blocksPerView)
      changes[0] += run.count / blocksPerView
      changes[start] += 1
      changes[min(start + rest, blocksPerView)] -= 1
      if start + rest > blocksPerView {
        changes[0] += 1
        changes[start + rest - blocksPerView] -= 1
      }
    }
    var views = 0
    return changes.dropLast().map {
      views += $0
      return views
    }
  }

  /// Each run as two little-endian UInt64: its first position and the one after its last.
  var bytes: [UInt8] {
    var writer = ByteWriter()
    for run in runs {
      writer.append(UInt64(run.lowerBound))
      writer.append(UInt64(run.upperBound))
    }
    return writer.bytes
  }

  /// Reads stored runs; `nil` unless they are ascending, apart, not empty, and below `end`.
  init?(_ bytes: [UInt8], end: Int) {
    let span = bytes.span.bytes
    var reader = ByteReader(span)
    var before = -1
    while reader.remaining > 0 {
      guard let first = reader.next(UInt64.self).flatMap({ Int(exactly: $0) }),
        let last = reader.next(UInt64.self).flatMap({ Int(exactly: $0) }), before < first,
        first < last, last <= end
      else { return nil }
      runs.append(first..<last)
      before = last
    }
  }
}

extension Manifest {
  /// The positions of all blocks of a complete cache.
  var allBlocks: BlockRuns { BlockRuns(0..<blockCount) }

  /// The views of samples in some blocks: their records, unless there are positions.
  package func viewedSamples(in blocks: BlockRuns) -> Int {
    // Only the last block of a view is short.
    let short = blocksPerView * encoding.blockRows - dataSet.samples
    return blocks.runs.reduce(0) { count, run in
      let ends = run.upperBound / blocksPerView - run.lowerBound / blocksPerView
      return count + run.count * encoding.blockRows - ends * short
    }
  }
}
