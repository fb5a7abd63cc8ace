import Basics
import Foundation
import LogitCache
import Losses
import Pipelines
import Reports
import Schemas
import TestSupport
import Testing

/// A record as all its probabilities at a temperature: what the comparison should see.
private func dense(_ batch: TeacherBatch, _ row: Int, _ temperature: Double) -> [Double] {
  let k = batch.k
  let weights = (0..<k).map { exp(-Double(batch.gaps[row * k + $0]) / temperature) }
  let sum = weights.reduce(0, +)
  var tail = 0.0
  if k < batch.classes {
    tail = 1 / (1 + exp(-batch.logTailRatio(row: row, temperature: Float(temperature))))
  }
  var p = [Double](repeating: tail / Double(max(batch.classes - k, 1)), count: batch.classes)
  for rank in 0..<k {
    p[Int(batch.classIDs[row * k + rank])] = weights[rank] / sum * (1 - tail)
  }
  return p
}

/// Kendall's tau by looking at all pairs.
private func plainTau(_ a: [Int32], _ b: [Int32]) -> Double? {
  let shared = a.filter { b.contains($0) }
  if shared.count < 2 { return nil }
  var sum = 0
  for i in shared.indices {
    for j in 0..<i {
      sum += b.firstIndex(of: shared[j])! < b.firstIndex(of: shared[i])! ? 1 : -1
    }
  }
  return Double(sum) / Double(shared.count * (shared.count - 1) / 2)
}

@Suite struct DiffTests {
  private let workshop: Workshop

  init() throws { workshop = try Workshop(samples: 150, classes: 9) }

  private func cache(_ name: String, k: Int? = nil, teacher: UInt64? = nil) throws -> CacheReader {
    var job = workshop.job(name)
    job.kept.k = k
    if let teacher {
      job.teacher = try workshop.writeTeacher("teacher-\(teacher)", classes: 9, seed: teacher)
    }
    try precompute(job)
    return try CacheReader(path: job.making.cache)
  }

  private func json(_ diff: CacheDiff) throws -> JSONValue {
    let json = try parseJSON(readableJSON(diff).utf8, source: "diff")
    try Schemas.validate(json, against: .diff, source: "diff")
    return json
  }

  @Test(arguments: [9, 3])
  func `a cache does not differ from itself`(k: Int) throws {
    let a = try cache("a", k: k)
    let diff = try json(CacheDiff(a, CacheReader(path: a.path)))
    #expect(diff["records"]?.integer == 300)
    #expect(diff["topOneAgreement"]?.double == 1)
    #expect(diff["rankCorrelation"]?["mean"]?.double == 1)
    #expect(diff["differences"]?.array?.isEmpty == true)
    #expect(diff["differingRecords"]?.integer == 0)
    #expect(diff["worstClasses"] == .array([]) && diff["worstSamples"] == .array([]))
    let text = try CacheDiff(a, CacheReader(path: a.path)).text
    #expect(text.contains("no record differs in its probabilities") && !text.contains("worst"))
    for distances in diff["atTemperature"]!.array! {
      for name in ["divergence", "totalVariation"] {
        #expect(distances[name]?["max"]?.double == 0, "\(name)")
      }
    }
  }

  @Test(arguments: [(9, 9), (9, 3), (3, 9), (3, 4), (1, 2), (1, 1)])
  func `distances are those of plain dense rows`(kA: Int, kB: Int) throws {
    let a = try cache("a", k: kA)
    let b = try cache("b", k: kB, teacher: 21)
    let diff = try CacheDiff(a, b, worst: 5)
    let report = try json(diff)
    var (batchA, batchB) = (a.makeBatch(), b.makeBatch())
    var divergences: [[Double]] = [[], [], []]
    var variations = divergences
    var taus: [Double] = []
    var agreements = 0
    for view in 0..<2 {
      try a.decode(view: view, block: 0, into: &batchA)
      try b.decode(view: view, block: 0, into: &batchB)
      for row in 0..<150 {
        for (t, temperature) in [1.0, 2, 4].enumerated() {
          let (p, q) = (dense(batchA, row, temperature), dense(batchB, row, temperature))
          divergences[t].append(zip(p, q).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) })
          variations[t].append(zip(p, q).reduce(0) { $0 + abs($1.0 - $1.1) } / 2)
        }
        let ids = (
          Array(batchA.classIDs[row * kA..<(row + 1) * kA]),
          Array(batchB.classIDs[row * kB..<(row + 1) * kB])
        )
        agreements += ids.0[0] == ids.1[0] ? 1 : 0
        if let tau = plainTau(ids.0, ids.1) { taus.append(tau) }
      }
    }
    for (t, distances) in report["atTemperature"]!.array!.enumerated() {
      for (name, plain) in [("divergence", divergences[t]), ("totalVariation", variations[t])] {
        let mean = plain.reduce(0, +) / 300
        #expect(abs(distances[name]!["mean"]!.double! - mean) <= 1e-6 * (1 + mean), "\(name)")
        #expect(abs(distances[name]!["max"]!.double! - plain.max()!) <= 1e-6 * (1 + plain.max()!))
      }
    }
    #expect(report["topOneAgreement"]?.double == Double(agreements) / 300)
    #expect(report["rankCorrelation"]?["records"]?.integer ?? 0 == taus.count)
    if !taus.isEmpty {
      let mean = taus.reduce(0, +) / Double(taus.count)
      #expect(abs(report["rankCorrelation"]!["mean"]!.double! - mean) <= 1e-12)
    }
    let worst = report["worstSamples"]!.array!.map { $0["divergence"]!.double! }
    let plain = divergences[0].sorted(by: >).prefix(5)
    #expect(zip(worst, plain).allSatisfy { abs($0 - $1) <= 1e-6 * (1 + $1) } && worst.count == 5)
    let first = report["worstSamples"]![0]!
    let place = first["view"]!.integer! * 150 + first["sample"]!.integer!
    #expect(abs(divergences[0][place] - worst[0]) <= 1e-6 * (1 + worst[0]))
    let means = report["worstClasses"]!.array!.map { $0["meanDivergence"]!.double! }
    #expect(means == means.sorted(by: >) && means.count == 5)
    #expect(diff.text.contains("300 records compared"))
    #expect(diff.text.contains("teacher.weights: A has"))
  }

  @Test func `caches of other block sizes and view counts, and unfinished ones, are compared`()
    throws
  {
    let a = try cache("a", k: 4)
    _ = try deriveCache(
      from: a.path, into: workshop.folder.file("one"), keeping: Derivation(views: 1))
    let one = try CacheReader(path: workshop.folder.file("one"))
    #expect(try CacheDiff(one, a).records == 150)
    // The same records in blocks of 40, and only two of them.
    var manifest = a.manifest
    manifest.encoding.blockRows = 40
    let writer = try CacheWriter(
      path: workshop.folder.file("small"), manifest: manifest, labels: workshop.pictures.labels,
      calibration: a.calibration)
    for block in [1, 3] {
      let key = BlockKey(view: 1, block: block)
      try writer.append([
        workshop.makeBlock(key, of: manifest, calibration: a.calibration)
      ])
    }
    _ = consume writer
    let small = try CacheReader(path: workshop.folder.file("small"))
    for diff in [try CacheDiff(a, small), try CacheDiff(small, a)] {
      #expect(diff.records == 70)
      #expect(diff.topOneAgreement == 1)
    }
  }

  @Test func `caches of other pictures are refused with the reasons`() throws {
    let a = try cache("a")
    var job = workshop.job("b")
    (job.seed, job.recipe) = (9, nil)
    try precompute(job)
    let problem = #expect(throws: Problem.self) {
      try CacheDiff(a, CacheReader(path: job.making.cache))
    }
    #expect(problem?.kind == .corrupt)
    for text in ["seed: 1 and 9", "recipe: ", "cannot be compared"] {
      #expect(problem?.message.contains(text) == true, "\(problem!)")
    }
    #expect(problem?.message.contains("data set:") == false)
  }
}
