import Basics
import Teachers
import TestSupport
import Testing

/// The Python worker with an ONNX model, beside the same model in our own process.
@Suite(.enabled(if: InstalledRuntime.isThere, "\(InstalledRuntime.absence)"))
struct WorkerONNXTests {
  @Test(arguments: [(ONNXModel.Ending.logits, 1), (.probabilities, 3), (.logProbabilities, 1)])
  func `the worker's logits are those of the process, bit for bit`(
    ending: ONNXModel.Ending, channels: Int
  ) throws {
    let bench = try ONNXBench(channels: channels, classes: 5)
    let kind = [
      ONNXModel.Ending.logits: "logits", .probabilities: "probabilities",
      .logProbabilities: "log-probabilities",
    ][ending]!
    try bench.describe(
      .classifier(channels: channels, classes: 5, scale: 4, ending: ending), "batch: 8",
      "input: {mean: 0.25, deviation: 0.5}", "output: {kind: \(kind)}")
    let inProcess = try bench.logits(0..<20)
    let worker =
      "python, -m, logitcache.worker, --onnx, model.onnx, --input, nchw, --mean, '0.25', "
      + "--deviation, '0.5', --output, \(kind), --class-names, names"
    try bench.folder.write(
      """
      {version: 1, kind: worker, batch: 8, command: [env, 'PYTHONPATH=\(PythonPackage.folder)',
        \(InstalledRuntime.folder)/bin/\(worker)]}
      """, to: "teacher.yaml")
    #expect(try bench.logits(0..<20) == inProcess)
    let identity = try bench.open().identity["worker"]
    #expect(identity?["runtime"]?.string?.hasPrefix("ONNX Runtime 1.") == true)
    #expect(identity?["input"]?["mean"] == .string("0.25"))
  }
}
