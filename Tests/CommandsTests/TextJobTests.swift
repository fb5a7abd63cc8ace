import Basics
import TestSupport
import Testing

/// A language identifier through the command line, with a native teacher.
@Suite struct TextJobTests {
  private let folder = ScratchFolder()
  private let sentences = [
    "de": "Öffnen Sie die Datei mit der Nummer", "en": "Open the file that has the number",
    "el": "Ανοίξτε το αρχείο με τον αριθμό", "ja": "番号のファイルを開きます",
  ]

  @Test func `sentences go from a file through a cache into a student of their runs of bytes`()
    throws
  {
    try writeTexts("seen", numbers: 0..<80)
    try writeTexts("other", numbers: 80..<100)
    try writeConfigurations()
    try run("train", "training.yaml", "--out", "taught")
    let made = try run(
      "precompute", "cache", "--data", "seen.yaml", "--teacher", "teacher.yaml", "--recipe",
      "pieces.recipe.yaml", "--views", "2")
    try run("precompute", "plain", "--data", "other.yaml", "--teacher", "teacher.yaml")
    #expect(digest(in: try run("verify", "cache")) == digest(in: made))

    try run("train", "training.yaml", "--cache", "cache", "--loss", "kd@2", "--out", "student")
    let result = try run(
      "evaluate", "student/model.safetensors", "--data", "other.yaml", "--cache", "plain", "--json")
    let report = try parseJSON(result.output.utf8, source: "evaluate")
    #expect(report["samples"]?.integer == 80)
    // Four scripts and alphabets: easy for both.
    #expect((report["accuracy"]?.double ?? 0) > 0.9, "\(result.output)")
    #expect((report["agreement"]?.double ?? 0) > 0.9, "\(result.output)")

    let shown = try run("inspect", "plain", "--sample", "3", "--data", "other.yaml").output
    #expect(shown.contains("番号のファイルを開きます 80\n"), "\(shown)")
  }

  @Test func `texts, pictures and their networks do not mix`() throws {
    try writeTexts("seen", numbers: 0..<5)
    try writeConfigurations()
    try expectRefusal(
      resolved(["train", "training.yaml", "--model", "mlp-8", "--out", "refused"]), .configuration,
      "network 'mlp-8' reads pictures or features, seen has 48 bytes of text")
    try expectRefusal(
      resolved([
        "train", "training.yaml", "--data", "fashion-mnist/test[0:20]", "--out", "refused",
      ]), .configuration,
      "network 'ngram-512-16' reads texts, fashion-mnist/test[0:20] has 28 x 28 x 1 pixels")
    try run("train", "training.yaml", "--out", "taught")
    try expectRefusal(
      resolved([
        "precompute", "cache", "--data", "fashion-mnist/test[0:20]", "--teacher", "teacher.yaml",
      ]), .configuration, "reads texts, the data set has 28 x 28 x 1 pixels")
    try folder.write("{version: 1, operations: [{op: flip}]}", to: "flip.recipe.yaml")
    try expectRefusal(
      resolved([
        "precompute", "cache", "--data", "seen.yaml", "--teacher", "teacher.yaml", "--recipe",
        "flip.recipe.yaml",
      ]), .configuration, "seen has 48 bytes of text, but the recipe has operations on images")
  }

  private func writeTexts(_ name: String, numbers: Range<Int>) throws {
    let lines = numbers.flatMap { number in
      ["de", "en", "el", "ja"].map { "\($0)\t\(sentences[$0]!) \(number)" }
    }
    try folder.write(lines.joined(separator: "\n"), to: "\(name).tsv")
    try folder.write(
      """
      kind: text
      name: \(name)
      texts: \(name).tsv
      classNames: [de, en, el, ja]
      bytes: 48
      """, to: "\(name).yaml")
  }

  private func writeConfigurations() throws {
    try folder.write(
      """
      version: 1
      data: seen.yaml
      model: ngram-512-16
      loss: ce
      epochs: 4
      batch: 16
      learning-rate: 0.2
      """, to: "training.yaml")
    try folder.write(
      "{version: 1, kind: native, weights: taught/model.safetensors, batch: 20}",
      to: "teacher.yaml")
    try folder.write(
      "{version: 1, operations: [{op: substring, share: [0.4, 1]}, {op: lowercase}]}",
      to: "pieces.recipe.yaml")
  }

  private func resolved(_ arguments: [String]) -> [String] { folder.resolved(arguments) }

  @discardableResult
  private func run(_ arguments: String...) throws -> ProgramResult {
    try runToEnd(folder.resolved(arguments))
  }
}
