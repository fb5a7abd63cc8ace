import ArgumentParser
import Basics
import Pipelines

struct PrecomputeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "precompute",
    abstract: "Run a teacher over every view of a data set and keep its top-k logits.",
    discussion: """
      The same command after any interruption goes on where it stopped and ends with the same \
      cache digest. A cache that was begun with other settings is refused, untouched.
      """)

  @Argument(help: "The cache: a folder to create or to continue.")
  var cache: String

  @Option(help: "The data set: fashion-mnist/train, fashion-mnist/test[0:500], or a YAML file.")
  var data: String

  @Option(help: "The teacher's configuration, a YAML file.")
  var teacher: String

  @Option(
    name: .customLong("onnxruntime"),
    help: """
      ONNX Runtime's library for an ONNX teacher: libonnxruntime.so, or a folder that has it, such as \
      a Python environment; else ONNXRUNTIME_LIB or the teacher's configuration name it.
      """)
  var onnxRuntime: String?

  @Option(help: "The augmentation recipe, a YAML file; plain pictures without it.")
  var recipe: String?

  @Option(help: "Views of every sample.")
  var views = 1

  @Option(help: "The seed of the views.")
  var seed: UInt64 = 1

  @Option(
    name: .customLong("k"), help: "Classes kept of every record; default: all up to 64, else 20.")
  var k: Int?

  @Flag(
    help: "Keep the norms and class means of the teacher's features too, for losses nd and cosine.")
  var features = false

  @Option(help: "Seconds of work between commits: what a kill can cost.")
  var commitSeconds = 5.0

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print the result as JSON.")
  var json = false

  func validate() throws {
    guard views >= 1 else { throw ValidationError("--views must be at least 1") }
    guard k.map({ $0 >= 1 }) ?? true else { throw ValidationError("--k must be at least 1") }
    guard seed < 1 << 63 else { throw ValidationError("--seed must be below 2^63") }
    guard commitSeconds >= 0 else { throw ValidationError("--commit-seconds must not be negative") }
  }

  func run() throws {
    Interruption.install()
    let result = try precompute(
      PrecomputeJob(
        data: data, teacher: teacher, onnxRuntime: onnxRuntime, recipe: recipe, views: views,
        seed: seed, k: k, features: features, cache: cache, threads: threads.threads,
        commitSeconds: commitSeconds))
    if json {
      print(try readableJSON(result), terminator: "")
    } else {
      print("\(cache): sealed, \(result.records) records, digest \(result.cacheDigest)")
    }
  }
}
