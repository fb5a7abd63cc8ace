import ArgumentParser
import Basics
import DataSets
import LogitCache
import Pipelines
import Reports
import Views

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Print what a cache is, what its teacher said, and how far the records are off.")

  @Argument(help: "The cache.")
  var cache: String

  @Option(help: "Print the record of this sample; with positions, all of its view.")
  var sample: Int?

  @Option(help: "With --sample: the view. Default: 0.")
  var view: Int?

  @Option(
    help: "With --sample: the data set, for its picture or text. Default: the cache's, by name.")
  var data: String?

  @Flag(help: "Print the report as JSON (schemas/inspect.schema.json).")
  var json = false

  func validate() throws {
    guard sample != nil || (view == nil && data == nil) else {
      throw ValidationError("--view and --data belong to --sample")
    }
    guard sample == nil || !json else {
      throw ValidationError("--json prints the whole report, not one --sample")
    }
  }

  func run() throws {
    let reader = try CacheReader(path: cache)
    if let sample {
      let text = try describeRecord(
        of: reader, sample: sample, view: view ?? 0, augmenter: try augmenter(for: reader))
      return print(text, terminator: "")
    }
    let report = try report(of: reader)
    print(json ? try readableJSON(report) : report.text, terminator: "")
  }

  private func report(of reader: CacheReader) throws -> Inspection {
    var progress = try ProgressLine("inspect", unit: "block", total: reader.storedBlocks().count)
    defer { progress.clear() }
    return try Inspection(of: reader) { done, _ in progress.update(done: done) }
  }

  /// Without `--data`, a data set that is not on this machine, or another one of that name, only costs
  /// the picture.
  private func augmenter(for reader: CacheReader) throws -> Augmenter? {
    if let data { return try matchingAugmenter(for: reader, openDataSetWithProgress(data)) }
    guard let dataSet = try? openDataSet(reader.manifest.dataSet.name) else { return nil }
    return try? matchingAugmenter(for: reader, dataSet)
  }
}
