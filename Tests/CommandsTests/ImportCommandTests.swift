import Arrays
import Basics
import Foundation
import Schemas
import TestSupport
import Testing

/// `import` and `export` as people use them.
@Suite struct ImportCommandTests {
  private let folder = ScratchFolder()

  /// Writes random rows [samples, views, classes], and labels.
  @discardableResult
  private func writeRows(
    _ name: String = "rows.npy", samples: Int = 3000, views: Int = 2, classes: Int = 6
  ) throws -> String {
    var generator = SeededGenerator(seed: 1)
    let values = (0..<samples * views * classes).map { _ in
      Float.random(in: -9...9, using: &generator)
    }
    let labels = (0..<samples).map { Int32($0 % classes) }
    try NumPy.write(
      NamedArray(shape: [samples], values: .int32(labels)), to: folder.file("labels.npy"))
    try NumPy.write(
      NamedArray(shape: [samples, views, classes], values: .float32(values)),
      to: folder.file(name))
    return folder.file(name)
  }

  private func importing(_ cache: String, _ rows: String, _ more: String...) -> [String] {
    ["import", folder.file(cache), "--logits", rows, "--labels", folder.file("labels.npy")] + more
  }

  @discardableResult
  private func succeed(_ arguments: [String]) throws -> ProgramResult {
    let result = try Program.run(arguments)
    try #require(result.exitCode == 0, "\(arguments): \(ending(of: result)): \(result.errors)")
    return result
  }

  private func json(_ arguments: [String], _ name: Schemas.Name) throws -> JSONValue {
    let value = try parseJSON(
      try succeed(arguments + ["--json"]).output.utf8, source: name.rawValue)
    try Schemas.validate(value, against: name, source: name.rawValue)
    return value
  }

  @Test func `rows are imported, inspected, exported, and imported again as records`() throws {
    let rows = try writeRows()
    let names = try folder.write("a\nb\nc\nd\ne\nf", to: "names.txt")
    let report = try json(
      importing("cache", rows, "--k", "3", "--class-names", names, "--name", "mine"), .imported)
    #expect(report["records"]?.integer == 6000 && report["isBound"]?.bool == false)
    let verified = try succeed(["verify", folder.file("cache")])
    #expect(digest(in: verified) == report["cacheDigest"]?.string)
    let inspected = try json(["inspect", folder.file("cache")], .inspect)
    #expect(inspected["teacher"]?["kind"]?.string == "import" && inspected["recipe"] == .null)
    #expect(try succeed(["status", folder.file("cache")]).output.contains("4 of 4 blocks"))
    let file = folder.file("records.safetensors")
    let exported = try json(["export", folder.file("cache"), "--out", file], .export)
    #expect(exported["arrays"]?.array?.count == 9)
    let again = try json(
      [
        "import", folder.file("again"), "--ids", file + ":ids", "--values", file + ":logits",
        "--log-sum-exp", file + ":log-sum-exp", "--label-logits", file + ":label-logits",
        "--label-ranks", file + ":label-ranks", "--labels", file + ":labels", "--class-names",
        names, "--name", "mine",
      ], .imported)
    #expect(again["isBound"]?.bool == true && again["k"]?.integer == 3)
    let lines = try ["cache", "again"].map {
      try succeed(["export", folder.file($0), "--out", "-", "--samples", "17:20", "--view", "1"])
        .output.split(separator: "\n")
    }
    for (one, two) in zip(lines[0], lines[1]) {
      let records = try [one, two].map { try parseJSON($0.utf8, source: "line") }
      for name in ["ids", "logits", "label", "labelLogit", "labelRank", "sample", "view"] {
        #expect(records[0][name] == records[1][name] && records[0][name] != nil, "\(name)")
      }
    }
    #expect(lines[0].count == 3)
  }

  @Test func `import killed at random moments ends with the same digest`() throws {
    let rows = try writeRows(samples: 20_000, views: 6, classes: 30)
    let more = ["--k", "5", "--commit-seconds", "0", "--threads", "2"]
    var whole = try succeed(importing("whole-0", rows) + more)
    for index in 1...2 {
      let other = try succeed(importing("whole-\(index)", rows) + more)
      #expect(digest(in: other) == digest(in: whole))
      if other.seconds < whole.seconds { whole = other }
    }
    var generator = SeededGenerator(seed: 9)
    for attempt in 0..<8 {
      let command = importing("killed-\(attempt)", rows) + more
      let moment = Double.random(in: 0..<whole.seconds, using: &generator)
      _ = try Program.run(command) { if $0.seconds >= moment { $0.send(SIGKILL) } }
      #expect(digest(in: try succeed(command)) == digest(in: whole), "attempt \(attempt)")
      try remove(folder.file("killed-\(attempt)"))
    }
  }

  /// 5,000 rows of 500 classes are 10 MB; 40,000 are 80 MB.
  @Test func `import and export take no more memory for eight times the rows`() throws {
    var peaks: [[Int]] = []
    for samples in [5_000, 40_000] {
      let path = folder.file("zeros.npy")
      try writeRows(samples: samples, views: 1, classes: 2)
      let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(samples), 500), }"
      let start = [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(header.utf8.count), 0] + header.utf8
      try Files.writeAtomically(start, to: path)
      // A file with a hole: its rows are zeros.
      #expect(truncate(path, off_t(start.count + samples * 500 * 4)) == 0)
      var (one, two) = (0, 0)
      let command = importing("flat-\(samples)", path, "--threads", "1", "--k", "2")
      let made = try Program.run(command) { one = max(one, $0.peakMemory ?? 0) }
      #expect(made.exitCode == 0, "\(made.errors)")
      let out = folder.file("out-\(samples).npy")
      let export = ["export", command[1], "--out", out, "--missing", "uniform"]
      let written = try Program.run(export) { two = max(two, $0.peakMemory ?? 0) }
      #expect(written.exitCode == 0, "\(written.errors)")
      peaks.append([one, two])
      try remove(out)
    }
    for index in 0..<2 {
      #expect(peaks[1][index] < peaks[0][index] + 30_000_000, "\(peaks)")
    }
  }

  @Test(arguments: [
    ([], "give full rows with --logits, or sparse ones"),
    (["--ids", "a.npy"], "sparse rows need --ids, --values and --log-sum-exp"),
    (["--classes", "3"], "sparse rows need --ids, --values and --log-sum-exp"),
    (["--kind", "logits"], "--kind and --features belong to --logits"),
    (["--features", "f.npy"], "--kind and --features belong to --logits"),
    (
      ["--logits", "a.npy", "--ids", "a.npy", "--values", "a.npy", "--log-sum-exp", "a.npy"],
      "give full rows with --logits, or sparse ones"
    ),
    (["--logits", "a.npy", "--kind", "odds"], "'odds' is invalid"),
    (["--logits", "a.npy", "--recipe", "r.yaml"], "--recipe and --seed belong to --data"),
    (["--logits", "a.npy", "--seed", "3"], "--recipe and --seed belong to --data"),
    (
      ["--logits", "a.npy", "--data", "d", "--name", "x"],
      "--class-names and --name are the data set's"
    ),
    (["--logits", "a.npy", "--k", "0"], "--k must be at least 1"),
    (["--logits", "a.npy", "--tail-step", "4"], "belong to --tail subspace"),
    (["--logits", "a.npy", "--threads", "0"], "--threads"),
    (["--logits", "a.npy", "--shard", "5/4"], "1 <= I <= N"),
    (["--logits", "a.npy", "--positions", "p.npy"], "--positions FILE needs --counts"),
    (
      ["--logits", "a.npy", "--positions", "every", "--counts", "c.npy"],
      "--positions every goes without --counts"
    ),
    (["--logits", "a.npy", "--max-positions", "3"], "--max-positions belongs to --counts"),
    (["--logits", "a.bin"], "FILE.npy, FILE.safetensors or FILE.safetensors:ARRAY"),
  ])
  func `a wrong option of import is refused by name`(options: [String], named: String) throws {
    let labels = try folder.write("", to: "labels.npy")
    let result = try Program.run(
      ["import", folder.file("new"), "--labels", labels] + options)
    #expect(result.exitCode == 64, "\(result.errors)")
    #expect(result.errors.contains(named), "\(result.errors)")
    #expect(!Files.exists(folder.file("new")))
  }

  @Test(arguments: [
    (["--out", "x.txt"], "'x.txt' does not say what to write"),
    (["--out", "x.jsonl", "--full-rows"], "--full-rows writes FILE.npy or FILE.safetensors"),
    (["--out", "x.safetensors", "--missing", "uniform"], "--missing belongs to full rows"),
    (["--out", "-", "--json"], "choose one"), (["--out", "-", "--samples", "5"], "'5' is invalid"),
    (["--out", "-", "--samples", "7:7"], "'7:7' is invalid"),
    (["--out", "-", "--view", "-1"], "view"), ([], "--out"),
  ])
  func `a wrong option of export is refused by name`(options: [String], named: String) throws {
    let result = try Program.run(["export", folder.file("no")] + options)
    #expect(result.exitCode == 64, "\(result.errors)")
    #expect(result.errors.contains(named), "\(result.errors)")
  }

  @Test func `missing and damaged files are refused by their paths`() throws {
    let rows = try writeRows(samples: 20)
    try expectRefusal(
      importing("new", folder.file("no.npy")), .noInput, folder.file("no.npy"), "No such file")
    try expectRefusal(
      ["import", folder.file("new"), "--logits", rows, "--labels", folder.file("no.npy")],
      .noInput, folder.file("no.npy"))
    try expectRefusal(
      importing("new", rows, "--class-names", folder.file("no.txt")), .noInput, "no.txt")
    let bytes = try Files.read(rows)
    for length in [0, 9, 100, bytes.count - 1] {
      let cut = folder.file("cut.npy")
      try Files.writeAtomically(Array(bytes.prefix(length)), to: cut)
      try expectRefusal(importing("new", cut), .corrupt, cut)
    }
    #expect(!Files.exists(folder.file("new")))
    try expectRefusal(
      ["export", folder.file("no"), "--out", folder.file("x.npy")], .noInput, folder.file("no"))
    try succeed(importing("cache", rows))
    try expectRefusal(
      ["export", folder.file("cache"), "--out", folder.file("none/x.npy")], .cannotCreate,
      folder.file("none/x.npy"))
    try expectRefusal(
      ["export", folder.file("cache"), "--out", folder.file("labels.npy")], .cannotCreate,
      folder.file("labels.npy"), "--force")
  }
}
