import Basics
import Foundation
import Schemas
import TestSupport
import Testing

/// Shards, merge, status, derive, diff and compact as people use them.
@Suite struct AlgebraTests {
  private let desk: Desk
  private var folder: ScratchFolder { desk.folder }

  init() throws { desk = try Desk() }

  private func json(_ arguments: [String], _ name: Schemas.Name) throws -> JSONValue {
    let result = try desk.succeed(arguments + ["--json"])
    let value = try parseJSON(result.output.utf8, source: name.rawValue)
    try Schemas.validate(value, against: name, source: name.rawValue)
    return value
  }

  @Test func `what precompute, verify and evaluate print as JSON fits their schemas`() throws {
    let whole = try json(desk.precompute("whole"), .precompute)
    #expect(whole["records"]?.integer == 600 && whole["newRecords"]?.integer == 600)
    let part = try json(desk.precompute("part", views: 2, "--shard", "2/2"), .precompute)
    #expect(part["shard"]?.string == "2/2" && part["cacheDigest"] == nil)
    let checked = try json(["verify", folder.file("whole")], .verify)
    #expect(checked["cacheDigest"] == whole["cacheDigest"] && checked["records"]?.integer == 600)
    let unfinished = try json(["verify", folder.file("part")], .verify)
    #expect(unfinished["cacheDigest"] == nil && (unfinished["missingBlocks"]?.integer ?? 0) > 0)
    let model = folder.file("taught/model.safetensors")
    let result = try json(["evaluate", model, "--data", desk.data], .evaluate)
    #expect(result["samples"]?.integer == 300 && result["agreement"] == nil)
  }

  @Test func `one record, one block and one view are singular`() throws {
    let data = desk.data + "[0:1]"
    let command = ["precompute", folder.file("one"), "--data", data, "--teacher", desk.teacher]
    #expect(try desk.succeed(command).output.contains("sealed, 1 record, digest"))
    let text = try desk.succeed(["inspect", folder.file("one")]).output
    #expect(text.contains("1 = 1 sample x 1 view, k = 4 of 4 classes"), "\(text)")
    let checked = try desk.succeed(["verify", folder.file("one")]).output
    #expect(checked.contains(": 1 block, 1 record, every digest right"), "\(checked)")
    let status = try desk.succeed(["status", folder.file("one")]).output
    #expect(status.contains("together 1 of 1 block, 1 of 1 record\n"), "\(status)")
  }

  @Test(arguments: [1, 2, 7])
  func `shards killed at random moments, in any order, merge to the digest of one run`(
    count: Int
  ) throws {
    // So few of the classes that there are tails to foretell.
    let more = ["--features", "--k", "3", "--commit-seconds", "0", "--threads", "1"]
    let whole = try desk.succeed(desk.precompute("whole", views: 40) + more)
    var generator = SeededGenerator(seed: UInt64(count))
    let names = (1...count).map { "shard-\($0)" }
    var begun: [String] = []
    for index in (1...count).shuffled(using: &generator) {
      var command =
        desk.precompute(names[index - 1], views: 40) + more + ["--shard", "\(index)/\(count)"]
      if let other = begun.randomElement(using: &generator), index.isMultiple(of: 2) {
        command += ["--calibration", folder.file(other)]
      }
      begun.append(names[index - 1])
      let moment = Double.random(in: 0..<whole.seconds, using: &generator)
      _ = try Program.run(command) { if $0.seconds >= moment { $0.send(SIGKILL) } }
      let done = try desk.succeed(command)
      #expect(done.output.contains("shard \(index)/\(count) done: "), "\(done.output)")
      #expect(done.output.contains("merge the shards"))
    }
    let inputs = names.shuffled(using: &generator).map { folder.file($0) }
    let command = ["merge", folder.file("merged")] + inputs
    let moment = Double.random(in: 0..<0.2, using: &generator)
    _ = try Program.run(command) { if $0.seconds >= moment { $0.send(SIGKILL) } }
    let merged = try desk.succeed(command)
    #expect(digest(in: merged) == digest(in: whole))
    #expect(digest(in: try desk.succeed(["verify", folder.file("merged")])) == digest(in: whole))
    let compacted = try json(["compact", folder.file("merged")], .compact)
    #expect(compacted["cacheDigest"]?.string == digest(in: whole))
    let diff = try json(["diff", folder.file("merged"), folder.file("whole")], .diff)
    #expect(diff["records"]?.integer == 12000)
    #expect(diff["topOneAgreement"]?.double == 1)
  }

  @Test func `status names the shards for sbatch, and merge says what is missing`() throws {
    for index in [1, 2, 4] {
      try desk.succeed(
        desk.precompute("s\(index)", views: 8, "--shard", "\(index)/8"))
    }
    let folders = [1, 2, 4].map { folder.file("s\($0)") }
    let missing = try desk.succeed(["status"] + folders + [folder.file("s3"), "--missing"])
    #expect(missing.output == "3,5-8\n")
    let status = try json(["status"] + folders, .status)
    #expect(status["missingShards"]?.string == "3,5-8")
    #expect(status["folders"]?[2]?["shard"]?.string == "4/8")
    let merged = try json(["merge", folder.file("merged")] + folders, .merge)
    #expect(merged["missingBlocks"]?.integer == 5 && merged["cacheDigest"] == nil)
    let text = try desk.succeed(["merge", folder.file("merged")] + folders)
    #expect(text.output.contains("5 blocks missing, the first is view 2, block 0"))
    // Without the shards' notes the number of shards must be given.
    try expectRefusal(["status", folder.file("merged"), "--missing"], .usage, "--shards N")
    let given = try desk.succeed(["status", folder.file("merged"), "--shards", "4", "--missing"])
    #expect(given.output == "2-4\n")
    // precompute finishes what the merge left.
    let finished = try desk.succeed(desk.precompute("merged", views: 8))
    let all = try desk.succeed(["status", folder.file("merged"), "--shards", "4", "--missing"])
    #expect(all.output == "\n")
    let whole = try desk.succeed(desk.precompute("whole", views: 8))
    #expect(digest(in: finished) == digest(in: whole))
  }

  @Test func `a Slurm array says which shard a task is`() throws {
    func run(_ option: String, _ variables: [String: String], _ name: String) throws
      -> ProgramResult
    {
      let environment: [String: String?] = [
        "TASK_ID", "TASK_COUNT", "TASK_MIN", "TASK_MAX",
      ].reduce(into: [:]) { $0["SLURM_ARRAY_" + $1] = .some(variables[$1]) }
      return try Program.run(
        desk.precompute(name, views: 4, "--shard", option), environment: environment)
    }
    let whole = ["TASK_COUNT": "4", "TASK_MIN": "1", "TASK_MAX": "4"]
    let zero = ["TASK_COUNT": "4", "TASK_MIN": "0", "TASK_MAX": "3"]
    let some = ["TASK_COUNT": "2", "TASK_MIN": "2", "TASK_MAX": "4"]
    for (index, (option, variables, task, shard)) in [
      ("slurm", whole, "3", "3/4"), ("slurm", zero, "0", "1/4"), ("slurm/4", some, "4", "4/4"),
      ("slurm/16", whole, "3", "3/16"),
    ].enumerated() {
      let result = try run(
        option, variables.merging(["TASK_ID": task]) { $1 }, "slurm-\(index)")
      #expect(result.exitCode == 0, "\(result.errors)")
      #expect(result.output.contains("shard \(shard) done"), "\(result.output)")
    }
    for (option, variables, text) in [
      ("slurm", some.merging(["TASK_ID": "4"]) { $1 }, "--shard slurm/N"),
      ("slurm/3", whole.merging(["TASK_ID": "4"]) { $1 }, "task 4 is no part of 3"),
      ("slurm", [:], "SLURM_ARRAY_TASK_ID is not set"),
    ] {
      let result = try run(option, variables, "refused")
      #expect(result.exitCode == 64)
      #expect(result.errors.contains(text), "\(result.errors)")
      #expect(!Files.exists(folder.file("refused")))
    }
    // The folder knows its shard, so a wrong split is found.
    let wrong = try run("2/3", [:], "slurm-0")
    #expect(wrong.exitCode == 64 && wrong.errors.contains("is shard 3/4, this run is shard 2/3"))
  }

  @Test func `derive makes a smaller cache that trains, by class names too`() throws {
    try desk.succeed(desk.precompute())
    let cache = folder.file("cache")
    let report = try json(
      ["derive", folder.file("small"), "--from", cache, "--k", "2", "--views", "1"], .derive)
    #expect(report["records"]?.integer == 300)
    try desk.succeed(["verify", folder.file("small")])
    try desk.succeed(desk.train("small", out: "student", "--loss", "pld"))
    let diff = try desk.succeed(["diff", cache, folder.file("small")])
    #expect(diff.output.contains("300 records compared, 300 with other probabilities\n"))
    #expect(diff.output.contains("\nsame first class 100.00 %\n"))
    let names = try json(["inspect", cache], .inspect)["perClass"]!.array!.map {
      $0["name"]!.string!
    }
    let list = try folder.write(names.joined(separator: "\n"), to: "classes.txt")
    for classes in [list, names.joined(separator: ","), "0,1,2,3"] {
      // All classes are no smaller set, so something else must change.
      try expectRefusal(
        ["derive", folder.file("no"), "--from", cache, "--classes", classes], .usage,
        "nothing would change")
    }
    try expectRefusal(
      ["derive", folder.file("no"), "--from", cache, "--classes", names[0]], .usage,
      "which is not among the classes")
  }
}
