import ArgumentParser
import Basics
import Foundation
import Pipelines

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Measure a model's accuracy, and its agreement with the teacher in a cache.")

  @Argument(help: "The model: a safetensors file written by train.")
  var model: String

  @Option(help: "The data set to measure on.")
  var data: String

  @Option(help: "A cache of the same data, made without a recipe, for the agreement.")
  var cache: String?

  @Flag(help: "Print the result as JSON (schemas/evaluate.schema.json).")
  var json = false

  func run() throws {
    let result = try evaluate(modelPath: model, data: data, cachePath: cache)
    if json { return print(try readableJSON(result), terminator: "") }
    let labels = result.positions.map { "\(counted($0, "position")) of " } ?? ""
    print(
      String(format: "accuracy  %.2f %% of ", 100 * result.accuracy)
        + "\(labels)\(counted(result.samples, "sample"))")
    if let agreement = result.agreement, let teacher = result.teacherAccuracy {
      print(
        String(
          format: "agreement %.2f %% with the teacher, whose accuracy is %.2f %%", 100 * agreement,
          100 * teacher))
    }
  }
}
