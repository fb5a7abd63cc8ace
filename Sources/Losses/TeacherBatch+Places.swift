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
}
