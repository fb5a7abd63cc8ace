import Basics
import Foundation
import LMDB
import LogitCache
import Losses
import TestSupport
import Testing

/// The class means of a finished cache, computed plainly in double precision.
private func plainMeans(_ job: Job) -> [Double] {
  let width = job.manifest.encoding.featureWidth!
  var sums = [Double](repeating: 0, count: job.classes * width)
  var counts = [Double](repeating: 0, count: job.classes)
  for view in 0..<job.manifest.views {
    for sample in 0..<job.manifest.dataSet.samples {
      let label = Int(job.label(sample: sample))
      counts[label] += 1
      for (d, value) in job.feature(view: view, sample: sample).enumerated() {
        sums[label * width + d] += Double(value)
      }
    }
  }
  return sums.indices.map { counts[$0 / width] > 0 ? sums[$0] / counts[$0 / width] : 0 }
}

/// Features are rounded to steps of 2^-16: means are half a step off, and rounded to Float.
private func isClose(_ stored: Float, _ exact: Double) -> Bool {
  abs(Double(stored) - exact) <= 0x1p-17 + abs(exact) * 0x1p-24
}

private func job(_ seed: UInt64) -> Job {
  var generator = SeededGenerator(seed: seed)
  let classes = [2, 3, 12, 100].randomElement(using: &generator)!
  return Job(
    classes: classes, k: Int.random(in: 1...classes, using: &generator),
    samples: Int.random(in: 1...50, using: &generator), views: 2,
    blockRows: Int.random(in: 1...16, using: &generator), seed: seed,
    featureWidth: [1, 2, 7, 8, 64, 1000].randomElement(using: &generator)!)
}

@Suite struct FeatureTests {
  @Test(arguments: UInt64(1)...20)
  func `norms come back within two thousandths, and zero as zero`(seed: UInt64) throws {
    let job = job(seed)
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let reader = try CacheReader(path: folder.path)
    var batch = reader.makeBatch()
    for key in job.manifest.blockKeys {
      try reader.decode(view: key.view, block: key.block, into: &batch)
      for (row, sample) in job.manifest.samples(of: key).enumerated() {
        let feature = job.feature(view: key.view, sample: sample)
        let norm = feature.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        let stored = Double(batch.featureNorms[row])
        #expect(abs(stored - norm) <= 0.002 * norm, "seed \(seed), \(key), row \(row)")
      }
    }
    _ = try verifyCache(path: folder.path)
  }

  @Test(arguments: UInt64(1)...20)
  func `class means are the plain means of all views`(seed: UInt64) throws {
    let job = job(seed)
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let means = try CacheReader(path: folder.path).classMeans()
    let exact = plainMeans(job)
    #expect(means.count == exact.count)
    for (index, (mean, exact)) in zip(means, exact).enumerated() {
      #expect(isClose(mean, exact), "seed \(seed), number \(index): \(mean), exactly \(exact)")
    }
  }

  @Test(arguments: UInt64(1)...6)
  func `sums depend neither on the order of commits nor on restarts`(seed: UInt64) throws {
    let job = job(seed)
    let straight = ScratchFolder()
    let wanted = try job.write(to: straight.path)
    let folder = ScratchFolder()
    var generator = SeededGenerator(seed: seed)
    var blocks = try job.encodeAll().shuffled(using: &generator)
    while !blocks.isEmpty {
      let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
      let count = Int.random(in: 1...blocks.count, using: &generator)
      try writer.append(Array(blocks[..<count]))
      try writer.append([blocks[0]])  // once more: it must not count twice
      blocks.removeFirst(count)
    }
    #expect(
      try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels).seal()
        == wanted, "seed \(seed)")
    #expect(
      try CacheReader(path: folder.path).classMeans()
        == CacheReader(path: straight.path).classMeans(), "seed \(seed)")
  }

  @Test func `an unfinished cache has the means of the blocks it holds`() throws {
    let job = Job(classes: 3, k: 3, samples: 20, blockRows: 10, featureWidth: 4)
    var first = job
    first.manifest.dataSet.samples = 10
    let folder = ScratchFolder()
    try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels).append([
      job.encodeAll()[0]
    ])
    let means = try CacheReader(path: folder.path).classMeans()
    #expect(zip(means, plainMeans(first)).allSatisfy { isClose($0, $1) })
    #expect(try verifyCache(path: folder.path).blocks == 1)
  }

  @Test func `the cache digest covers the sums`() throws {
    let job = Job(classes: 2, k: 2, samples: 1, featureWidth: 2)
    // The same norm in another direction: only the sums differ.
    let digests = try [[3, 4], [4, 3]].map { (feature: [Float]) in
      let block = try BlockEncoder(manifest: job.manifest).encode(
        logits: [1, 2].span, labels: [0], view: 0, block: 0, firstSample: 0,
        viewDigest: Digest(of: "view"), features: feature.span)
      let folder = ScratchFolder()
      let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
      try writer.append([block])
      return (block.digest, try writer.seal())
    }
    #expect(digests[0].0 == digests[1].0)
    #expect(digests[0].1 != digests[1].1)
  }

  @Test(arguments: [Float.nan, .infinity, -40_000])
  func `unusable features are refused with sample, view and place`(value: Float) throws {
    let job = Job(classes: 5, k: 2, samples: 20, views: 2, featureWidth: 3)
    let logits = (8..<16).flatMap { job.row(view: 1, sample: $0) }
    var features = (8..<16).flatMap { job.feature(view: 1, sample: $0) }
    features[2 * 3 + 1] = value
    let encoder = try BlockEncoder(manifest: job.manifest)
    let found = problem {
      _ = try encoder.encode(
        logits: logits.span, labels: (8..<16).map { job.label(sample: $0) }, view: 1, block: 1,
        firstSample: 8, viewDigest: Digest(of: ""), features: features.span)
    }
    #expect(found.kind == .corrupt)
    #expect(found.message.contains("for sample 10, view 1, feature 1"), "\(found)")
  }

  @Test func `a cache without features says how to get them`() throws {
    let folder = ScratchFolder()
    try Job(classes: 3, k: 2, samples: 5).write(to: folder.path)
    let reader = try CacheReader(path: folder.path)
    #expect(problem { _ = try reader.classMeans() }.message.contains("--features"))
    #expect(reader.makeBatch().featureNorms.isEmpty)
  }

  @Test func `a width of zero is refused, and no width leaves the manifest as it was`() throws {
    var job = Job(classes: 3, k: 2, samples: 5)
    #expect(try !canonicalJSON(job.manifest).contains("featureWidth"))
    job.manifest.encoding.featureWidth = 0
    #expect(problem { try job.manifest.validate() }.message.contains("featureWidth is 0"))
    job.manifest.encoding.featureWidth = 4
    for (views, samples) in [(1 << 11, (1 << 20) + 1), (1 << 24, 1 << 40)] {
      (job.manifest.views, job.manifest.dataSet.samples) = (views, samples)
      job.manifest.encoding.blockRows = 1 << 16
      #expect(problem { try job.manifest.validate() }.message.contains("too many for sums"))
    }
    let wide = Job(classes: 8192, k: 2, samples: 5, featureWidth: 32_769)
    #expect(problem { try wide.manifest.validate() }.message.contains("1...32768"))
  }

  @Test func `another feature width is another job`() throws {
    let folder = ScratchFolder()
    try Job(classes: 3, k: 2, samples: 5, featureWidth: 4).write(to: folder.path)
    let other = Job(classes: 3, k: 2, samples: 5)
    let found = problem {
      _ = try CacheWriter(path: folder.path, manifest: other.manifest, labels: other.labels)
    }
    #expect(
      found.message.contains("encoding.featureWidth: the cache has 4, this run has nothing"))
  }

  @Test func `sums of other records, of unknown classes or without features are refused`() throws {
    let job = Job(classes: 3, k: 2, samples: 30, featureWidth: 2)
    let donor = ScratchFolder()
    try Job(classes: 3, k: 2, samples: 8, featureWidth: 2).write(to: donor.path, seal: false)
    let value = try metaValue("classSums", 1, in: donor.path)
    func message(_ job: Job, _ label: UInt8) throws -> String {
      let folder = ScratchFolder()
      try job.write(to: folder.path, seal: false)
      try putMeta(value, "classSums", label, in: folder.path)
      return problem { _ = try verifyCache(path: folder.path) }.message
    }
    #expect(try message(job, 1).contains("feature sums of class 1 hold"))
    #expect(try message(job, 7).contains("feature sums of class 7 are damaged"))
    let without = Job(classes: 3, k: 2, samples: 30)
    #expect(try message(without, 1).contains("the manifest knows no such sums"))
  }

  private func key(_ name: String, _ label: UInt8) -> [UInt8] {
    Array(name.utf8) + [0, 0, 0, label]
  }

  private func metaValue(_ name: String, _ label: UInt8, in path: String) throws -> [UInt8] {
    let environment = try open(path)
    return try environment.write { transaction in
      try #require(
        try transaction.value(forKey: key(name, label), in: environment.table("meta")))
    }
  }

  private func putMeta(
    _ value: [UInt8], _ name: String, _ label: UInt8, in path: String
  ) throws {
    let environment = try open(path)
    try environment.write {
      try $0.put(value, forKey: key(name, label), in: environment.table("meta"))
    }
  }

  private func open(_ path: String) throws -> Environment {
    try Environment(
      path: path, tables: ["blocks", "index", "meta"], access: .write(mapBytes: 1 << 24))
  }
}
