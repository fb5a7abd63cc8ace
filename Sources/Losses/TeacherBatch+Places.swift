extension RowPlaces {
  /// Takes all samples away and keeps the memory.
  public mutating func removeAll() {
    starts.removeLast(starts.count - 1)
    positions.removeAll(keepingCapacity: true)
  }

  /// Adds a sample with the positions that it has elsewhere.
  public mutating func append(_ sample: Int, of other: borrowing RowPlaces) {
    for row in other.rows(of: sample) { positions.append(other.positions[row]) }
    starts.append(Int32(positions.count))
  }
}

extension TeacherBatch {
  /// The rows of a sample: those that places give it, else the one of its number.
  public func rows(ofSample sample: Int) -> Range<Int> {
    places?.rows(of: sample) ?? sample..<sample + 1
  }

  /// Copies the rows of a sample of another batch of the same shape, from row `row` on.
  ///
  /// Places of this batch, if it has any, get the sample as their last.
  /// - Returns: the row behind them.
  /// - Precondition: there are so many rows.
  public mutating func copySample(
    _ sample: Int, of other: borrowing TeacherBatch, to row: Int
  ) -> Int {
    var row = row
    for source in other.rows(ofSample: sample) {
      copyRow(source, of: other, to: row)
      row += 1
    }
    if let otherPlaces = other.places { places?.append(sample, of: otherPlaces) }
    return row
  }
}
