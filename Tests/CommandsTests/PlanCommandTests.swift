import Basics
import Schemas
import TestSupport
import Testing

@Suite struct PlanCommandTests {
  private let desk: Desk

  init() throws { desk = try Desk() }

  private func arguments(_ more: String...) -> [String] {
    [
      "plan", "--data", desk.data, "--teacher", desk.teacher, "--recipe", desk.recipe, "--views",
      "2",
    ]
      + more
  }

  @Test func `the table's command makes the cache that was chosen`() throws {
    let result = try desk.succeed(
      arguments("--k", "1,2,4", "--loss", "kd@4", "--max-error", "0.02"))
    for text in ["300 samples x 2 views = 600 records", "B/record", "kdGradientError@4", "4*"] {
      #expect(result.output.contains(text), "\(result.output)")
    }
    let line = try #require(result.output.split(separator: "\n").last)
    var words = line.split(separator: " ").map(String.init)
    #expect(words.removeFirst() == "logitcache")
    words[words.firstIndex(of: "CACHE")!] = desk.folder.file("cache")
    try desk.succeed(words)
  }

  @Test func `the report as JSON fits its schema`() throws {
    for more in [
      [], ["--budget", "10GB"], ["--tail-steps", "none"], ["--ranking", "full", "--k", "2,4"],
      ["--loss", "mse,dist@2", "--k", "4"],
    ] {
      let result = try desk.succeed(arguments("--json") + more)
      let value = try parseJSON(result.output.utf8, source: "plan")
      try Schemas.validate(value, against: .plan, source: "plan")
    }
    let paper = try desk.succeed([
      "plan", "--paper", "--samples", "14197122", "--views", "90", "--classes", "21841", "--k",
      "100", "--axes", "512", "--positions", "3", "--json",
    ])
    let value = try parseJSON(paper.output.utf8, source: "plan")
    try Schemas.validate(value, against: .plan, source: "plan")
    #expect(value["records"]?.integer == 3 * 1_277_740_980)
    #expect(value["tails"]?.array?.count == 2)
  }

  @Test func `nothing that fits is exit code 69 and a sentence, after the table`() throws {
    let result = try Program.run(arguments("--budget", "1kB"))
    #expect(result.exitCode == 69)
    #expect(result.output.contains("B/record"))
    #expect(result.errors.contains("none of k = 4 has at most 1.00 kB (errors"), "\(result.errors)")
  }

  @Test(arguments: [
    (["--k", "0"], "--k"), (["--k", "2,,3"], "--k"), (["--k", "5"], "1...4"),
    (["--budget", "big"], "--budget"), (["--max-error", "0"], "--max-error"),
    (["--sample-rows", "1"], "--sample-rows"), (["--samples", "3"], "--paper"),
    (["--axes", "3"], "--axes"),
    (["--positions", "3"], "--paper"), (["--paper", "--ranking", "full"], "--paper"),
    (["--tail-steps", "4,x"], "--tail-steps"),
    (["--tail-steps", "4"], "--tail-steps"), (["--paper", "--tail-steps", "4"], "--paper"),
    (["--paper"], "--samples"), (["--paper", "--samples", "1", "--classes", "2"], "--paper"),
    (["--views", "0"], "--views"),
  ])
  func `a wrong option is refused by name`(options: [String], named: String) throws {
    let result = try Program.run(arguments() + options)
    #expect(result.exitCode == 64, "\(result.errors)")
    #expect(result.errors.contains(named), "\(result.errors)")
  }

  @Test func `a plan without data set or teacher is refused as usage`() throws {
    try expectRefusal(["plan"], .usage, "--data")
    try expectRefusal(["plan", "--data", desk.data], .usage, "--teacher")
  }
}
