import ArgumentParser
import Basics
import Foundation
import Pipelines

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Train a network: a student from a cache, or a teacher from labels.",
    discussion: """
      Writes checkpoint.safetensors and metrics.jsonl after every epoch and model.safetensors at \
      the end. The same command after an interruption goes on from the last checkpoint and ends \
      with the same weights, bit for bit.
      """)

  @Argument(help: "The training configuration, a YAML file.")
  var configuration: String

  @Option(help: "The folder for checkpoint, metrics and model.")
  var out: String

  @Option(help: "The cache to replay, instead of the configuration's.")
  var cache: String?

  @Option(
    help: "The loss, instead of the configuration's: ce, kd@4, pld, 0.1*ce+0.9*kd@4, ce+kd@4+2*nd.")
  var loss: String?

  @Option(help: "The network, instead of the configuration's.")
  var model: String?

  @Option(help: "The training data, instead of the configuration's.")
  var data: String?

  @Option(help: "The test data, instead of the configuration's.")
  var test: String?

  @Option(help: "The number of epochs, instead of the configuration's.")
  var epochs: Int?

  @Option(help: "The seed, instead of the configuration's.")
  var seed: Int?

  @Option(help: "Cache blocks whose views are recomputed and compared first: a number, or all.")
  var checkViews = "4"

  @Flag(help: "Train although the cache cannot serve the loss exactly.")
  var acceptError = false

  @Option(
    help: """
      Megabytes of decoded records kept in memory for later epochs; more is only faster, records \
      that do not fit are decoded again.
      """)
  var decodedMemory = TrainingOptions.defaultDecodedBytes >> 20

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "At the end, print the metrics of every epoch as JSON lines on standard output.")
  var json = false

  func validate() throws {
    guard epochs.map({ (1...100_000).contains($0) }) ?? true else {
      throw ValidationError("--epochs must be in 1...100000")
    }
    guard seed.map({ $0 >= 0 }) ?? true else {
      throw ValidationError("--seed must not be negative")
    }
    guard (0...1 << 24).contains(decodedMemory) else {
      throw ValidationError("--decoded-memory must be in 0...16777216 megabytes")
    }
    guard viewCheck != nil else {
      throw ValidationError("--check-views takes a number of blocks or 'all', not '\(checkViews)'")
    }
  }

  func run() throws {
    Interruption.install()
    let metrics = try train(
      plan(),
      TrainingOptions(
        folder: out, checkedViews: viewCheck ?? .all, acceptsError: acceptError,
        threads: threads.threads, decodedBytes: decodedMemory << 20, log: printToStandardError))
    if json { for line in metrics { print(try canonicalJSON(line)) } }
  }

  private var viewCheck: ViewCheck? {
    if checkViews == "all" { return .all }
    return Int(checkViews).flatMap { $0 >= 0 ? .blocks($0) : nil }
  }

  private func plan() throws -> TrainingPlan {
    var plan = try TrainingPlan(yamlAt: configuration)
    if let cache {
      plan.cache = cache
      plan.recipe = nil  // the cache brings its own
    }
    if let loss { plan.loss = loss }
    if let model { plan.model = model }
    if let data { plan.data = data }
    if let test { plan.test = test }
    if let epochs { plan.epochs = epochs }
    if let seed { plan.seed = seed }
    return plan
  }
}
