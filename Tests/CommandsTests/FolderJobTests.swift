import Basics
import TestSupport
import Testing

/// Picture files through the command line, with a small native teacher.
struct FolderJobTests {
  private let folder = ScratchFolder()

  @Test func `picture files go through a cache into a student, changed ones are refused`() throws {
    try PictureFiles.copy(to: folder)
    try writeConfigurations()
    let opened = try run("train", "training.yaml", "--out", "taught")
    #expect(opened.errors.contains("32 pictures in"), "\(opened.errors)")
    let made = try run(
      "precompute", "cache", "--data", "data.yaml", "--teacher", "teacher.yaml", "--recipe",
      "crop.recipe.yaml", "--views", "3")
    #expect(!made.errors.contains("pictures in"), "decoded again: \(made.errors)")
    try run("verify", "cache")
    try run(
      "train", "training.yaml", "--cache", "cache", "--loss", "kd@2", "--check-views", "all",
      "--out", "student")
    let shown = try run("inspect", "cache", "--data", "data.yaml", "--sample", "3", "--view", "1")
    #expect(shown.output.contains("▒"), "\(shown.output)")

    let wrong = folder.file("pictures/png/rgb-8.png")
    try Files.writeAtomically(PictureFiles.read("rgb-gamma.png"), to: wrong)
    try expectRefusal(
      resolved([
        "train", "training.yaml", "--cache", "cache", "--loss", "kd@2", "--out", "refused",
      ]), .corrupt, "belongs to data set 'pictures'")
    try Files.writeAtomically(Array(PictureFiles.read("rgb-8.png").prefix(300)), to: wrong)
    try expectRefusal(
      resolved(["train", "training.yaml", "--out", "refused"]), .corrupt, "cannot decode", wrong)
    try Files.writeAtomically(PictureFiles.read("rgb-8.png"), to: wrong)
    try run("train", "training.yaml", "--cache", "cache", "--loss", "kd@2", "--out", "again")
  }

  private func writeConfigurations() throws {
    try folder.write(
      """
      kind: folder
      name: pictures
      path: pictures
      size: {height: 12, width: 10}
      """, to: "data.yaml")
    try folder.write(
      """
      version: 1
      data: data.yaml
      model: mlp-16
      loss: ce
      epochs: 1
      batch: 8
      """, to: "training.yaml")
    try folder.write(
      "{version: 1, kind: native, weights: taught/model.safetensors, batch: 8}", to: "teacher.yaml")
    try folder.write(
      """
      version: 1
      operations:
        - {op: resized-crop, area: [0.3, 1]}
        - {op: flip}
        - {op: cutmix, probability: 0.5}
      """, to: "crop.recipe.yaml")
  }

  /// Names of files and folders as paths.
  private func resolved(_ arguments: [String]) -> [String] {
    arguments.map {
      ["taught", "cache", "student", "refused", "again"].contains($0) || $0.hasSuffix(".yaml")
        ? folder.file($0) : $0
    }
  }

  @discardableResult
  private func run(_ arguments: String...) throws -> ProgramResult {
    let result = try Program.run(resolved(arguments))
    try #require(
      result.exitCode == 0, "\(arguments) ended with \(ending(of: result)): \(result.errors)")
    return result
  }
}
