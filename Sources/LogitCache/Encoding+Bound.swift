import Foundation

extension Encoding {
  /// No stored record takes more bytes than this in a full block: every list bit-packed at the width of its largest
  /// possible integer, which is always one of the forms to choose from (docs/FORMAT.md, "Forms"), and zstd's
  /// tables of codes for each list.
  ///
  /// - Parameter logitRange: all logits of the cache lie within so many nats. Tail ratios are counted with
  ///   predictions that miss by no more than the whole range.
  public func largestRecord(logitRange: Double) -> Double {
    func bits(_ largest: Double) -> Int { bitWidth(Int(largest.rounded(.up))) }
    let gap = bits(logitRange * Double(stepsPerNat))
    let ids = k * bitWidth(classes - 1)
    let label = bitWidth(classes - k + 1) + gap
    let largest = bits(logitRange * Double(largestStepsPerNat))
    let tail = bits(2 * Double(tailStepsPerNat) * (logitRange + log(Double(classes))))
    let norm = featureWidth == nil ? 0 : 16
    let ranking = ColumnGroups.ranges(rankedDigits)
    let ranked = ranking.reduce(0) { $0 + $1.count * bitWidth(classes - k - 1 - $1.lowerBound) }
    let record =
      ids + ranked + (k - 1) * gap + largest + label + norm + tailTemperatures.count * tail
    let lists = 2 * ColumnGroups.ranges(k).count + ranking.count + 4 + tailTemperatures.count
    let block = BlockHeader.size + lists * (BlockHeader.entrySize + 128) + 64
    return Double(record) / 8 + Double(block) / Double(blockRows)
  }
}

/// Bits of an integer >= 0.
private func bitWidth(_ value: Int) -> Int { Int.bitWidth - max(value, 1).leadingZeroBitCount }
