import ArgumentParser
import Pipelines

/// Data set, teacher and views: what decides which rows a teacher gives; of `precompute` and `plan`.
struct JobOptions: ParsableArguments {
  @Option(
    help: "Needed: the data set, fashion-mnist/train, fashion-mnist/test[0:500], or a YAML file.")
  var data: String?

  @Option(
    help: "Needed: the teacher's configuration, a YAML file of kind native, onnx or worker.")
  var teacher: String?

  @Option(
    name: .customLong("onnxruntime"),
    help: """
      ONNX Runtime's library for an ONNX teacher: libonnxruntime.so, or a folder that has it, such as \
      a Python environment; else ONNXRUNTIME_LIB or the teacher's configuration name it.
      """)
  var onnxRuntime: String?

  @Option(help: "The augmentation recipe, a YAML file; samples as they are without it.")
  var recipe: String?

  @Option(help: "Views of every sample.")
  var views = 1

  @Option(help: "The seed of the views.")
  var seed: UInt64 = 1

  @Flag(
    help: "Keep the norms and class means of the teacher's features too, for losses nd and cosine.")
  var features = false

  func validate() throws {
    guard views >= 1 else { throw ValidationError("--views must be at least 1") }
    guard seed < 1 << 63 else { throw ValidationError("--seed must be below 2^63") }
  }

  /// Data set and teacher.
  ///
  /// - Throws: `ValidationError` when one is not named.
  var needed: (data: String, teacher: String) {
    get throws {
      guard let data else { throw ValidationError("Missing expected option '--data <data>'") }
      guard let teacher else {
        throw ValidationError("Missing expected option '--teacher <teacher>'")
      }
      return (data, teacher)
    }
  }

  /// The job that the options describe.
  ///
  /// - Throws: as `needed`.
  func job(kept: KeptRecord = KeptRecord(), making: CacheMaking) throws -> PrecomputeJob {
    let (data, teacher) = try needed
    return PrecomputeJob(
      data: data, teacher: teacher, onnxRuntime: onnxRuntime, recipe: recipe, views: views,
      seed: seed, features: features, kept: kept, making: making)
  }
}
