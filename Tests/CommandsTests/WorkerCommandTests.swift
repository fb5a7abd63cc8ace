import Basics
import Foundation
import TestSupport
import Testing

@Suite struct WorkerCommandTests {
  private let folder = ScratchFolder()
  private let data: String

  init() throws {
    data = try SmallPictures(count: 60).write(to: folder)
    try describe()
  }

  private func describe(_ options: [String] = [], _ settings: String...) throws {
    let lines = [
      "version: 1", "kind: worker", "batch: 8", "command: \(FakeWorker.command(options))",
    ]
    try folder.write((lines + settings).joined(separator: "\n"), to: "teacher.yaml")
  }

  private func precompute(_ cache: String, views: Int = 40) -> [String] {
    [
      "precompute", folder.file(cache), "--data", data, "--teacher", folder.file("teacher.yaml"),
      "--views", "\(views)", "--threads", "2",
    ]
  }

  private func run(_ cache: String) throws -> ProgramResult {
    let result = try Program.run(precompute(cache))
    try #require(result.exitCode == 0, "\(ending(of: result)): \(result.errors)")
    return result
  }

  /// Whether a process ends soon, by itself.
  private func goes(_ process: pid_t) -> Bool {
    for _ in 0..<30000 {
      if kill(process, 0) != 0 { return true }
      usleep(1000)
    }
    return false
  }

  @Test(arguments: [1, 2])
  func `killing the worker at random moments loses nothing`(seed: UInt64) throws {
    let whole = try run("whole")
    // 320 batches of five milliseconds or more.
    try describe(["pace=0.005"], "restarts: 1000")
    var generator = SeededGenerator(seed: seed)
    var (next, killed) = (0.0, 0)
    let result = try Program.run(precompute("killed")) { program in
      guard program.seconds >= next, Files.exists(folder.file("killed/data.mdb")) else { return }
      next = program.seconds + Double.random(in: 0.02..<0.2, using: &generator)
      for child in program.children where killed < 10 {
        kill(child, SIGKILL)
        killed += 1
      }
    }
    #expect(result.exitCode == 0, "\(result.errors)")
    #expect(digest(in: result) == digest(in: whole))
    #expect(killed >= 3)
    #expect(result.errors.contains("was ended by signal 9 (Killed)"), "\(result.errors)")
  }

  @Test func `a run that is killed takes its worker with it, and goes on with the same digest`()
    throws
  {
    let whole = try run("whole")
    try describe(["pace=0.005"])
    var worker: pid_t?
    let killed = try Program.run(precompute("killed") + ["--commit-seconds", "0"]) { program in
      if Files.exists(folder.file("killed/data.mdb")), worker == nil {
        worker = program.children.first
        program.send(SIGKILL)
      }
    }
    #expect(killed.signal == SIGKILL)
    #expect(try goes(#require(worker)))
    #expect(digest(in: try run("killed")) == digest(in: whole))
  }

  @Test(arguments: [[], ["fault=hang", "at=5"], ["fault=nan", "place=0", "at=5"]])
  func `no worker outlives the program, whatever its end`(fault: [String]) throws {
    try describe(fault, "timeout-seconds: 5", "restarts: 0", "processes: 2", "in-flight: 1")
    var workers: Set<pid_t> = []
    let result = try Program.run(precompute("cache")) { workers.formUnion($0.children) }
    #expect(result.exitCode == (fault.isEmpty ? 0 : fault[0] == "fault=nan" ? 65 : 69))
    #expect(!workers.isEmpty)
    for worker in workers { #expect(kill(worker, 0) != 0) }
  }

  @Test func `an interrupted run ends its workers and keeps its work`() throws {
    let whole = try run("whole")
    try describe(["pace=0.005"])
    var isAsked = false
    let stopped = try Program.run(precompute("stopped") + ["--commit-seconds", "0"]) { program in
      if !isAsked, Files.exists(folder.file("stopped/data.mdb")) {
        program.send(SIGINT)
        isAsked = true
      }
    }
    #expect(stopped.exitCode == 75, "\(stopped.errors)")
    #expect(digest(in: try run("stopped")) == digest(in: whole))
  }

  @Test(arguments: ["processes: 1", "processes: 2"])
  func `an interruption does not wait for a worker that hangs`(setting: String) throws {
    let state = folder.file("state")
    // At the first batch, for the time limit of 600 s: twice as long as a test's program may run.
    try describe(["fault=hang", "state=\(state)"], setting)
    var asked: Double?
    let stopped = try Program.run(precompute("stopped")) { program in
      if Files.exists(state), asked == nil { asked = program.seconds }
      if let moment = asked, program.seconds > moment + 1 {
        program.send(SIGINT)
        asked = .infinity
      }
    }
    #expect(stopped.exitCode == 75, "\(ending(of: stopped)): \(stopped.errors)")
    #expect(stopped.errors.contains("interrupted after 0 of "), "\(stopped.errors)")
  }

  @Test func `what the worker writes to standard error is passed on with its name`() throws {
    let result = try run("cache")
    // Its command's name until its welcome is read, which may be before this line is.
    let names = ["python3", "sums"]
    #expect(
      names.contains { result.errors.contains("worker \($0): life 1\n") }, "\(result.errors)")
    let text = try Program.run(["inspect", folder.file("cache")]).output
    #expect(text.contains("worker sums, weights 1"), "\(text)")
  }

  @Test func `refusals have the exit code of their kind and touch nothing`() throws {
    try describe(["fault=early"])
    try expectRefusal(
      precompute("cache"), .unavailable, "worker python3: no weights",
      "worker python3 ended with exit code 1 before it was ready")
    try describe(["fault=greeting"])
    try expectRefusal(precompute("cache"), .corrupt, "'hello, this is a teacher'")
    try folder.write("{version: 1, kind: worker, command: [nowhere]}", to: "teacher.yaml")
    try expectRefusal(precompute("cache"), .noInput, "cannot run nowhere in \(folder.path)")
    #expect(!Files.exists(folder.file("cache")))
  }
}
