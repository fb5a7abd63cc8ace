import Arrays
import Basics
import LogitCache
import Losses

/// How rows lie in arrays: [n, ...], [n, V, ...] or [V, n, ...]; with positions one more axis of them, or all rows one
/// after the other.
struct ImportLayout: Sendable {
  let samples: Int
  let views: Int
  let viewsFirst: Bool
  /// The axes before those of a row.
  let axes: [Int]
  /// Which rows belong to which view; `nil` for one each.
  let places: ImportPlaces?
  /// For the teacher's identity.
  let name: String

  /// Reads the layout off an array whose rows have one axis.
  ///
  /// - Throws: `Problem(.corrupt)` when it has other axes; `.usage` when views cannot be first.
  init(of file: ArrayFile, viewsFirst: Bool, _ positions: ImportJob.Positions?) throws {
    axes = Array(file.shape.dropLast())
    guard !axes.isEmpty, file.shape.allSatisfy({ $0 >= 1 }) else {
      throw ImportLayout.unexpected(file, positions)
    }
    let outer: [Int]
    (outer, places) = try positions.map { try ImportLayout.places(of: file, $0) } ?? (axes, nil)
    guard (1...2).contains(outer.count), outer.allSatisfy({ $0 >= 1 }) else {
      throw ImportLayout.unexpected(file, positions)
    }
    guard outer.count == 2 || !viewsFirst else {
      throw Problem(
        .usage,
        "\(file.name) has the shape \(file.shape): without an axis of views, leave out --views-first"
      )
    }
    self.viewsFirst = viewsFirst
    samples = viewsFirst ? outer[1] : outer[0]
    views = outer.count == 1 ? 1 : viewsFirst ? outer[0] : outer[1]
    let order = outer.count == 1 ? "samples" : viewsFirst ? "views, samples" : "samples, views"
    name = places.map { "\(order), \($0.name)" } ?? order
  }

  /// The axes of samples and views, and where rows are.
  private static func places(
    of file: ArrayFile, _ positions: ImportJob.Positions
  ) throws -> (outer: [Int], ImportPlaces) {
    let axes = Array(file.shape.dropLast())
    guard let name = positions.counts else {
      guard axes.count >= 2, let count = axes.last else { throw unexpected(file, positions) }
      return (Array(axes.dropLast()), ImportPlaces(every: count))
    }
    let counts = try ArrayFile(name)
    try counts.demand(isIndex: true)
    guard (1...2).contains(counts.shape.count) else {
      throw Problem(
        .corrupt,
        "\(name) has the shape \(counts.shape); [samples] or [samples, views] is expected")
    }
    if axes.count == 1 {
      let places = try positions.places.map { name in
        let places = try ArrayFile(name)
        guard places.shape == axes else {
          throw Problem(
            .corrupt,
            "\(name) has the shape \(places.shape), \(file.name) has \(axes[0]) rows: [\(axes[0])] is "
              + "expected")
        }
        try places.demand(isIndex: true)
        return places
      }
      return (
        counts.shape, try ImportPlaces(packed: counts, positions: places, rows: file)
      )
    }
    guard positions.places == nil else {
      throw Problem(
        .usage,
        "\(file.name) has the shape \(file.shape), with an axis of positions: leave out --positions"
      )
    }
    guard counts.shape == Array(axes.dropLast()) else {
      throw Problem(
        .corrupt,
        "\(name) has the shape \(counts.shape), \(file.name) has \(file.shape): "
          + "\(Array(axes.dropLast())) is expected, or rows without an axis of positions")
    }
    return (counts.shape, try ImportPlaces(first: counts, of: axes[axes.count - 1]))
  }

  private static func unexpected(
    _ file: ArrayFile, _ positions: ImportJob.Positions?
  ) -> Problem {
    let expected =
      positions == nil
      ? "[samples, classes] or [samples, views, classes] is expected, with --views-first [views, samples, "
        + "classes]"
      : positions?.counts == nil
        ? "[samples, positions, classes] or [samples, views, positions, classes] is expected, with "
          + "--views-first [views, samples, positions, classes]"
        : "[rows, classes] is expected, or an axis of positions before the classes, and --counts of shape "
          + "[samples] or [samples, views]"
    return Problem(
      .corrupt, "\(file.name) has the shape \(file.shape); \(expected), and nothing empty")
  }

  /// Opens an array that must lie the same way.
  ///
  /// - Parameters:
  ///   - rowAxes: the axes of a row; `nil` for one of any length.
  ///   - isIndex: whether it holds integers.
  func open(
    _ name: String, rowAxes: [Int]?, isIndex: Bool, beside other: ArrayFile
  ) throws -> ArrayFile {
    let file = try ArrayFile(name)
    let isFitting =
      rowAxes.map { file.shape == axes + $0 }
      ?? (file.shape.count == axes.count + 1 && file.shape.starts(with: axes)
        && file.shape[axes.count] >= 1)
    guard isFitting else {
      throw Problem(
        .corrupt,
        "\(name) has the shape \(file.shape), \(other.name) has \(other.shape): the first axes must be "
          + "\(axes)" + (rowAxes.map { $0.isEmpty ? ", with no more" : ", then \($0)" } ?? ""))
    }
    try file.demand(isIndex: isIndex)
    return file
  }
}

/// The rows of a block in the files.
struct ImportPart: Sendable {
  /// Rows that lie together, in the order of the block's records.
  private(set) var runs: [Range<Int>] = []
  /// Where the rows belong; `nil` without positions.
  private(set) var places: RowPlaces?
  /// The label of each row.
  private(set) var labels: [Int32] = []

  /// How many rows there are.
  var count: Int { labels.count }

  /// Finds the rows of samples of a view.
  ///
  /// - Parameters:
  ///   - labels: of all samples, or of all their positions.
  ///   - positions: how records are at positions; `nil` for one a view.
  /// - Throws: `Problem(.corrupt)` when a position has a label and no row.
  init(
    _ samples: Range<Int>, view: Int, of layout: ImportLayout, labels all: [Int32],
    _ positions: Positions?
  ) throws {
    guard let files = layout.places, let positions else {
      labels = Array(all[samples])
      for sample in samples { append(layout.place(sample, view)..<layout.place(sample, view) + 1) }
      return
    }
    let found = try layout.rows(of: samples, view: view, files)
    var given = RowPlaces()
    for (sample, rows) in zip(samples, found) {
      given.append(sampleAt: try files.positions(of: rows, "sample \(sample), view \(view)"))
    }
    if positions.labels == .sample {
      for rows in found { append(rows) }
      (places, labels) = (given, given.forEachRow(all[samples]))
      return
    }
    let maximum = positions.maximum
    let part = all[samples.lowerBound * maximum..<samples.upperBound * maximum]
    let labelled = RowPlaces(labels: part, maximum: maximum)
    try labelled.demandRows(among: given, firstSample: samples.lowerBound, view: view)
    for (index, rows) in found.enumerated() {
      for position in labelled.positions[labelled.rows(of: index)] {
        guard let row = given.row(of: index, position: Int(position)) else {
          preconditionFailure("sample \(samples.lowerBound + index) has no row at \(position)")
        }
        let place = rows.lowerBound + row - Int(given.starts[index])
        append(place..<place + 1)
      }
    }
    (places, labels) = (labelled, part.filter { $0 >= 0 })
  }

  private mutating func append(_ rows: Range<Int>) {
    if let last = runs.last, last.upperBound == rows.lowerBound {
      runs[runs.count - 1] = last.lowerBound..<rows.upperBound
    } else if !rows.isEmpty {
      runs.append(rows)
    }
  }

  /// Reads float32 rows of a width into the beginning of an array.
  func read(_ file: ArrayFile, width: Int, into target: inout [Float]) throws {
    try target.withUnsafeMutableBufferPointer { target in
      var done = 0
      for rows in runs {
        let part = target[done * width..<(done + rows.count) * width]
        try file.read(
          rows.lowerBound * width..<rows.upperBound * width,
          into: UnsafeMutableBufferPointer(rebasing: part))
        done += rows.count
      }
    }
  }

  /// Reads rows of a width with one of `ArrayFile`'s readers.
  func collect<Value>(width: Int, _ read: (Range<Int>) throws -> [Value]) throws -> [Value] {
    var values: [Value] = []
    values.reserveCapacity(count * width)
    for rows in runs { values += try read(rows.lowerBound * width..<rows.upperBound * width) }
    return values
  }
}

extension ImportLayout {
  /// Where a view of a sample is among all views.
  fileprivate func place(_ sample: Int, _ view: Int) -> Int {
    viewsFirst ? view * samples + sample : sample * views + view
  }

  /// The rows of samples of a view.
  fileprivate func rows(
    of samples: Range<Int>, view: Int, _ places: ImportPlaces
  ) throws -> [Range<Int>] {
    if viewsFirst || views == 1 {
      let first = view * self.samples
      return try places.rows(of: first + samples.lowerBound..<first + samples.upperBound)
    }
    let all = try places.rows(of: samples.lowerBound * views..<samples.upperBound * views)
    return samples.indices.map { all[($0 - samples.lowerBound) * views + view] }
  }
}

extension ArrayFile {
  /// Refuses elements of the wrong kind.
  func demand(isIndex: Bool) throws {
    guard holdsFloats != isIndex else {
      throw Problem(
        .corrupt,
        "\(name) holds \(typeName); "
          + (isIndex ? "uint8, int32 or int64 is expected" : "floating-point numbers are expected"))
    }
  }
}
