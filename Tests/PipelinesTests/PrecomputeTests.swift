import Basics
import DataSets
import LogitCache
import Pipelines
import TestSupport
import Testing

@Suite struct PrecomputeTests {
  /// Heads alone, and with each of the things that may stand behind them.
  static let kept = [
    KeptRecord(), KeptRecord(k: 3, tail: SubspaceTail(step: 0.5)),
    KeptRecord(k: 3, ranking: .full),
  ]

  @Test(
    arguments: kept,
    [(1, 0), (1, 1000), (2, 0), (2, 0.01), (2, 1000), (3, 0), (3, 0.01), (3, 1000)])
  func `threads and commits do not change the digest`(
    kept: KeptRecord, threadsAndCommitSeconds: (Int, Double)
  ) throws {
    let workshop = try Workshop(samples: 2100, classes: 12)
    let reference = try precompute(workshop.job("reference", views: 3, kept: kept))
    var job = workshop.job("other", views: 3, kept: kept)
    (job.making.threads, job.making.commitSeconds) = threadsAndCommitSeconds
    let other = try precompute(job)
    #expect(other.cacheDigest == reference.cacheDigest)
    #expect(other.records == 6300)
    #expect(other.newRecords == 6300)
    let verified = try verifyCache(path: job.making.cache)
    #expect(verified.cacheDigest == reference.cacheDigest)
    #expect(verified.records == 6300)
    #expect(verified.missingBlocks == 0)
  }

  @Test(
    arguments: kept,
    [
      [BlockKey(view: 0, block: 0)], [BlockKey(view: 2, block: 1)],
      [BlockKey(view: 1, block: 1), BlockKey(view: 0, block: 1), BlockKey(view: 2, block: 0)],
    ])
  func `a cache begun block by block, by other code, is finished to the same digest`(
    kept: KeptRecord, keys: [BlockKey]
  ) throws {
    let workshop = try Workshop(samples: 2100, classes: 12)
    let reference = try precompute(workshop.job("reference", views: 3, kept: kept))
    try workshop.begin("begun", like: "reference", with: keys)
    let finished = try precompute(workshop.job("begun", views: 3, kept: kept))
    #expect(finished.cacheDigest == reference.cacheDigest)
    let begun = keys.reduce(0) { $0 + ($1.block == 0 ? 2048 : 52) }
    #expect(finished.newRecords == 6300 - begun)
  }

  @Test(
    arguments: [
      (kept[1], "all 12 are kept: choose a smaller --k"),
      (kept[2], "all 12 are kept, in order: leave out --ranking"),
    ], [nil, 12])
  func `nothing can be kept behind all classes`(
    keptAndRefusal: (KeptRecord, String), k: Int?
  ) throws {
    let workshop = try Workshop(classes: 12)
    var job = workshop.job(kept: keptAndRefusal.0)
    job.kept.k = k
    let problem = #expect(throws: Problem.self) { try precompute(job) }
    #expect(problem?.kind == .usage)
    #expect(problem?.message.contains(keptAndRefusal.1) == true)
    #expect(!Files.exists(job.making.cache))
  }

  @Test func `a finished job is not done again`() throws {
    let workshop = try Workshop()
    let first = try precompute(workshop.job())
    let before = try content(ofFolder: workshop.folder.file("cache"))
    let again = try precompute(workshop.job())
    #expect(again.newRecords == 0)
    #expect(again.cacheDigest == first.cacheDigest)
    #expect(try content(ofFolder: workshop.folder.file("cache")) == before)
  }

  /// A change of a job and what the refusal says of it.
  struct Change: CustomTestStringConvertible, Sendable {
    var testDescription: String
    var named: [String]
    var make: @Sendable (inout PrecomputeJob, Workshop) throws -> Void
  }

  static let changes = [
    Change(
      testDescription: "seed", named: ["seed: the cache has 1, this run has 2"],
      make: { job, _ in job.seed = 2 }),
    Change(
      testDescription: "views", named: ["views: the cache has 2, this run has 3"],
      make: { job, _ in job.views = 3 }),
    Change(
      testDescription: "k", named: ["encoding.k: the cache has 4, this run has 3"],
      make: { job, _ in job.kept.k = 3 }),
    Change(
      testDescription: "recipe", named: ["recipe.content.operations", "recipe.digest"],
      make: { job, _ in job.recipe = nil }),
    Change(
      testDescription: "teacher's weights", named: ["teacher.weights"],
      make: { job, workshop in job.teacher = try workshop.writeTeacher("other", seed: 8) }),
    Change(
      testDescription: "teacher's batch",
      named: ["teacher.batch: the cache has 32, this run has 16"],
      make: { job, workshop in
        try copy(
          workshop.folder.file("teacher.safetensors"), to: workshop.folder.file("b.safetensors"))
        job.teacher = try workshop.describeTeacher("b", batch: 16)
      }),
    Change(
      testDescription: "one pixel", named: ["dataSet.fingerprint"],
      make: { job, workshop in
        var pictures = workshop.pictures
        pictures.pixels[1000] ^= 1
        job.data = try pictures.write(to: workshop.folder, name: "other")
      }),
    Change(
      testDescription: "number of samples",
      named: ["dataSet.samples: the cache has 300, this run has 299"],
      make: { job, _ in job.data += "[0:299]" }),
    Change(
      testDescription: "seed and views",
      named: ["seed: the cache has 1, this run has 9", "views: the cache has 2, this run has 1"],
      make: { job, _ in (job.seed, job.views) = (9, 1) }),
  ]

  @Test(arguments: changes, [true, false])
  func `another job is refused by what differs, and nothing is touched`(
    change: Change, isFinished: Bool
  ) throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    if !isFinished {
      try workshop.begin("begun", like: "cache", with: [BlockKey(view: 0, block: 0)])
    }
    var job = workshop.job(isFinished ? "cache" : "begun")
    let before = try content(ofFolder: job.making.cache)
    try change.make(&job, workshop)
    let problem = #expect(throws: Problem.self) { try precompute(job) }
    #expect(problem?.kind == .corrupt)
    for text in change.named { #expect(problem?.message.contains(text) == true, "\(problem!)") }
    #expect(try content(ofFolder: job.making.cache) == before)
  }

  @Test func `a teacher of another class count is refused by both counts`() throws {
    let workshop = try Workshop()
    var job = workshop.job()
    job.teacher = try workshop.writeTeacher("five", classes: 5, seed: 1)
    let problem = #expect(throws: Problem.self) { try precompute(job) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("five.yaml names 5 classes, data set data has 4") == true)
    #expect(!Files.exists(job.making.cache))
  }

  @Test func `a teacher for other pictures is refused by both shapes`() throws {
    let workshop = try Workshop()
    var job = workshop.job()
    job.teacher = try workshop.writeTeacher("large", side: 9, seed: 1)
    let problem = #expect(throws: Problem.self) { try precompute(job) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("takes 9x9x1 inputs, the data set has 8x8x1") == true)
  }

  @Test(arguments: [0, -1, 5])
  func `k outside the classes is refused`(k: Int) throws {
    let workshop = try Workshop()
    var job = workshop.job()
    job.kept.k = k
    let problem = #expect(throws: Problem.self) { try precompute(job) }
    #expect(problem?.kind == .usage)
    #expect(problem?.message == "--k is \(k), it must be in 1...4, the number of classes")
  }

  @Test(arguments: [1, 2, 3])
  func `a teacher that gives NaN is refused by sample and view, and finished blocks stay`(
    threads: Int
  ) throws {
    let workshop = try Workshop(samples: 2100, side: 6, network: "mlp")
    let bad = 2070
    var pictures = workshop.pictures
    for sample in 0..<2100 { pictures.pixels[sample * 36] = sample == bad ? 255 : 0 }
    let data = try pictures.write(to: workshop.folder, name: "one-bright-corner")
    try workshop.overflowOnBrightCorner()
    var job = workshop.job(views: 2)
    (job.data, job.recipe, job.making.threads) = (data, nil, threads)
    let problem = #expect(throws: Problem.self) { try precompute(job) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("sample \(bad), view 0") == true)
    #expect(problem?.message.contains("infinity") == true)
    let reader = try CacheReader(path: job.making.cache)
    #expect(!reader.isSealed)
    #expect(try reader.storedBlocks() == [BlockKey(view: 0, block: 0)])
    #expect(try verifyCache(path: job.making.cache).records == 2048)
  }
}
