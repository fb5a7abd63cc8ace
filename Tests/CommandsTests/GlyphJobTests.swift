import Basics
import TestSupport
import Testing

private let fontPath = "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"

/// A character reader through the command line, with a small native teacher.
@Suite(.enabled(if: Files.exists(fontPath), "needs the Debian package fonts-wqy-microhei"))
struct GlyphJobTests {
  private let folder = ScratchFolder()

  @Test func `characters go from a font through a cache into a student, other fonts are refused`()
    throws
  {
    try describe("seen", em: 14)
    try describe("held-out", em: 11)
    try writeConfigurations()
    try run("train", "training.yaml", "--out", "taught")
    try run(
      "precompute", "cache", "--data", "seen.yaml", "--teacher", "teacher.yaml", "--recipe",
      "wobble.recipe.yaml", "--views", "2")
    try run("precompute", "plain", "--data", "held-out.yaml", "--teacher", "teacher.yaml")
    try run("train", "training.yaml", "--cache", "cache", "--loss", "kd@4", "--out", "student")
    let result = try run(
      "evaluate", "student/model.safetensors", "--data", "held-out.yaml", "--cache", "plain",
      "--json")
    let report = try parseJSON(result.output.utf8, source: "evaluate")
    #expect(report["samples"]?.integer == 60)
    #expect(report["agreement"]?.double != nil)

    let refused = try Program.run(
      resolved([
        "train", "training.yaml", "--data", "held-out.yaml", "--cache", "cache", "--loss", "kd@4",
        "--out", "refused",
      ]))
    #expect(refused.exitCode == ProblemKind.corrupt.rawValue)
    #expect(refused.errors.contains("characters, em 14"), "\(refused.errors)")
  }

  /// The same sixty characters, drawn in another size: another data set of the same classes.
  private func describe(_ name: String, em: Int) throws {
    try folder.write(
      """
      kind: glyphs
      name: characters, em \(em)
      characters: gb2312-1
      firstCharacters: 60
      size: 16
      em: \(em)
      fonts: [{file: \(fontPath)}]
      """, to: "\(name).yaml")
  }

  private func writeConfigurations() throws {
    try folder.write(
      """
      version: 1
      data: seen.yaml
      model: cnn-8-16-24
      loss: ce
      epochs: 2
      batch: 20
      normalise: {mean: 0.8, deviation: 0.3}
      """, to: "training.yaml")
    try folder.write(
      "{version: 1, kind: native, weights: taught/model.safetensors, batch: 20}",
      to: "teacher.yaml")
    try folder.write(
      """
      version: 1
      operations:
        - {op: affine, degrees: 8, scale: [0.9, 1.1], shear: 8, fill: 255}
        - {op: blur, radius: [0, 0.8]}
        - {op: contrast, amount: 0.4}
        - {op: noise, deviation: [0, 0.08]}
      """, to: "wobble.recipe.yaml")
  }

  private func resolved(_ arguments: [String]) -> [String] { folder.resolved(arguments) }

  @discardableResult
  private func run(_ arguments: String...) throws -> ProgramResult {
    try runToEnd(folder.resolved(arguments))
  }
}
