import Basics
import TestSupport
import Testing

@Suite struct ONNXCommandTests {
  private let folder = ScratchFolder()
  private let data: String
  private let teacher: String

  init() throws {
    data = try SmallPictures(count: 60).write(to: folder)
    try ONNXModel.classifier(ending: .probabilities).write(to: folder)
    teacher = try folder.write(
      """
      {version: 1, kind: onnx, model: model.onnx, batch: 16, output: {kind: probabilities}}
      """, to: "teacher.yaml")
  }

  private func precompute(_ more: String...) -> [String] {
    ["precompute", folder.file("cache"), "--data", data, "--teacher", teacher] + more
  }

  @Test func `without a runtime, precompute says where it looked and what to install`() throws {
    try expectRefusal(
      precompute("--onnxruntime", folder.file("no")), .noInput, "--onnxruntime names", "pip install"
    )
    let result = try Program.run(precompute(), environment: ["ONNXRUNTIME_LIB": folder.path])
    #expect(result.exitCode == 66)
    #expect(result.errors.contains("ONNXRUNTIME_LIB names \(folder.path)"), "\(result.errors)")
    #expect(!Files.exists(folder.file("cache")))
  }

  @Test(.enabled(if: InstalledRuntime.isThere, "\(InstalledRuntime.absence)"))
  func `the flag, the environment and the configuration lead to the same cache`() throws {
    let first = try Program.run(precompute("--onnxruntime", InstalledRuntime.folder))
    #expect(first.exitCode == 0, "\(first.errors)")
    let expected = try #require(digest(in: first))
    let second = try Program.run(
      precompute(), environment: ["ONNXRUNTIME_LIB": InstalledRuntime.folder])
    #expect(digest(in: second) == expected, "\(second.errors)")
    try folder.write(
      """
      {version: 1, kind: onnx, model: model.onnx, batch: 16, output: {kind: probabilities},
       runtime: \(InstalledRuntime.folder)}
      """, to: "teacher.yaml")
    let third = try Program.run(precompute(), environment: ["ONNXRUNTIME_LIB": nil])
    #expect(digest(in: third) == expected, "\(third.errors)")
    #expect(try Program.run(["verify", folder.file("cache")]).exitCode == 0)
    let text = try Program.run(["inspect", folder.file("cache")]).output
    #expect(text.contains("onnx"), "\(text)")
  }

  @Test(.enabled(if: InstalledRuntime.isThere, "\(InstalledRuntime.absence)"))
  func `another batch shape is refused, and a file that is no model`() throws {
    _ = try Program.run(precompute("--onnxruntime", InstalledRuntime.folder))
    try folder.write(
      """
      {version: 1, kind: onnx, model: model.onnx, batch: 8, output: {kind: probabilities}}
      """, to: "teacher.yaml")
    try expectRefusal(
      precompute("--onnxruntime", InstalledRuntime.folder), .corrupt,
      "teacher.batchShape: the cache has 16 x 1 x 8 x 8, this run has 8 x 1 x 8 x 8")
    try folder.write("no model", to: "model.onnx")
    try expectRefusal(
      precompute("--onnxruntime", InstalledRuntime.folder), .corrupt, folder.file("model.onnx"))
  }
}
