import Basics
import DataSets
import Schemas
import TestSupport
import Testing

/// The whole job on real pictures, a few hundred of Fashion-MNIST.
///
/// They come with the Debian package dataset-fashion-mnist; without it this test fails and says so.
@Suite struct EndToEndTests {
  private let folder = ScratchFolder()
  private let data = "fashion-mnist/train[0:400]"

  @Test func `Fashion-MNIST goes from a teacher through a cache into students`() throws {
    _ = try openDataSet("fashion-mnist/test[0:1]")
    try teach()
    let views = folder.file("views")
    let plain = folder.file("plain")
    let made = try precompute(views, "--recipe", recipe(), "--views", "2", "--features")
    try precompute(plain, "--views", "1")
    #expect(made.output.contains("sealed, 800 records"))

    let verified = try run("verify", views)
    #expect(digest(in: verified) == digest(in: made))
    #expect(verified.output.contains("800 records, every digest right"))
    try checkInspection(of: views, digest: try #require(digest(in: made)))

    for loss in ["ce", "kd@4", "pld", "dist@4", "mse", "ce+kd@4+2*nd"] {
      let out = folder.file("student-\(loss)")
      let trained = try run(
        "train", folder.file("training.yaml"), "--data", data, "--cache", views, "--loss", loss,
        "--out", out, "--json")
      let metrics = try parseJSON(trained.output.utf8, source: loss)
      #expect(metrics["epoch"]?.integer == 1)
      #expect((metrics["loss"]?.double ?? -1) > 0)
      #expect(trained.errors.contains("epoch 1/1: loss "))
      try checkEvaluation(of: out + "/model.safetensors", plain)
    }
  }

  private func run(_ arguments: String...) throws -> ProgramResult {
    let result = try Program.run(arguments)
    try #require(
      result.exitCode == 0, "\(arguments) ended with \(ending(of: result)): \(result.errors)")
    return result
  }

  private func teach() throws {
    try folder.write(
      """
      version: 1
      data: fashion-mnist/test[0:2000]
      model: mlp-32
      loss: ce
      epochs: 1
      batch: 32
      clip-norm: 1
      normalise: {mean: 0.286, deviation: 0.353}
      """, to: "training.yaml")
    try folder.write(
      "{version: 1, kind: native, weights: taught/model.safetensors}", to: "teacher.yaml")
    _ = try run("train", folder.file("training.yaml"), "--out", folder.file("taught"))
  }

  private func recipe() throws -> String {
    try folder.write(
      "{version: 1, operations: [{op: pad-crop, pad: 2}, {op: flip}]}", to: "recipe.yaml")
  }

  @discardableResult
  private func precompute(_ cache: String, _ more: String...) throws -> ProgramResult {
    let arguments = [
      "precompute", cache, "--data", data, "--teacher", folder.file("teacher.yaml"),
    ]
    let result = try Program.run(arguments + more)
    try #require(result.exitCode == 0, "precompute: \(result.errors)")
    return result
  }

  private func checkInspection(of cache: String, digest: String) throws {
    let report = try parseJSON(run("inspect", cache, "--json").output.utf8, source: "inspect")
    try Schemas.validate(report, against: .inspect, source: "inspect")
    #expect(report["sealed"]?.bool == true)
    #expect(report["cacheDigest"]?.string == digest)
    #expect(report["records"]?.integer == 800)
    #expect(report["classes"]?.integer == 10 && report["k"]?.integer == 10)
    #expect((report["teacherTop1"]?.double ?? 0) > 0.3)
    let text = try run("inspect", cache).output
    for expected in ["sealed", digest, "fashion-mnist/train[0:400]", "Ankle boot", "certificate"] {
      #expect(text.contains(expected), "\(expected)")
    }
    let sample = try run("inspect", cache, "--sample", "0", "--view", "1").output
    #expect(sample.hasPrefix("sample 0, view 1\n"))
    #expect(sample.contains("label Ankle boot (9), rank "))
    #expect(sample.contains("█"))
  }

  private func checkEvaluation(of model: String, _ cache: String) throws {
    let text = try run("evaluate", model, "--data", data, "--cache", cache)
    #expect(text.output.contains("of 400 samples") && text.output.contains("agreement "))
    let json = try run("evaluate", model, "--data", data, "--cache", cache, "--json")
    let result = try parseJSON(json.output.utf8, source: "evaluate")
    try Schemas.validate(result, against: .evaluate, source: "evaluate")
    #expect(result["samples"]?.integer == 400)
    #expect((0...1).contains(result["accuracy"]?.double ?? -1))
    #expect((0...1).contains(result["agreement"]?.double ?? -1))
    #expect((result["teacherAccuracy"]?.double ?? 0) > 0.3)
  }
}
