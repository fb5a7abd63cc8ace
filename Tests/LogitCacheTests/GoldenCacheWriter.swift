import Basics
import Foundation
import LogitCache
import TestSupport
import Testing

/// Writes golden caches of the present version, when LOGITCACHE_GOLDEN names a folder for them.
///
/// Folders that are there already stay as they are: golden caches are never written again.
@Suite(.enabled(if: goldenFolder != nil)) struct GoldenCacheWriter {
  @Test func `golden caches are written on demand`() throws {
    let folder = try #require(goldenFolder)
    for (name, write) in GoldenCacheWriter.caches {
      let path = "\(folder)/\(name)"
      if Files.exists(path) { continue }
      let scratch = ScratchFolder()
      try write(scratch)
      try Files.makeFolder(folder)
      try Files.makeFolder(path)
      for file in ["data.mdb", "seal.json"] {
        try Files.writeAtomically(try Files.read("\(scratch.path)/\(file)"), to: "\(path)/\(file)")
      }
      let reader = try CacheReader(path: path)
      var expected: [String: JSONValue] = [
        "cacheDigest": .string("\(try #require(reader.cacheDigest))"),
        "columnsDigest": .string("\(try reader.columnsDigest())"),
        "fingerprint": .string("\(reader.fingerprint)"),
        "records": .integer(try verifyCache(path: path).records),
      ]
      if reader.axes.map({ $0.trellisAxes > 0 }) ?? false {
        expected["coefficientsDigest"] = .string("\(try coefficientsDigest(reader))")
      }
      let text = try readableJSON(JSONValue.object(expected))
      try Files.writeAtomically(Array(text.utf8), to: "\(path)/expected.json")
    }
  }

  /// Each shape of record that the format knows.
  private static let caches: [(String, @Sendable (ScratchFolder) throws -> Void)] = [
    ("all-classes", { try Job(classes: 10, k: 10, samples: 40, views: 2).write(to: $0.path) }),
    ("head", { try Job(classes: 257, k: 12, samples: 40, views: 2, seed: 2).write(to: $0.path) }),
    (
      "one-class",
      { try Job(classes: 3, k: 1, samples: 20, blockRows: 6, seed: 3).write(to: $0.path) }
    ),
    (
      "long-head",
      {
        try Job(classes: 700, k: 600, samples: 9, blockRows: 5, seed: 4).write(to: $0.path)
      }
    ),
    (
      "temperatures",
      {
        try Job(
          classes: 30, k: 5, samples: 30, seed: 5, temperatures: [1, Temperature(3, over: 2)!, 20]
        ).write(to: $0.path)
      }
    ),
    (
      "features",
      {
        try Job(classes: 12, k: 4, samples: 30, views: 2, seed: 6, featureWidth: 5)
          .write(to: $0.path)
      }
    ),
    (
      "lists",
      { scratch in
        let tests = CalibrationTests()
        let habits = Habits(classes: 40, seed: 7)
        let written = try tests.write(
          habits, tests.manifest(habits, k: 6, samples: 1000, views: 2), learn: true, to: scratch)
        #expect(written.calibration.summary.contains("lists of"))
      }
    ),
    (
      "ranking",
      {
        var job = Job(classes: 40, k: 4, samples: 30, views: 2, seed: 9)
        job.manifest.encoding.ranking = .full
        try job.write(to: $0.path)
      }
    ),
    (
      "positions",
      {
        try Job(
          classes: 30, k: 4, samples: 40, views: 2, seed: 10,
          positions: Positions(maximum: 6, labels: .sample)
        ).write(to: $0.path)
      }
    ),
    (
      "positions-labels",
      {
        var job = Job(
          classes: 30, k: 4, samples: 40, views: 2, seed: 11,
          positions: Positions(maximum: 6, labels: .position))
        job.manifest.encoding.ranking = .full
        job.calibration = try job.learned()
        try job.write(to: $0.path)
      }
    ),
    (
      "trellis",
      { scratch in
        let job = try TailJob(classes: 60, k: 5, samples: 80, rank: 16, step: 8, seed: 12)
        let axes = try #require(job.calibration.axes)
        #expect(axes.trellisAxes >= 8 && axes.trellisAxes < axes.count)
        try job.write(to: scratch.path)
      }
    ),
    // Older than the trellis: today's writer would use one.
    (
      "subspace",
      { _ = try TailJob(classes: 60, k: 5, samples: 80, seed: 8).write(to: $0.path) }
    ),
  ]
}

private let goldenFolder = ProcessInfo.processInfo.environment["LOGITCACHE_GOLDEN"]
