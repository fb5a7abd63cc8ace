import Arrays
import Basics

/// How rows lie in arrays: [n, ...], [n, V, ...] or [V, n, ...].
struct ImportLayout: Sendable {
  let samples: Int
  let views: Int
  let viewsFirst: Bool
  /// The axes before those of a row.
  let axes: [Int]

  /// Reads the layout off an array whose rows have one axis.
  ///
  /// - Throws: `Problem(.corrupt)` when it has other axes; `.usage` when views cannot be first.
  init(of file: ArrayFile, viewsFirst: Bool) throws {
    let shape = file.shape
    guard (2...3).contains(shape.count), shape.allSatisfy({ $0 >= 1 }) else {
      throw Problem(
        .corrupt,
        "\(file.name) has the shape \(shape); [samples, classes] or [samples, views, classes] is "
          + "expected, with --views-first [views, samples, classes], and nothing empty")
    }
    guard shape.count == 3 || !viewsFirst else {
      throw Problem(
        .usage,
        "\(file.name) has the shape \(shape): without an axis of views, leave out --views-first"
      )
    }
    axes = Array(shape.dropLast())
    self.viewsFirst = viewsFirst
    samples = viewsFirst ? axes[1] : axes[0]
    views = axes.count == 1 ? 1 : viewsFirst ? axes[0] : axes[1]
  }

  /// For the teacher's identity.
  var name: String {
    axes.count == 1 ? "samples" : viewsFirst ? "views, samples" : "samples, views"
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

  /// Visits the rows of samples of a view, as many at once as lie together.
  ///
  /// - Parameter body: gets rows in the array and how many came before.
  func forEachRun(
    of samples: Range<Int>, view: Int, _ body: (_ rows: Range<Int>, _ done: Int) throws -> Void
  ) rethrows {
    if viewsFirst || views == 1 {
      let first = view * self.samples
      return try body(first + samples.lowerBound..<first + samples.upperBound, 0)
    }
    for (done, sample) in samples.enumerated() {
      let row = sample * views + view
      try body(row..<row + 1, done)
    }
  }

  /// Reads float32 rows of a width.
  func read(
    _ file: ArrayFile, _ samples: Range<Int>, view: Int, width: Int, into target: inout [Float]
  ) throws {
    try target.withUnsafeMutableBufferPointer { target in
      try forEachRun(of: samples, view: view) { rows, done in
        let part = target[done * width..<(done + rows.count) * width]
        try file.read(
          rows.lowerBound * width..<rows.upperBound * width,
          into: UnsafeMutableBufferPointer(rebasing: part))
      }
    }
  }

  /// Reads rows of a width with one of `ArrayFile`'s readers.
  func collect<Value>(
    _ samples: Range<Int>, view: Int, width: Int, _ read: (Range<Int>) throws -> [Value]
  ) throws -> [Value] {
    var values: [Value] = []
    values.reserveCapacity(samples.count * width)
    try forEachRun(of: samples, view: view) { rows, _ in
      values += try read(rows.lowerBound * width..<rows.upperBound * width)
    }
    return values
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
