import Basics
import Foundation
import TestSupport
import Testing

/// The length of a cache's data file; 0 when there is none.
private func dataBytes(_ cache: String) -> Int {
  var status = stat()
  return stat(cache + "/data.mdb", &status) == 0 ? Int(status.st_size) : 0
}

@Suite struct KillTests {
  /// Sixty commits: every block of 300 records is one.
  private static let views = 60

  @Test func `precompute killed at twenty random moments ends with the same digest`() throws {
    let desk = try Desk()
    // Two jobs in turn: one with features and the order of all classes, one with full rows beside a head,
    // which learns axes first.
    let jobs = [
      ["--features", "--k", "2", "--ranking", "full"],
      ["--k", "2", "--tail", "subspace", "--tail-step", "1/2"],
    ].map {
      $0 + ["--commit-seconds", "0", "--threads", "2", "--json"]
    }
    let wholes = try (0..<4).map {
      try desk.succeed(desk.precompute("whole-\($0)", views: Self.views) + jobs[$0 % 2])
    }
    let duration = wholes.map(\.seconds).min()!
    let references = try wholes.map { try parseJSON($0.output.utf8, source: "precompute") }
    var generator = SeededGenerator(seed: 20)
    var (killed, resumed) = (0, 0)
    for attempt in 0..<20 {
      let (more, reference) = (jobs[attempt % 2], references[attempt % 2])
      let command = desk.precompute("killed-\(attempt)", views: Self.views) + more
      // Every third job is killed twice before it may end.
      for _ in 0..<(attempt % 3 == 2 ? 2 : 1) {
        let moment = Double.random(in: 0..<duration, using: &generator)
        let result = try Program.run(command) { if $0.seconds >= moment { $0.send(SIGKILL) } }
        killed += result.signal == SIGKILL ? 1 : 0
        #expect(result.signal == SIGKILL || result.exitCode == 0, "attempt \(attempt)")
      }
      let result = try desk.succeed(command)
      let finished = try parseJSON(result.output.utf8, source: "precompute")
      #expect(finished["cacheDigest"] == reference["cacheDigest"], "attempt \(attempt)")
      #expect(finished["records"] == reference["records"], "attempt \(attempt)")
      let made = finished["newRecords"]?.integer ?? 0
      resumed += made > 0 && made < 300 * Self.views ? 1 : 0
      let verified = try desk.succeed(["verify", command[1]])
      #expect(digest(in: verified) == reference["cacheDigest"]?.string, "attempt \(attempt)")
      try remove(command[1])
    }
    // Otherwise the moments were badly chosen, and nothing has been tested.
    #expect(killed >= 5)
    #expect(resumed >= 1)
  }

  @Test(arguments: [SIGINT, SIGTERM])
  func `precompute asked to stop keeps its work, ends with 75 and goes on`(signal: Int32) throws {
    let desk = try Desk()
    let more = ["--commit-seconds", "1000", "--threads", "1"]
    let whole = try desk.succeed(desk.precompute("whole", views: 400) + more)
    let command = desk.precompute("stopped", views: 400) + more
    var isAsked = false
    let stopped = try Program.run(command) { program in
      if !isAsked && dataBytes(command[1]) > 0 {
        program.send(signal)
        isAsked = true
      }
    }
    #expect(stopped.exitCode == 75, "\(stopped.errors)")
    #expect(stopped.errors.contains("of 120000 records; run the same command again to go on"))
    let report = try desk.succeed(["verify", command[1], "--json"])
    let missing = try parseJSON(report.output.utf8, source: "verify")["missingBlocks"]?.integer
    #expect((1...400).contains(missing ?? 0))
    let finished = try desk.succeed(command)
    #expect(digest(in: finished) == digest(in: whole))
  }

  @Test func `training killed or stopped at random moments ends with the same weights`() throws {
    let desk = try Desk()
    try desk.succeed(desk.precompute() + ["--features"])
    // The teacher's features are 16 wide: a projector learns too.
    let more = ["--epochs", "40", "--loss", "0.5*ce+0.5*kd@4+nd", "--model", "mlp-32"]
    let whole = try desk.succeed(desk.train(out: "whole") + more)
    let weights = try Files.read(desk.folder.file("whole/model.safetensors"))
    var generator = SeededGenerator(seed: 5)
    for attempt in 0..<6 {
      let command = desk.train(out: "killed-\(attempt)") + more
      let signal = [SIGKILL, SIGINT][attempt % 2]
      let moment = Double.random(in: 0..<whole.seconds, using: &generator)
      var isAsked = false
      let result = try Program.run(command) { program in
        if !isAsked && program.seconds >= moment {
          program.send(signal)
          isAsked = true
        }
      }
      // Asked before the program listens, it ends by the signal itself.
      #expect(result.signal == signal || [0, 75].contains(result.exitCode), "attempt \(attempt)")
      try desk.succeed(command)
      let path = desk.folder.file("killed-\(attempt)/model.safetensors")
      #expect(try Files.read(path) == weights, "attempt \(attempt)")
    }
  }
}
