import Basics
import Foundation
import LogitCache
import Pipelines
import Teachers
import TestSupport
import Testing
import Views

@Suite struct WorkerRestartTests {
  private func begun() throws -> WorkerBench { try WorkerBench(samples: 60) }

  /// How many workers wrote to the file `state`.
  private func starts(_ bench: WorkerBench, _ state: String = "state") throws -> Int {
    try Files.read(bench.folder.file(state)).count
  }

  @Test func `threads, processes and the order of answers change no digest`() throws {
    let bench = try begun()
    let digest = try bench.digest("plain")
    #expect(try bench.digest("threads", threads: 2) == digest)
    try bench.describe(["hold=0.005"], "in-flight: 4")
    #expect(try bench.digest("reversed", threads: 4) == digest)
    try bench.describe(
      ["state=\(bench.folder.file("state"))", "hold=0.005"], "processes: 3", "in-flight: 1")
    #expect(try bench.digest("side by side", threads: 5) == digest)
    #expect((2...3).contains(try starts(bench)))
  }

  @Test(arguments: [1, 2, 3])
  func `workers killed at random batches lose nothing`(seed: Int) throws {
    let bench = try begun()
    let digest = try bench.digest("whole")
    let state = "state=\(bench.folder.file("state"))"
    try bench.describe(
      ["one-in=20", "seed=\(seed)", state], "restarts: 1000", "processes: \(1 + seed % 2)")
    #expect(try bench.digest("killed", threads: 2) == digest)
    #expect(try starts(bench) >= 3)
  }

  @Test(arguments: ["die", "exit", "close", "hang", "cut"])
  func `a worker that dies in some way is started again`(fault: String) throws {
    let bench = try WorkerBench()
    try bench.describe(
      ["fault=\(fault)", "at=2", "lives=1", "state=\(bench.folder.file("state"))"],
      "timeout-seconds: 5")
    #expect(try bench.bench.logits(0..<20) == bench.expected(0..<20))
    #expect(try starts(bench) == 2)
  }

  @Test(arguments: [
    ("die", 600, "was ended by signal 9 (Killed)"), ("exit", 600, "ended with exit code 3"),
    ("close", 600, "closed its standard output"), ("hang", 3, "gave no answer within 3 s"),
  ])
  func `after all restarts the run ends with how the last worker did`(
    fault: String, seconds: Int, how: String
  ) throws {
    let bench = try WorkerBench()
    try bench.describe(
      ["fault=\(fault)", "state=\(bench.folder.file("state"))"], "restarts: 2",
      "timeout-seconds: \(seconds)")
    bench.expectRefusal(.unavailable, "worker sums \(how), after 2 restarts")
    #expect(try starts(bench) == 3)
  }

  @Test func `a worker that does not read is found out by the time limit`() throws {
    let bench = try WorkerBench(samples: 20)
    // More than a pipe holds, so that writing to it has to wait.
    let large = try ONNXBench(samples: 20, side: 128, classes: 4)
    try bench.describe(["fault=hang"], "restarts: 0", "timeout-seconds: 3")
    try Files.writeAtomically(
      Files.read(bench.bench.teacher), to: large.folder.file("teacher.yaml"))
    let teacher = try large.open()
    let views = try large.views(0..<8)
    let problems = OrderedResults<String>(count: 2, ahead: 2)
    problems.start(threads: 2) {
      let session = try teacher.makeSession()
      return { _ in
        var rows = [Float](repeating: 0, count: 32)
        var span = rows.mutableSpan
        do {
          try session.logits(of: views, into: &span)
          return "an answer"
        } catch {
          return "\(error)"
        }
      }
    }
    for _ in 0..<2 { #expect(try problems.next().contains("gave no answer within 3 s")) }
  }

  @Test func `a worker that is another after a restart is refused by what differs`() throws {
    let bench = try WorkerBench()
    try bench.describe(
      ["fault=die", "at=2", "lives=1", "reborn=2", "state=\(bench.folder.file("state"))"])
    bench.expectRefusal(
      .corrupt, "was started again and is another teacher: identity.weights was 1, it is 2")
  }

  @Test func `a second worker that is another from the start is refused by what differs`() throws {
    let bench = try WorkerBench(samples: 60)
    try bench.describe(
      ["reborn=2", "hold=0.05", "state=\(bench.folder.file("state"))"], "processes: 2",
      "in-flight: 1")
    let problem = #expect(throws: Problem.self) { try bench.digest("cache", threads: 2) }
    #expect(problem?.kind == .corrupt)
    #expect(
      problem?.message.contains(
        "worker sums, process 2 of 2, is another teacher than the first: identity.weights was 1, it is 2"
      )
        == true, "\(problem?.message ?? "")")
  }

  @Test func `a slow start is waited for, a slower one is not`() throws {
    let bench = try WorkerBench()
    try bench.describe(["slow=1.2"])
    #expect(try bench.bench.open().classes == 4)
    try bench.describe(["slow=1000"], "timeout-seconds: 1")
    bench.expectRefusal(.unavailable, "gave no answer within 1 s before it was ready")
  }

  @Test func `a run that fails goes on where it stopped, with the same digest`() throws {
    let bench = try begun()
    let digest = try bench.digest("whole")
    try bench.describe(["fault=die", "at=100"], "restarts: 0")
    let problem = #expect(throws: Problem.self) { try bench.digest("broken") }
    #expect(problem?.kind == .unavailable)
    try bench.describe()
    let result = try precompute(bench.job("broken"))
    #expect(result.cacheDigest == digest)
    #expect((1..<result.records).contains(result.newRecords))
  }

  @Test func `another worker, protocol or batch is refused on resume by name`() throws {
    let bench = try begun()
    _ = try bench.digest("cache")
    func expectRefusal(_ text: String) {
      let problem = #expect(throws: Problem.self) { try bench.digest("cache") }
      #expect(problem?.message.contains(text) == true, "\(problem?.message ?? "")")
    }
    try bench.describe(["weights=2"])
    expectRefusal("teacher.worker.weights: the cache has 1, this run has 2")
    try bench.describe([], "parameters: {depth: 3}")
    expectRefusal("teacher.worker.parameters.depth: the cache has nothing, this run has 3")
    try bench.describe([], "batch: 16")
    expectRefusal("teacher.batch: the cache has 8, this run has 16")
  }

  @Test func `workers hear the goodbye`() throws {
    let bench = try WorkerBench()
    let farewell = bench.folder.file("farewell")
    try bench.describe(["farewell=\(farewell)"])
    #expect(try bench.bench.logits(0..<20).count == 80)
    #expect(Files.exists(farewell))
  }
}
