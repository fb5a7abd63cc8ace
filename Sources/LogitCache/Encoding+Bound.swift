import Foundation

extension Encoding {
  /// No stored record takes more bytes than this in a full block (with positions: at all of them): every list bit-packed at the width of its largest
  /// possible integer, which is always one of the forms to choose from (docs/FORMAT.md, "Forms"), and zstd's
  /// tables of codes for each list.
  ///
  /// - Parameters:
  ///   - logitRange: all logits of the cache lie within so many nats. Tail ratios are counted with
  ///     predictions that miss by no more than the whole range.
  ///   - axes: of the subspace tail, if there is one; `nil` for as many as it may have. They are counted as
  ///     being of length 1 and orthogonal to within a factor of 2, whatever rounding did to them.
  public func largestRecord(logitRange: Double, axes: Int? = nil) -> Double {
    func bits(_ largest: Double) -> Int { bitWidth(Int(largest.rounded(.up))) }
    let gap = bits(logitRange * Double(stepsPerNat))
    let ids = k * bitWidth(classes - 1)
    let label = bitWidth(classes - k + 1) + gap
    let largest = bits(logitRange * Double(largestStepsPerNat))
    let tail = bits(2 * Double(tailStepsPerNat) * (logitRange + log(Double(classes))))
    let norm = featureWidth == nil ? 0 : 16
    // A sample with records has at least one.
    let place = positions.map { bitWidth($0.maximum) + bitWidth($0.maximum - 1) } ?? 0
    let rows = subspaceBits(logitRange, axes: axes)
    let ranking = ColumnGroups.ranges(rankedDigits)
    let ranked = ranking.reduce(0) { $0 + $1.count * bitWidth(classes - k - 1 - $1.lowerBound) }
    let record =
      ids + ranked + (k - 1) * gap + largest + label + norm + place + tailTemperatures.count * tail
    let lists =
      2 * ColumnGroups.ranges(k).count + ranking.count + 4 + tailTemperatures.count + rows.lists
      + (positions == nil ? 0 : 2)
    let block = BlockHeader.size + lists * (BlockHeader.entrySize + 128) + 64
    return Double(record + rows.bits) / 8 + Double(block) / Double(blockRecords)
  }

  /// Bits of a record's coefficients and offset, and how many lists they take.
  private func subspaceBits(_ logitRange: Double, axes: Int?) -> (bits: Int, lists: Int) {
    guard let subspaceTail else { return (0, 0) }
    let axes = axes ?? min(subspaceTail.maximumAxes, classes)
    let step = Double(subspaceTail.step)
    // Zigzag doubles: 2 * magnitude. A row without its mean and the mean row is no longer than
    // range * sqrt(C); a trellis may take the second nearest code, of a grid half a step off.
    let coefficient = 2 * (2 * logitRange * Double(classes).squareRoot() / step + 2)
    // The row's level lies within the range below its largest logit; what is rebuilt adds as much, and its rounding.
    let offset = 2 * ((2 * logitRange + step) * Double(stepsPerNat) + 1)
    func bits(_ largest: Double) -> Int { bitWidth(Int(min(largest, 0x1p31).rounded(.up))) }
    return (axes * bits(coefficient) + bits(offset), ColumnGroups.ranges(axes).count + 1)
  }
}

/// Bits of an integer >= 0.
private func bitWidth(_ value: Int) -> Int { Int.bitWidth - max(value, 1).leadingZeroBitCount }
