import Basics
import LogitCache
import Pipelines
import Reports
import Schemas
import TestSupport
import Testing

@Suite struct ShardTests {
  @Test(arguments: [1, 2, 7])
  func `shards of a job merge to the digest of the whole, and status follows`(count: Int) throws {
    let workshop = try Workshop(samples: 2100)
    let whole = try precompute(workshop.job("whole", views: 3, features: true))
    let paths = (1...count).map { workshop.folder.file("shard-\($0)") }
    let order = Array((1...count).reversed())
    for (done, index) in order.enumerated() {
      var job = workshop.job("shard-\(index)", views: 3, features: true)
      job.making.shard = Shard(index, of: count)
      let result = try precompute(job)
      #expect(result.cacheDigest == nil && result.shard == job.making.shard)
      #expect(result.newRecords == result.records)
      #expect(try precompute(job).newRecords == 0)
      let status = try CacheStatus(of: paths, shards: nil)
      #expect(status.shards == count)
      // Seven shards of six blocks: one has none, and is never missing.
      let rest = (1..<index).filter {
        count <= 6 || Shard($0, of: count)!.blocks(of: try! manifest(of: job)).count > 0
      }
      let expected = rest.isEmpty ? "" : rest.count == 1 ? "1" : "1-\(rest.count)"
      #expect(status.missingShards == expected, "\(done + 1) of \(count)")
    }
    let report = try mergeCaches(paths, into: workshop.folder.file("merged"))
    #expect(report.cacheDigest == whole.cacheDigest)
    #expect(report.records == 6300)
    let status = try CacheStatus(of: [workshop.folder.file("merged")], shards: 4)
    #expect(status.folders[0].state == "sealed" && status.missingShards == "")
    #expect(status.text.contains("all 4 shards are done"))
  }

  private func manifest(of job: PrecomputeJob) throws -> Manifest {
    try CacheReader(path: job.making.cache).manifest
  }

  /// Twenty blocks, of which two are learned from.
  private func learningJob(_ workshop: Workshop, _ cache: String) -> PrecomputeJob {
    var job = workshop.job(cache, views: 20)
    job.kept.k = 5
    return job
  }

  @Test(arguments: [1, 2, 7], [false, true])
  func `every shard learns what the whole learns, by itself or from another one`(
    count: Int, takesFromAnother: Bool
  ) throws {
    let workshop = try Workshop(classes: 40)
    let whole = try precompute(learningJob(workshop, "whole"))
    let learned = try CacheReader(path: workshop.folder.file("whole"))
    #expect(learned.calibration != .plain(learned.manifest.encoding))
    #expect(learned.manifest.calibrationBlocks.map(\.view) == [0, 1])
    let paths = (1...count).map { workshop.folder.file("shard-\($0)") }
    for index in (1...count).reversed() {
      var job = learningJob(workshop, "shard-\(index)")
      job.making.shard = Shard(index, of: count)
      if takesFromAnother, index < count { job.making.calibration = paths[count - 1] }
      let result = try precompute(job)
      #expect(result.newRecords == result.records)
      let shard = try CacheReader(path: job.making.cache)
      #expect(shard.calibration == learned.calibration, "shard \(index) of \(count)")
      #expect(try shard.storedBlocks().count == result.blocks)
    }
    let report = try mergeCaches(paths, into: workshop.folder.file("merged"))
    #expect(report.cacheDigest == whole.cacheDigest)
  }

  @Test func `what another job or another run learned is refused`() throws {
    let workshop = try Workshop(classes: 40)
    try precompute(learningJob(workshop, "whole"))
    var job = learningJob(workshop, "shard")
    job.making.shard = Shard(1, of: 2)
    job.making.calibration = workshop.folder.file("no")
    #expect(#expect(throws: Problem.self) { try precompute(job) }?.kind == .noInput)
    job.making.calibration = workshop.folder.file("whole")
    job.seed = 5
    let other = #expect(throws: Problem.self) { try precompute(job) }
    #expect(other?.kind == .corrupt)
    #expect(
      other?.message.contains("seed: ") == true && other?.message.contains("--calibration") == true)
    #expect(other?.message.contains("calibration: ") == false)
    #expect(!Files.exists(job.making.cache))
    // A cache that was begun with another calibration neither continues with this one nor is merged.
    job.seed = 1
    let whole = try CacheReader(path: workshop.folder.file("whole"))
    var manifest = whole.manifest
    manifest.calibration = Calibration.plain(manifest.encoding).digest
    _ = try CacheWriter(
      path: job.making.cache, manifest: manifest, labels: workshop.pictures.labels)
    for body in [
      { _ = try precompute(job) },
      {
        _ = try mergeCaches([whole.path, job.making.cache], into: workshop.folder.file("merged"))
      },
    ] {
      let found = #expect(throws: Problem.self) { try body() }
      #expect(found?.kind == .corrupt && found?.message.contains("calibration: ") == true)
    }
  }

  @Test func `status lists missing shards as ranges, and folders that are not begun`() throws {
    let workshop = try Workshop(samples: 300)
    var paths: [String] = []
    // One block for each view: twenty blocks, one for each shard.
    for index in 1...20 where ![3, 7, 12, 13, 14, 15].contains(index) {
      var job = workshop.job("shard-\(index)", views: 20)
      job.making.shard = Shard(index, of: 20)
      try precompute(job)
      paths.append(job.making.cache)
    }
    paths.append(workshop.folder.file("shard-3"))
    let status = try CacheStatus(of: paths, shards: nil)
    #expect(status.missingShards == "3,7,12-15")
    #expect(status.blocks == 14 && status.totalBlocks == 20)
    #expect(status.records == 14 * 300 && status.totalRecords == 6000)
    #expect(status.folders.last?.state == "not begun")
    #expect(status.text.contains("shards of 20 not done: 3,7,12-15"))
    #expect(try CacheStatus(of: paths, shards: 2).missingShards == "1-2")
    let json = try parseJSON(readableJSON(status).utf8, source: "status")
    try Schemas.validate(json, against: .status, source: "status")
    let problem = #expect(throws: Problem.self) {
      try CacheStatus(of: [workshop.folder.file("no")], shards: nil)
    }
    #expect(problem?.kind == .noInput)
  }

  @Test func `status refuses caches of different jobs`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job("a"))
    var other = workshop.job("b")
    other.seed = 5
    try precompute(other)
    let problem = #expect(throws: Problem.self) {
      try CacheStatus(of: ["a", "b"].map { workshop.folder.file($0) }, shards: 2)
    }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("seed: ") == true)
  }

  @Test func `a student trains from a derived cache, and not from one of fewer classes`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    let cache = workshop.folder.file("cache")
    _ = try deriveCache(
      from: cache, into: workshop.folder.file("small"), keeping: Derivation(k: 2, views: 1))
    func plan(_ name: String) throws -> TrainingPlan {
      var plan = try workshop.plan("pld", epochs: 1)
      plan.cache = workshop.folder.file(name)
      return plan
    }
    #expect(try train(plan("small"), workshop.options()).count == 1)
    let report = try Inspection(of: CacheReader(path: workshop.folder.file("small")))
    #expect(report.derivedFrom?.cacheDigest == (try CacheReader(path: cache).cacheDigest))
    #expect(report.text.contains("derived from"))
    let json = try parseJSON(readableJSON(report).utf8, source: "inspect")
    try Schemas.validate(json, against: .inspect, source: "inspect")
  }

  @Test func `a cache of fewer classes is refused for the data set with all`() throws {
    // All samples have one of three labels, the fourth class is never a label.
    let workshop = try Workshop(samples: 200)
    var pictures = workshop.pictures
    for sample in pictures.labels.indices where pictures.labels[sample] == 3 {
      pictures.labels[sample] = 0
    }
    var job = workshop.job()
    job.data = try pictures.write(to: workshop.folder, name: "three")
    try precompute(job)
    _ = try deriveCache(
      from: job.making.cache, into: workshop.folder.file("three"),
      keeping: Derivation(classes: [2, 0, 1])
    )
    var plan = try workshop.plan("kd@4", epochs: 1, data: job.data)
    plan.cache = workshop.folder.file("three")
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("3 of the 4 classes") == true, "\(problem!)")
  }
}
