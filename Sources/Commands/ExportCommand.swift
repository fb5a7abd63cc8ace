import ArgumentParser
import Basics
import Pipelines

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write records of a cache to a file that other programs read.",
    discussion: """
      The name of the file says what is written: FILE.npy, full rows [samples, views, classes]; \
      FILE.safetensors, the fields of the records: ids, logits, log-sum-exp, log-tail-ratios, labels, \
      label-logits, label-ranks, feature-norms and ranking where kept, samples, views; or with --full-rows \
      logits [samples, views, classes] and labels; FILE.jsonl, or - for standard output, one line of JSON a \
      record. With --view the axis of views falls away.

      Records at several positions of a view lie one after the other, in the order of samples, views and positions: \
      arrays have an axis of records instead of those of samples and views. Safetensors files say where they belong: \
      counts, how many each view has [samples, views]; record-samples, record-views and record-positions.

      Full rows are those that the cache keeps: all of them with k = C, rebuilt from a subspace tail, else \
      none, unless --missing uniform spreads the mass of the classes outside --k evenly. 'import' reads the \
      files back.
      """)

  @Argument(help: "The cache.")
  var cache: String

  @Option(
    help: "The file to write: FILE.npy, FILE.safetensors, FILE.jsonl, or - for standard output.")
  var out: String

  @Option(help: "One view, from 0; or all.")
  var view = ViewChoice.all

  @Option(help: "Samples a:b, from 0, without b. Default: all.")
  var samples: SampleRange?

  @Flag(help: "Write full rows to a safetensors file.")
  var fullRows = false

  @Option(
    help: """
      What stands for logits that the cache does not keep: none, which refuses full rows; uniform, the mass \
      outside --k at T = 1, spread evenly.
      """)
  var missing = MissingKind.none

  @Flag(help: "Export an unfinished cache too; blocks that are missing are refused.")
  var unfinished = false

  @Flag(help: "Replace an existing file.")
  var force = false

  @Flag(help: "Print what was written as JSON (schemas/export.schema.json).")
  var json = false

  func validate() throws {
    let format = try format()
    guard !fullRows || format != .jsonl else {
      throw ValidationError("--full-rows writes FILE.npy or FILE.safetensors, not JSON lines")
    }
    guard missing == .none || format == .npy || format == .fullRows else {
      throw ValidationError(
        "--missing belongs to full rows: FILE.npy, or --full-rows with FILE.safetensors")
    }
    guard out != "-" || !json else {
      throw ValidationError("--json prints the report where --out - prints the records: choose one")
    }
  }

  func run() throws {
    Interruption.install()
    var job = ExportJob(cache: cache, out: out == "-" ? nil : out, format: try format())
    if case .one(let view) = view { job.view = view }
    job.samples = samples?.range
    job.fillsEvenly = missing == .uniform
    job.allowsUnfinished = unfinished
    job.replaces = force
    let report = try exportRecords(job)
    if json { return print(try readableJSON(report), terminator: "") }
    if out != "-" {
      print("\(out): \(counted(report.records, "record")), \(counted(report.bytes, "byte"))")
    }
  }

  private func format() throws -> ExportJob.Format {
    if out == "-" || out.hasSuffix(".jsonl") { return .jsonl }
    if out.hasSuffix(".npy") { return .npy }
    if out.hasSuffix(".safetensors") { return fullRows ? .fullRows : .safetensors }
    throw ValidationError(
      "'\(out)' does not say what to write: FILE.npy, FILE.safetensors, FILE.jsonl, or -")
  }
}

/// What stands for logits that a cache does not keep.
enum MissingKind: String, ExpressibleByArgument, CaseIterable {
  case none
  case uniform
}

/// One view, or all.
enum ViewChoice: ExpressibleByArgument {
  case all
  case one(Int)

  init?(argument: String) {
    if argument == "all" {
      self = .all
    } else if let view = Int(argument), view >= 0 {
      self = .one(view)
    } else {
      return nil
    }
  }

  var defaultValueDescription: String { if case .one(let view) = self { "\(view)" } else { "all" } }
}

/// Samples such as 100:200, the last one left out.
struct SampleRange: ExpressibleByArgument {
  let range: Range<Int>

  init?(argument: String) {
    let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, let first = Int(parts[0]), let end = Int(parts[1]), 0 <= first,
      first < end
    else { return nil }
    range = first..<end
  }
}
