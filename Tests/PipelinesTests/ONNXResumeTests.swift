import Basics
import LogitCache
import Pipelines
import TestSupport
import Testing

@Suite(.enabled(if: InstalledRuntime.isThere, "\(InstalledRuntime.absence)"))
struct ONNXResumeTests {
  private func begun() throws -> ONNXBench {
    let bench = try ONNXBench(samples: 100, classes: 4)
    try bench.describe(.classifier(), "output: {kind: logits}", "batch: 8")
    try precompute(bench.job())
    return bench
  }

  private func expectRefusal(_ bench: ONNXBench, _ job: PrecomputeJob, _ texts: String...) throws {
    let before = try content(ofFolder: bench.folder.file("cache"))
    let problem = #expect(throws: Problem.self) { try precompute(job) }
    #expect(problem?.kind == .corrupt)
    for text in texts {
      #expect(problem?.message.contains(text) == true, "\(problem?.message ?? "")")
    }
    #expect(try content(ofFolder: bench.folder.file("cache")) == before)
  }

  @Test func `the same job goes on, whatever its threads`() throws {
    let bench = try begun()
    var job = bench.job()
    job.making.threads = 3
    #expect(try precompute(job).newRecords == 0)
    let digest = try CacheReader(path: job.making.cache).cacheDigest
    job.making.cache = bench.folder.file("other")
    #expect(try precompute(job).cacheDigest == digest)
  }

  @Test(.enabled(if: InstalledRuntime.hasOlder, "\(InstalledRuntime.absence)"))
  func `another version of the runtime is refused by both`() throws {
    let bench = try begun()
    try expectRefusal(
      bench, bench.job(library: InstalledRuntime.olderFolder),
      "teacher.runtime: the cache has ONNX Runtime 1.31.1, this run has ONNX Runtime 1.20.1")
  }

  @Test func `another batch shape is refused by both`() throws {
    let bench = try begun()
    try bench.describe(.classifier(), "output: {kind: logits}", "batch: 16")
    try expectRefusal(
      bench, bench.job(),
      "teacher.batchShape: the cache has 8 x 1 x 8 x 8, this run has 16 x 1 x 8 x 8")
  }

  @Test func `another model file is refused by both digests`() throws {
    let bench = try begun()
    let digest = Digest(of: ONNXModel.classifier().bytes)
    let other = ONNXModel.classifier(seed: 2)
    try bench.describe(other, "output: {kind: logits}", "batch: 8")
    try expectRefusal(
      bench, bench.job(),
      "teacher.model: the cache has \(digest), this run has \(Digest(of: other.bytes))")
  }

  @Test(arguments: [
    ("input: {mean: 0.5}", "teacher.input.mean: the cache has 0.0, this run has 0.5"),
    ("threads: 2", "teacher.threads: the cache has 1, this run has 2"),
    ("keep-classes: {indices: order.txt}", "teacher.classes.indices"),
  ])
  func `other preprocessing, threads or classes are refused by name`(
    setting: String, named: String
  ) throws {
    let bench = try begun()
    try bench.folder.write("1\n0\n2\n3", to: "order.txt")
    try bench.describe(.classifier(), "output: {kind: logits}", "batch: 8", setting)
    try expectRefusal(bench, bench.job(), named)
  }
}
