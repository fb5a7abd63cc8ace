import Basics
import LogitCache
import Losses
import Pipelines
import Reports
import Schemas
import TestSupport
import Testing

@Suite struct RankingTests {
  /// Three of twelve classes with their logits, the others with their order.
  private func job(
    _ workshop: Workshop, _ cache: String = "cache", views: Int = 2, k: Int? = 3
  ) -> PrecomputeJob {
    workshop.job(cache, views: views, kept: KeptRecord(k: k, ranking: .full))
  }

  @Test func `merged parts are the rankings of one run`() throws {
    let workshop = try Workshop(samples: 2100, classes: 12)
    let reference = try precompute(job(workshop, "reference"))
    let parts = try (1...3).map { index in
      var part = job(workshop, "part-\(index)")
      part.making.shard = Shard(index, of: 3)
      try precompute(part)
      return part.making.cache
    }
    let whole = workshop.folder.file("whole")
    _ = try mergeCaches(parts, into: whole)
    #expect(try verifyCache(path: whole).cacheDigest == reference.cacheDigest)
  }

  /// The order is the teacher's: what a cache of all classes says.
  @Test func `the order is that of a cache with all classes`() throws {
    let workshop = try Workshop(classes: 12)
    try precompute(job(workshop))
    try precompute(workshop.job("whole"))
    let ranked = try CacheReader(path: workshop.folder.file("cache"))
    let whole = try CacheReader(path: workshop.folder.file("whole"))
    var (a, b) = (ranked.makeBatch(ranking: true), whole.makeBatch())
    for view in 0..<2 {
      try ranked.decode(view: view, block: 0, into: &a)
      try whole.decode(view: view, block: 0, into: &b)
      #expect(a.ranking == b.classIDs)
    }
  }

  /// Of 32 classes 3 are the head's and 20 of the others are shown; of 12, all 9.
  @Test(arguments: [12, 32])
  func `a record is shown with the first classes behind its head`(classes: Int) throws {
    let workshop = try Workshop(classes: classes)
    try precompute(job(workshop))
    let reader = try CacheReader(path: workshop.folder.file("cache"))
    var batch = reader.makeBatch(ranking: true)
    try reader.decode(view: 1, block: 0, into: &batch)
    let order = batch.ranking[5 * classes..<6 * classes].dropFirst(3).prefix(20)
    let names = order.map { reader.manifest.dataSet.classNames[Int($0)] }.joined(separator: ", ")
    let text = try describeRecord(of: reader, sample: 5, view: 1, augmenter: nil)
    #expect(text.hasSuffix("in order: \(names)\(classes > 23 ? ", ..." : "")\n"), "\(text)")
  }

  @Test(arguments: ["pld", "pld@4", "0.5*ce+pld", "pld+kd"])
  func `a student learns from rankings`(loss: String) throws {
    let workshop = try Workshop(classes: 12)
    try precompute(job(workshop))
    let metrics = try train(
      workshop.plan(loss, epochs: 6, "cache: cache"), workshop.options(acceptsError: true))
    #expect(metrics[5].loss < 0.95 * metrics[0].loss, "\(metrics.map(\.loss))")
  }

  /// With one class behind the head its weight is known, so PLD learns what full rows teach.
  @Test func `a ranking behind all classes but one teaches what all logits teach`() throws {
    let workshop = try Workshop(classes: 12)
    try precompute(job(workshop, "ranked", k: 11))
    try precompute(workshop.job("whole"))
    let metrics = try ["ranked", "whole"].map { cache in
      try train(
        workshop.plan("pld", epochs: 3, "cache: \(cache)"), workshop.options("of \(cache)"))
    }
    for (ranked, whole) in zip(metrics[0], metrics[1]) {
      #expect(abs(ranked.loss - whole.loss) < 0.01 * abs(whole.loss))
    }
  }

  @Test func `PLD asks the certificate what its weights are off by, and says what would help`()
    throws
  {
    let workshop = try Workshop(classes: 12)
    try precompute(job(workshop))
    var head = job(workshop, "head")
    head.kept.ranking = nil
    try precompute(head)
    let (ranked, plain) = try (
      CacheReader(path: workshop.folder.file("cache")).certificate(),
      CacheReader(path: workshop.folder.file("head")).certificate()
    )
    for (a, b) in zip(ranked.atTemperature, plain.atTemperature) {
      #expect(a.pldDroppedWeight.max <= b.pldDroppedWeight.max)
      #expect(a.pldDroppedWeight.mean < 0.5 * b.pldDroppedWeight.mean)
      #expect(a.kdGradientError == b.kdGradientError && a.distAngle == b.distAngle)
    }
    // A random teacher is flat: most of the weight is behind three of twelve classes.
    let problem = #expect(throws: Problem.self) {
      try train(workshop.plan("pld@4", "cache: head"), workshop.options())
    }
    #expect(problem?.message.contains("or --ranking full") == true, "\(problem?.message ?? "")")
    try train(workshop.plan("pld@4", "cache: cache"), workshop.options())
  }

  @Test func `with a ranking it is another job`() throws {
    let workshop = try Workshop(classes: 12)
    try precompute(job(workshop))
    var plain = job(workshop)
    plain.kept.ranking = nil
    let problem = #expect(throws: Problem.self) { try precompute(plain) }
    #expect(
      problem?.message.contains("encoding.ranking: the cache has full, this run has nothing")
        == true)
  }

  @Test func `the report shows the ranking and its bytes`() throws {
    let workshop = try Workshop(classes: 12)
    try precompute(job(workshop))
    let reader = try CacheReader(path: workshop.folder.file("cache"))
    let report = try Inspection(of: reader)
    let value = try parseJSON(readableJSON(report).utf8, source: "the report")
    try Schemas.validate(value, against: .inspect, source: "the report")
    let ranking = try #require(value["ranking"])
    #expect(ranking["kept"]?.string == "full")
    let bytes = try reader.sizeByPlane().first { $0.name == "ranking" }?.storedBytes
    #expect(ranking["bytesPerRecord"]?.double == Double(try #require(bytes)) / 600)
    #expect(report.text.contains("full, the exact order of all 12 classes"))
  }
}
