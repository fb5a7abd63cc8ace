import Basics
import DataSets
import Foundation
import LogitCache
import Losses
import Pipelines
import Teachers
import TestSupport
import Testing
import Views

/// Workers that answer with rows at several positions of a view.
@Suite struct WorkerPositionTests {
  private let classes = 4
  private let positions = 4

  /// The logits of the first 8 samples at all positions [8, M, C], NaN where there are none, and where they count.
  private func answer(_ bench: WorkerBench) throws -> (rows: [Float], places: RowPlaces) {
    let teacher = try bench.bench.open()
    let session = try teacher.makeSession()
    var rows = [Float](repeating: .nan, count: 8 * teacher.positions * teacher.classes)
    var places = RowPlaces()
    var span = rows.mutableSpan
    try session.logits(of: bench.bench.views(0..<8), into: &span, places: &places)
    return (rows, places)
  }

  /// The parts of the views, as the worker cuts them, and what it says about each.
  private func parts(
    _ bench: WorkerBench, _ samples: Range<Int>, classes: Int = 4
  ) throws -> [(row: [Float], isOdd: Bool)] {
    let pixels = try bench.bench.views(samples).pixels
    return (0..<samples.count * positions).map { index in
      let part = pixels[index * 16..<(index + 1) * 16].map { Float($0) }
      return (
        FakeWorker.row(of: part, classes: classes),
        part.reduce(0, +).truncatingRemainder(dividingBy: 2) == 1
      )
    }
  }

  private func expectRefusal(
    _ bench: WorkerBench, _ texts: [String], sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let problem = #expect(throws: Problem.self, sourceLocation: sourceLocation) {
      try answer(bench)
    }
    #expect(problem?.kind == .corrupt, sourceLocation: sourceLocation)
    for text in texts {
      #expect(
        problem?.message.contains(text) == true, "'\(text)' is not in: \(problem?.message ?? "")",
        sourceLocation: sourceLocation)
    }
  }

  @Test func `a row for every position comes back as the worker computes it`() throws {
    let bench = try WorkerBench()
    try bench.describe(["positions=4"])
    let (rows, places) = try answer(bench)
    #expect(rows == (try parts(bench, 0..<8).flatMap(\.row)))
    #expect((0..<8).allSatisfy { places.rows(of: $0) == $0 * 4..<($0 + 1) * 4 })
    let identity = try bench.bench.open().identity
    #expect(identity["output"]?["position"] == .string("every of 4 positions"))
  }

  @Test func `rows at some positions come to these, in the classes that are kept`() throws {
    let bench = try WorkerBench(classes: 3)
    try bench.describe(
      ["positions=4", "ragged=1", "classes=5", "names=class 2,other,class 0,class 1,more"],
      "keep-classes: data-set")
    let (rows, places) = try answer(bench)
    let parts = try parts(bench, 0..<8, classes: 5)
    #expect(parts.contains { $0.isOdd } && parts.contains { !$0.isOdd })
    for (index, part) in parts.enumerated() {
      let row = Array(rows[index * 3..<(index + 1) * 3])
      let isThere = places.row(of: index / 4, position: index % 4) != nil
      #expect(isThere == !part.isOdd)
      #expect(part.isOdd ? row.allSatisfy(\.isNaN) : row == [2, 3, 0].map { part.row[$0] })
    }
    let identity = try bench.bench.open().identity
    #expect(identity["output"]?["position"] == .string("some of 4 positions"))
  }

  @Test(arguments: [[], ["ragged=1"]])
  func `a cache has the rows that the worker gives`(options: [String]) throws {
    let bench = try WorkerBench(samples: 60)
    try bench.describe(["positions=4"] + options)
    let result = try precompute(bench.job(views: 1))
    let cache = try CacheReader(path: bench.job().making.cache)
    #expect(cache.manifest.encoding.positions == Positions(maximum: 4, labels: .sample))
    let parts = try parts(bench, 0..<60)
    let counting = parts.indices.filter { options.isEmpty || !parts[$0].isOdd }
    #expect(result.records == counting.count)
    var batch = cache.makeBatch()
    var first = 0
    for key in cache.manifest.blockKeys {
      try cache.decode(view: 0, block: key.block, into: &batch)
      let places = try #require(batch.places)
      let samples = cache.manifest.samples(of: key)
      for row in 0..<batch.count {
        let place = places.place(ofRow: row)
        let index = counting[first + row]
        #expect((samples.lowerBound + place.sample) * 4 + place.position == index)
        let logits = parts[index].row
        let best: [Int] = logits.indices.sorted { a, b in
          logits[a] == logits[b] ? a < b : logits[a] > logits[b]
        }
        #expect(batch.classIDs[row * 4..<row * 4 + 4].map { Int($0) } == best)
      }
      first += batch.count
    }
    #expect(first == counting.count)
    #expect(try verifyCache(path: cache.path).records == counting.count)
  }

  @Test(arguments: [1, 2])
  func `workers killed at random batches lose no position`(seed: Int) throws {
    let bench = try WorkerBench(samples: 60)
    let options = ["positions=4", "ragged=1"]
    try bench.describe(options)
    let digest = try bench.digest("whole")
    let state = "state=\(bench.folder.file("state"))"
    try bench.describe(
      options + ["one-in=20", "seed=\(seed)", state], "restarts: 1000", "processes: \(seed)")
    #expect(try bench.digest("killed", threads: 2) == digest)
    #expect(try Files.read(bench.folder.file("state")).count >= 3)
    try bench.describe(["positions=4"])
    let problem = #expect(throws: Problem.self) { try bench.digest("whole") }
    #expect(
      problem?.message.contains(
        "position: the cache has some of 4 positions, this run has every of 4 positions") == true,
      "\(problem!)")
  }

  @Test func `a worker with other positions after a restart is refused by what differs`() throws {
    let bench = try WorkerBench()
    try bench.describe([
      "positions=4", "fault=die", "lives=1", "reborn-positions=8",
      "state=\(bench.folder.file("state"))",
    ])
    expectRefusal(bench, ["is another teacher: positions was 4, it is 8"])
  }

  @Test(arguments: [
    (
      "positions",
      ["a batch of 8 views with 8 rows of 4 classes at 5 positions; 8 rows of 4 classes at 4 pos"]
    ),
    ("few-bytes", ["bytes for 8 rows of 4 classes at 4 positions; these are 528 bytes"]),
    ("few-rows", ["a batch of 8 views with 7 rows of 4 classes; 8 rows of 4 classes at 4 pos"]),
    ("nan", ["gave nan for class 1 at position 3 of view 0 of a batch of 8"]),
  ])
  func `answers at every position that are not what was announced are refused`(
    fault: String, texts: [String]
  ) throws {
    let bench = try WorkerBench()
    try bench.describe(["positions=4", "fault=\(fault)", "place=13"])
    expectRefusal(bench, ["worker sums"] + texts)
  }

  @Test(arguments: [
    ("many", ["answered view 3 of a batch of 8 with 5 rows; it announced at most 4"]),
    ("miscount", [" bytes for ", " rows of 4 classes; these are "]),
    ("few-bytes", [" bytes for ", " rows of 4 classes; these are "]),
    ("no-counts", ["answered with 20 bytes; how many rows each of 8 views has would be 48"]),
    ("order", ["with rows at the positions 1, 1", "they must ascend and be below 4"]),
    ("beyond", ["with rows at the positions 0, 4", "they must ascend and be below 4"]),
  ])
  func `answers at some positions that break the protocol are refused`(
    fault: String, texts: [String]
  ) throws {
    let bench = try WorkerBench()
    try bench.describe(["positions=4", "ragged=1", "fault=\(fault)"])
    expectRefusal(bench, ["worker sums"] + texts)
  }

  @Test func `answers beyond a frame are refused before anything is sent`() throws {
    let bench = try WorkerBench()
    try bench.describe([#"welcome={"positions": 4096, "classes": 65536}"#])
    let problem = #expect(throws: Problem.self) { try answer(bench) }
    #expect(problem?.message.contains("the answer to a batch of 8 is 8589934608 bytes") == true)
  }

  // MARK: - Positions with labels

  /// A job over tokens with labels of which some are missing.
  private func job(_ tokens: SmallTokens, _ folder: ScratchFolder, _ options: [String]) throws
    -> PrecomputeJob
  {
    let teacher = try folder.write(
      "{version: 1, kind: worker, batch: 8, command: \(FakeWorker.command(options))}",
      to: "teacher.yaml")
    return PrecomputeJob(
      data: try tokens.write(to: folder), teacher: teacher, recipe: nil, views: 1, seed: 1,
      making: CacheMaking(
        command: "precompute", cache: folder.file("cache"), threads: 1, commitSeconds: 1000))
  }

  @Test(arguments: [[], ["ragged=1"]])
  func `positions with labels have records, whatever the worker says of others`(
    options: [String]
  ) throws {
    let folder = ScratchFolder()
    let tokens = SmallTokens(count: 30)
    let job = try job(tokens, folder, ["positions=5"] + options)
    #expect(try precompute(job).records == tokens.labelled)
    let cache = try CacheReader(path: job.making.cache)
    #expect(cache.manifest.encoding.positions == Positions(maximum: 5, labels: .position))
    #expect(try cache.labels == tokens.labels)
  }

  @Test func `a label without a row is refused by its place`() throws {
    let folder = ScratchFolder()
    var tokens = SmallTokens(count: 30)
    for sample in 0..<30 { tokens.labels[sample * 5 + 4] = sample == 17 ? 2 : -1 }
    let job = try job(tokens, folder, ["positions=5", "ragged=1", "lengths=4"])
    let problem = #expect(throws: Problem.self) { try precompute(job) }
    #expect(
      problem?.message.contains(
        "sample 17, view 0, position 4 has a label, but there are rows for 4 positions") == true,
      "\(problem!)")
  }

  @Test func `a worker of other positions than the labels is refused`() throws {
    let folder = ScratchFolder()
    let job = try job(SmallTokens(count: 30), folder, ["positions=3"])
    let problem = #expect(throws: Problem.self) { try precompute(job) }
    #expect(
      problem?.message.contains("speaks at 3 positions of a view, data set tokens has labels for 5")
        == true)
  }
}
