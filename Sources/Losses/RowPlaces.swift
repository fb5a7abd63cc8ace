/// Which rows of a ragged batch belong to which sample, and at which position of it.
///
/// A teacher that speaks at many positions of a view (time steps, tokens) has a row for each position that
/// counts; the others have none, which is how positions are masked.
public struct RowPlaces: Equatable, Sendable {
  /// The first row of each sample, and the number of rows at the end: samples + 1 numbers, ascending.
  public var starts: [Int32]
  /// The position of each row, ascending within a sample.
  public var positions: [Int32]

  /// Places of a batch with no samples.
  public init() {
    starts = [0]
    positions = []
  }

  /// How many samples the rows belong to.
  public var samples: Int { starts.count - 1 }
  /// How many rows there are.
  public var rows: Int { positions.count }

  /// Adds a sample.
  ///
  /// - Parameter positions: of its rows, ascending; none when every position is masked.
  public mutating func append(sampleAt positions: some Sequence<Int32>) {
    self.positions.append(contentsOf: positions)
    starts.append(Int32(self.positions.count))
  }

  /// The rows of a sample.
  public func rows(of sample: Int) -> Range<Int> {
    Int(starts[sample])..<Int(starts[sample + 1])
  }

  /// The row of a sample at a position; `nil` when it has none there.
  public func row(of sample: Int, position: Int) -> Int? {
    var (low, high) = (Int(starts[sample]), Int(starts[sample + 1]))
    while low < high {
      let middle = (low + high) / 2
      if positions[middle] < position { low = middle + 1 } else { high = middle }
    }
    return low < starts[sample + 1] && positions[low] == position ? low : nil
  }

  /// The sample and the position of a row.
  public func place(ofRow row: Int) -> (sample: Int, position: Int) {
    precondition(row >= 0 && row < rows, "row \(row) of \(rows)")
    // The last sample that begins at the row or before: those without rows begin where the next does.
    var (low, high) = (0, samples)
    while high - low > 1 {
      let middle = (low + high) / 2
      if Int(starts[middle]) <= row { low = middle } else { high = middle }
    }
    return (low, Int(positions[row]))
  }

  /// The places of some of the samples, rows counted from the first of them.
  public func part(_ samples: Range<Int>) -> RowPlaces {
    var part = RowPlaces()
    let first = starts[samples.lowerBound]
    part.starts = starts[samples.lowerBound...samples.upperBound].map { $0 - first }
    part.positions = Array(positions[Int(first)..<Int(starts[samples.upperBound])])
    return part
  }

  /// What each sample has, such as its label, once for each of its rows.
  public func forEachRow<Value>(_ values: some Collection<Value>) -> [Value] {
    precondition(values.count == samples, "\(values.count) values for \(samples) samples")
    var all: [Value] = []
    all.reserveCapacity(rows)
    for (sample, value) in values.enumerated() {
      all.append(contentsOf: repeatElement(value, count: rows(of: sample).count))
    }
    return all
  }
}
