import Arrays
import Basics
import LogitCache
import Losses

/// Which rows of files belong to which view, and to which of its positions.
///
/// Views are numbered as the files have them: sample after sample, or view after view. Row numbers count over all
/// positions.
struct ImportPlaces: Sendable {
  /// How the rows of a view lie in the files.
  enum Form: Sendable {
    /// As many for every view, of which the first count.
    case padded(Int)
    /// Those of the next view follow at once; the first row of every 256th view is known.
    case packed([Int])
  }

  let form: Form
  /// The most positions that the files know of.
  let found: Int
  /// How many rows count of each view; `nil` for all of them.
  let counts: ArrayFile?
  /// The position of each row; `nil` where a view has its first ones.
  let positions: ArrayFile?
  private static let stride = 256

  /// So many rows for every view, all of which count.
  init(every positions: Int) {
    (form, found, counts, self.positions) = (.padded(positions), positions, nil, nil)
  }

  /// The first rows of so many of every view.
  ///
  /// - Throws: `Problem(.corrupt)` when more count than there are.
  init(first counts: ArrayFile, of positions: Int) throws {
    try forEachPiece(of: counts) { view, count in
      guard (0...positions).contains(count) else {
        throw Problem(
          .corrupt,
          "\(counts.name): number \(view) is \(count), rows of a view are 0...\(positions)")
      }
    }
    (form, found, self.counts, self.positions) = (.padded(positions), positions, counts, nil)
  }

  /// Rows one after the other.
  ///
  /// - Parameter positions: of each row; `nil` where a view has its first ones.
  /// - Throws: `Problem(.corrupt)` when the counts do not sum to the rows, or a position is below 0.
  init(packed counts: ArrayFile, positions: ArrayFile?, rows: ArrayFile) throws {
    var (starts, total, most) = ([Int](), 0, 0)
    try forEachPiece(of: counts) { view, count in
      guard (0...rows.shape[0]).contains(count) else {
        throw Problem(
          .corrupt,
          "\(counts.name): number \(view) is \(count), \(rows.name) has \(rows.shape[0]) rows")
      }
      if view.isMultiple(of: ImportPlaces.stride) { starts.append(total) }
      total += count
      most = max(most, count)
    }
    guard total == rows.shape[0] else {
      throw Problem(
        .corrupt,
        "\(counts.name) sums to \(total) rows, \(rows.name) has \(rows.shape[0])")
    }
    if let positions {
      try forEachPiece(of: positions) { row, position in
        guard (0..<Int(Int32.max)).contains(position) else {
          throw Problem(.corrupt, "\(positions.name): row \(row) is at the position \(position)")
        }
        most = max(most, position + 1)
      }
    }
    (form, found, self.counts, self.positions) = (.packed(starts), most, counts, positions)
  }

  /// Whether arrays have an axis of positions.
  var isPadded: Bool { if case .padded = form { true } else { false } }

  /// For the teacher's identity.
  var name: String { isPadded ? "positions" : "rows" }

  /// The files beside the rows, by what they are.
  var named: [(name: String, file: ArrayFile)] {
    (counts.map { [("counts", $0)] } ?? []) + (positions.map { [("positions", $0)] } ?? [])
  }

  /// The rows of some views.
  func rows(of views: Range<Int>) throws -> [Range<Int>] {
    switch form {
    case .padded(let all):
      let counts = try counts?.integers(views)
      try self.counts?.demandUnchanged()
      return views.enumerated().map { index, view in
        view * all..<view * all + (counts?[index] ?? all)
      }
    case .packed(let starts):
      guard let counts else { preconditionFailure("packed rows without counts") }
      let first = views.lowerBound / ImportPlaces.stride * ImportPlaces.stride
      var row = starts[first / ImportPlaces.stride]
      let all = try counts.integers(first..<views.upperBound)
      try counts.demandUnchanged()
      let ranges = all.map { count in
        defer { row += count }
        return row..<row + count
      }
      return Array(ranges[(views.lowerBound - first)...])
    }
  }

  /// The positions of the rows of a view.
  ///
  /// - Parameter place: names the view.
  /// - Throws: `Problem(.corrupt)` when they do not ascend.
  func positions(of rows: Range<Int>, _ place: String) throws -> [Int32] {
    guard let file = positions else { return Array(0..<Int32(rows.count)) }
    let all = try file.integers(rows)
    try file.demandUnchanged()
    for (index, position) in all.enumerated() where index > 0 && position <= all[index - 1] {
      throw Problem(
        .corrupt,
        "\(file.name): \(place) has a row at position \(position) after one at \(all[index - 1]): "
          + "the positions of a view must ascend")
    }
    return all.map { Int32($0) }
  }
}

/// Visits integers of a file, some thousand at a time.
///
/// - Throws: what `body` throws; `Problem(.interrupted)`.
func forEachPiece(
  of file: ArrayFile, _ body: (_ index: Int, _ value: Int) throws -> Void
) throws {
  let piece = 1 << 16
  for first in stride(from: 0, to: file.count, by: piece) {
    if Interruption.isRequested {
      throw Interruption.problem(
        after: "\(first) of \(counted(file.count, "number")) of \(file.name)")
    }
    let values = try file.integers(first..<min(first + piece, file.count))
    for (index, value) in values.enumerated() { try body(first + index, value) }
  }
}
