import Arrays
import Basics
import DataSets
import Pipelines
import Teachers
import TestSupport
import Testing

/// Files of rows at positions that do not fit together.
@Suite struct PositionRefusalTests {
  private let files = PositionFiles(
    samples: 6, views: 2, positions: 3, classes: 4, hasPositionLabels: false, seed: 9)

  private func expect(
    _ text: String, inBlock: Bool = false, sourceLocation: SourceLocation = #_sourceLocation,
    _ change: (inout ImportJob) throws -> Void
  ) throws {
    var job = try files.packedJob("new")
    try change(&job)
    let problem = #expect(throws: Problem.self, sourceLocation: sourceLocation) {
      try importRows(job)
    }
    #expect(
      problem?.message.contains(text) == true, "\(problem?.message ?? "")",
      sourceLocation: sourceLocation)
    // A row that is read later may leave a cache that is begun.
    guard inBlock else {
      return #expect(!Files.exists(files.folder.file("new")), sourceLocation: sourceLocation)
    }
    if Files.exists(files.folder.file("new")) { try remove(files.folder.file("new")) }
  }

  private func counts(_ change: (inout [Int32]) -> Void) throws -> String {
    var counts = files.places.map { Int32($0.count) }
    change(&counts)
    return try files.write("other-counts.npy", [6, 2], .int32(counts))
  }

  @Test func `counts that are not those of the rows are refused`() throws {
    try expect("sums to \(files.records + 1) rows, ") { job in
      job.positions?.counts = try counts { $0[3] += 1 }
    }
    try expect("number 3 is -1, ") { job in
      job.positions?.counts = try counts { $0[3] = -1 }
    }
    try expect("has the shape [3, 2, 2]; [samples] or [samples, views] is expected") { job in
      job.positions?.counts = try files.write(
        "deep.npy", [3, 2, 2], .int32(files.labels + files.labels))
    }
    try expect("number 7 is 4, rows of a view are 0...3") { job in
      job = try files.job("new", nil, .init(counts: counts { $0[7] = 4 }))
    }
    try expect("has the shape [6], ") { job in
      job = try files.job("new", nil, .init(counts: files.writeLabels()))
    }
  }

  @Test func `padding does not hide that rows are probabilities`() throws {
    let rows = (0..<36).flatMap { row -> [Float] in
      switch row % 6 {
      case 2: [0, 0, 0, 0]
      case 5: [.nan, .nan, .nan, .nan]
      default: [0.5, 0.25, 0.125, 0.125]
      }
    }
    let path = try files.write("soft.npy", [6, 2, 3, 4], .float32(rows))
    try expect("pass --kind probabilities") { job in
      job = try files.job("new", path, .init(counts: counts { for i in 0..<12 { $0[i] = 2 } }))
      job.rows = .full(values: path, kind: nil, features: nil)
    }
  }

  @Test func `a number of positions that the rows say otherwise is refused`() throws {
    try expect("--max-positions is 5, but") { job in
      job = try files.job("new", nil, .init(counts: counts { _ in }, maximum: 5))
    }
  }

  @Test func `positions that do not ascend, or are beyond the most, are refused by their place`()
    throws
  {
    let view = try #require(files.places.indices.first { files.places[$0].count >= 2 })
    let row = files.places[..<view].reduce(0) { $0 + $1.count }
    var places = files.places.joined().map { Int32($0) }
    places[row + 1] = places[row]
    try expect(
      "sample \(view / 2), view \(view % 2) has a row at position \(places[row]) after one",
      inBlock: true
    ) {
      $0.positions?.places = try files.write("same.npy", [places.count], .int32(places))
    }
    places[row + 1] = 7
    try expect("has rows at 8 positions of a view, --max-positions is 3") {
      $0.positions?.places = try files.write("far.npy", [places.count], .int32(places))
    }
    places[row + 1] = -1
    try expect("row \(row + 1) is at the position -1") {
      $0.positions?.places = try files.write("below.npy", [places.count], .int32(places))
    }
    try expect("has the shape [6]") { $0.positions?.places = try files.writeLabels() }
    try expect("with an axis of positions: leave out --positions") { job in
      job = try files.job(
        "new", nil, .init(counts: counts { _ in }, places: files.folder.file("same.npy")))
    }
  }

  @Test func `axes that are not those of positions are refused`() throws {
    try expect("[samples, positions, classes] or") { job in
      job = try files.job("new", files.write("two.npy", [36, 4], .float32(files.rows)))
    }
    try expect("has the shape [6, 2, 3, 4]; [samples, classes] or") { job in
      job = try files.job("new")
      job.positions = nil
    }
    try expect("has 1 position of a view, there must be 2...4096: leave out --positions") { job in
      let part = Array(files.rows.prefix(24))
      job = try files.job("new", files.write("one.npy", [6, 1, 4], .float32(part)))
    }
    try expect("leave them out where rows have positions") { job in
      job = try files.job("new")
      job.rows = .full(
        values: files.folder.file("rows.npy"), kind: .logits,
        features: files.folder.file("rows.npy"))
    }
  }

  @Test func `labels of other positions than the rows are refused`() throws {
    try expect("has rows at 3 positions of a view, there are labels for 2 of a sample") {
      $0.labels = try files.write("l.npy", [6, 2], .int32(files.labels + files.labels))
      $0.positions?.maximum = nil
    }
    try expect("sample 1, position 1 has the label 4, the classes are 0..<4") {
      var labels = [Int32](repeating: -100, count: 18)
      labels[4] = 4
      $0.labels = try files.write("l.npy", [6, 3], .int32(labels))
    }
    try expect("has no label: every position of every sample is masked") {
      $0.labels = try files.write("l.npy", [6, 3], .int32(Array(repeating: -1, count: 18)))
    }
    let place = try #require(files.places.indices.first { files.places[$0].count < 3 })
    try expect("sample \(place / 2), view \(place % 2), position ", inBlock: true) {
      var labels = [Int32](repeating: -1, count: 18)
      for position in 0..<3 { labels[place / 2 * 3 + position] = 1 }
      $0.labels = try files.write("l.npy", [6, 3], .int32(labels))
    }
  }

  @Test func `a data set with labels of positions needs rows of them`() throws {
    let tokens = SmallTokens(count: 6, positions: 3)
    let data = try tokens.write(to: files.folder)
    let rows = try files.write("flat.npy", [6, 4], .float32(Array(files.rows.prefix(24))))
    try expect("there are labels for 3 positions of a sample, and") { job in
      job = try files.job("new", rows)
      (job.positions, job.labels) = (nil, nil)
      job.views = .init(data: data, recipe: nil, seed: 1)
    }
    try expect("has 1 label of a sample, data set tokens has 3") { job in
      job.views = .init(data: data, recipe: nil, seed: 1)
    }
  }
}
