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
}
