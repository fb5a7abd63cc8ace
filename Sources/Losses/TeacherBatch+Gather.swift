/// A row of one of several batches.
public struct RowAddress: Hashable, Sendable {
  /// Which batch.
  public var batch: Int
  /// Which of its rows.
  public var row: Int

  /// Names a row.
  public init(batch: Int, row: Int) {
    (self.batch, self.row) = (batch, row)
  }
}

extension TeacherBatch {
  /// Copies rows of other batches of the same shape, from row `first` on; leaves `places` alone.
  ///
  /// Column after column: then the processor waits for many rows in random places at once, where one row after
  /// the other makes it wait for each.
  /// - Precondition: there are so many rows, here and there.
  public mutating func copyRows(
    _ rows: [RowAddress], of batches: [TeacherBatch], to first: Int
  ) {
    gather(rows, batches.map(\.classIDs), width: k, into: &classIDs, first)
    gather(rows, batches.map(\.gaps), width: k, into: &gaps, first)
    gather(rows, batches.map(\.largestLogits), width: 1, into: &largestLogits, first)
    gather(rows, batches.map(\.labels), width: 1, into: &labels, first)
    gather(rows, batches.map(\.labelGaps), width: 1, into: &labelGaps, first)
    gather(rows, batches.map(\.labelRanks), width: 1, into: &labelRanks, first)
    let tails = tailTemperatures.count
    gather(rows, batches.map(\.logTailRatios), width: tails, into: &logTailRatios, first)
    if hasMeanTailGaps {
      gather(rows, batches.map(\.meanTailGaps), width: 1, into: &meanTailGaps, first)
    }
    if hasFeatureNorms {
      gather(rows, batches.map(\.featureNorms), width: 1, into: &featureNorms, first)
    }
    if hasRanking { gather(rows, batches.map(\.ranking), width: classes, into: &ranking, first) }
    if let axes {
      gather(rows, batches.map(\.rowOffsets), width: 1, into: &rowOffsets, first)
      gather(rows, batches.map(\.coefficients), width: axes, into: &coefficients, first)
    }
  }
}

/// Copies rows of `width` numbers, with one check for each row.
@inline(__always)
private func gather<Number: BitwiseCopyable>(
  _ rows: [RowAddress], _ columns: [[Number]], width: Int, into target: inout [Number],
  _ first: Int
) {
  precondition(
    first >= 0 && (first + rows.count) * width <= target.count,
    "rows \(first)..<\(first + rows.count) of \(width) in \(target.count) numbers")
  columns.withUnsafeBufferPointer { columns in
    target.withUnsafeMutableBufferPointer { target in
      for (index, address) in rows.enumerated() {
        columns[address.batch].withUnsafeBufferPointer { source in
          precondition(
            address.row >= 0 && (address.row &+ 1) &* width <= source.count,
            "row \(address.row) of \(width) in \(source.count) numbers")
          let (to, from) = ((first &+ index) &* width, address.row &* width)
          for number in 0..<width { target[to &+ number] = source[from &+ number] }
        }
      }
    }
  }
}
