import Basics
import TestSupport
import Testing

/// Sequences of tokens through the command line: a label, a record and a student's answer for each token.
@Suite struct PositionJobTests {
  private let folder = ScratchFolder()

  @Test(arguments: ["kd@4", "pld", "dist@4"])
  func `tokens go from labels through a teacher and a cache into a student`(loss: String) throws {
    let tokens = SmallTokens(count: 120)
    let data = try tokens.write(to: folder)
    let training = try folder.write(
      """
      version: 1
      data: \(data)
      model: mlp-12
      loss: ce
      epochs: 3
      batch: 16
      normalise: {mean: 0, deviation: 1}
      """, to: "training.yaml")
    let teacher = try folder.write(
      "{version: 1, kind: native, weights: taught/model.safetensors}", to: "teacher.yaml")
    let (cache, student) = (folder.file("cache"), folder.file("student"))
    try run("train", training, "--out", folder.file("taught"))
    let made = try run("precompute", cache, "--data", data, "--teacher", teacher)
    #expect(made.output.contains("sealed, \(tokens.labelled) records"), "\(made.output)")
    let verified = try run("verify", cache)
    #expect(digest(in: verified) == digest(in: made))
    try run("train", training, "--cache", cache, "--loss", loss, "--out", student)

    let result = try run(
      "evaluate", student + "/model.safetensors", "--data", data, "--cache", cache, "--json")
    let report = try parseJSON(result.output.utf8, source: "evaluate")
    #expect(report["samples"]?.integer == 120)
    #expect(report["positions"]?.integer == tokens.labelled)
    #expect((report["accuracy"]?.double ?? 0) > 0.5)
    #expect((report["agreement"]?.double ?? 0) > 0.5)
    try exportAndImport(cache, data: data, records: tokens.labelled)
    let text = try run("evaluate", student + "/model.safetensors", "--data", data)
    #expect(text.output.contains("% of \(tokens.labelled) positions of 120 samples"))
  }

  /// Takes a cache to a file and back.
  private func exportAndImport(_ cache: String, data: String, records: Int) throws {
    let (file, again) = (folder.file("records.safetensors"), folder.file("again"))
    try run("export", cache, "--out", file)
    let made = try run(
      "import", again, "--data", data, "--ids", file + ":ids", "--values", file + ":logits",
      "--log-sum-exp", file + ":log-sum-exp", "--counts", file + ":counts", "--positions",
      file + ":record-positions")
    #expect(made.output.contains("sealed, \(records) records"), "\(made.output)")
    let result = try run("diff", cache, again, "--json")
    let diff = try parseJSON(result.output.utf8, source: "diff")
    #expect(diff["records"]?.integer == records)
    #expect(diff["topOneAgreement"]?.double == 1)
  }

  @discardableResult
  private func run(_ arguments: String...) throws -> ProgramResult {
    let result = try Program.run(arguments)
    try #require(
      result.exitCode == 0, "\(arguments) ended with \(ending(of: result)): \(result.errors)")
    return result
  }
}
