import Arrays
import Basics
import LogitCache
import Pipelines
import Teachers
import TestSupport

/// Random rows at positions of views, and the files that somebody could have of them.
final class PositionFiles {
  let folder = ScratchFolder()
  let samples: Int
  let views: Int
  /// M.
  let positions: Int
  let classes: Int
  /// [samples, views, positions, classes].
  let rows: [Float]
  /// [samples], or [samples, positions] with -1 for none.
  let labels: [Int32]
  let hasPositionLabels: Bool
  /// Ascending positions that have rows, of each view of each sample [samples, views].
  let places: [[Int]]

  init(
    samples: Int, views: Int, positions: Int, classes: Int, hasPositionLabels: Bool, seed: UInt64
  ) {
    (self.samples, self.views, self.positions) = (samples, views, positions)
    (self.classes, self.hasPositionLabels) = (classes, hasPositionLabels)
    var random = SeededGenerator(seed: seed)
    rows = (0..<samples * views * positions * classes).map { _ in Float(random.normal() * 4) }
    let width = hasPositionLabels ? positions : 1
    var labels = (0..<samples * width).map { _ in
      Int32.random(in: (hasPositionLabels ? -2 : 0)..<Int32(classes), using: &random)
    }
    for index in labels.indices { labels[index] = max(labels[index], -1) }
    labels[0] = 0
    self.labels = labels
    places = (0..<samples * views).map { view in
      (0..<positions).filter { position in
        hasPositionLabels
          ? labels[view / views * positions + position] >= 0 : Bool.random(using: &random)
      }
    }
  }

  /// Rows of some shape.
  convenience init(seed: UInt64, hasPositionLabels: Bool = false) {
    var random = SeededGenerator(seed: seed)
    self.init(
      samples: .random(in: 1...(seed.isMultiple(of: 3) ? 900 : 30), using: &random),
      views: .random(in: 1...3, using: &random), positions: .random(in: 2...6, using: &random),
      classes: .random(in: 2...30, using: &random), hasPositionLabels: hasPositionLabels,
      seed: seed &+ 1)
  }

  /// How many rows count.
  var records: Int { places.reduce(0) { $0 + $1.count } }

  func row(_ view: Int, _ position: Int) -> ArraySlice<Float> {
    let start = (view * positions + position) * classes
    return rows[start..<start + classes]
  }

  /// The rows at `places`, one after the other.
  var packed: [Float] {
    places.indices.flatMap { view in places[view].flatMap { row(view, $0) } }
  }

  /// Writes `NAME` and returns its path.
  func write(_ name: String, _ shape: [Int], _ values: ArrayValues) throws -> String {
    try NumPy.write(NamedArray(shape: shape, values: values), to: folder.file(name))
    return folder.file(name)
  }

  func writeLabels() throws -> String {
    try write(
      "labels.npy", [samples] + (hasPositionLabels ? [positions] : []), .int32(labels))
  }

  /// An import of full rows into the cache `name`; the rows in [samples, views, positions, classes] unless told otherwise.
  func job(
    _ name: String, _ values: String? = nil, _ positions: ImportJob.Positions = .init(),
    k: Int? = nil
  ) throws -> ImportJob {
    let all =
      try values
      ?? write("rows.npy", [samples, views, self.positions, classes], .float32(rows))
    var job = ImportJob(
      .full(values: all, kind: .logits, features: nil), kept: KeptRecord(k: k ?? classes),
      making: CacheMaking(
        command: "import", cache: folder.file(name), threads: 1, commitSeconds: 1000))
    job.positions = positions
    job.labels = try writeLabels()
    return job
  }

  /// An import of the rows at `places`, one after the other.
  func packedJob(_ name: String, k: Int? = nil) throws -> ImportJob {
    try job(
      name, write("packed.npy", [records, classes], .float32(packed)),
      ImportJob.Positions(
        counts: write("counts.npy", [samples, views], .int32(places.map { Int32($0.count) })),
        places: write("places.npy", [records], .int64(places.joined().map { Int64($0) })),
        maximum: positions), k: k)
  }

  /// An import of what `export` wrote: records, or full rows.
  func exportedJob(_ name: String, _ file: String, full: Bool, k: Int? = nil) throws -> ImportJob {
    let file = folder.file(file)
    var job = try job(
      name, file + ":logits",
      ImportJob.Positions(
        counts: file + ":counts", places: file + ":record-positions", maximum: positions), k: k)
    job.labels = file + ":labels"
    if !full {
      job.rows = .sparse(
        ImportJob.SparseFiles(
          ids: file + ":ids", values: file + ":logits", logSumExp: file + ":log-sum-exp",
          labelLogits: file + ":label-logits", labelRanks: file + ":label-ranks",
          classes: classes))
    }
    return job
  }

  func open(_ name: String) throws -> CacheReader { try CacheReader(path: folder.file(name)) }

  @discardableResult
  func export(
    _ name: String, to file: String, _ format: ExportJob.Format,
    _ change: (inout ExportJob) -> Void = { _ in }
  ) throws -> [String: NamedArray] { try folder.export(name, to: file, format, change) }
}
