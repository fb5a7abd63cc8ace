import ArgumentParser
import Basics
import Pipelines
import Teachers

struct ImportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Make a cache of rows that you already have, without a teacher.",
    discussion: """
      Full rows: --logits FILE, floating-point numbers [samples, classes] or [samples, views, classes]. \
      Sparse rows: --ids, --values and --log-sum-exp, the best classes of every row, their logits, and the \
      log-sum-exp of all its logits; shapes as above, with the ids of a row instead of the classes, and no \
      last axis for the log-sum-exp. FILE is an .npy file, a safetensors file with one array, or \
      FILE.safetensors:ARRAY.

      Rows at several positions of a view (time steps, tokens, proposals): an axis of positions before the classes, and \
      --positions every; or --counts, how many of them count in each view; or all rows one after the other, \
      [rows, classes] in the order of samples, views and positions, with --counts and perhaps --positions FILE. \
      'export' writes the latter.

      With --data the cache belongs to that data set, and 'train' works on it: row i, view v must be what \
      the teacher said about view v of sample i as --recipe and --seed make it. Without --data nobody knows \
      what the teacher saw: the cache can be inspected, verified, derived from, compared and exported, and \
      read by other programs, but not trained on here.

      The same command after any interruption goes on where it stopped and ends with the same cache digest.
      """)

  @Argument(help: "The cache: a folder to create or to continue.")
  var cache: String

  @OptionGroup(title: "Full rows") var full: FullRowOptions

  @OptionGroup(title: "Sparse rows") var sparse: SparseRowOptions

  @Flag(help: "Views are the first axis and samples the second: [views, samples, classes].")
  var viewsFirst = false

  @OptionGroup(title: "Rows at several positions of a view") var position: PositionOptions

  @Option(
    help: """
      The labels, integers [samples], or [samples, positions] with those below 0 for none. Needed without \
      --data, compared with it.
      """)
  var labels: String?

  @Option(help: "The data set that the rows belong to: a preset or a YAML file.")
  var data: String?

  @Option(
    help: "With --data: the recipe of the views, a YAML file; samples as they are without it.")
  var recipe: String?

  @Option(help: "With --data: the seed of the views. Default: 1.")
  var seed: UInt64?

  @Option(help: "Without --data: the class names, a text file with one a line.")
  var classNames: String?

  @Option(help: "Without --data: a name for the samples. Default: imported rows.")
  var name: String?

  @Option(help: "A name for the teacher.")
  var teacherName: String?

  @OptionGroup var record: RecordOptions

  @OptionGroup var making: MakingOptions

  @Flag(help: "Print the result as JSON (schemas/import.schema.json).")
  var json = false

  func validate() throws {
    _ = try (rows(), position.settings)
    guard data != nil || (recipe == nil && seed == nil) else {
      throw ValidationError("--recipe and --seed belong to --data")
    }
    guard data == nil || (classNames == nil && name == nil) else {
      throw ValidationError(
        "--class-names and --name are the data set's: leave them out with --data")
    }
    guard data != nil || labels != nil else {
      throw ValidationError("rows need labels: give --labels, or the data set with --data")
    }
    guard (seed ?? 0) < 1 << 63 else { throw ValidationError("--seed must be below 2^63") }
  }

  func run() throws {
    Interruption.install()
    let report = try importRows(job())
    if json { return print(try readableJSON(report), terminator: "") }
    printResult(report.made, of: cache)
  }

  private func job() throws -> ImportJob {
    var job = ImportJob(
      try rows(), kept: record.kept, making: making.making("import", cache))
    job.viewsFirst = viewsFirst
    job.positions = try position.settings
    job.labels = labels
    job.views = data.map { ImportJob.Views(data: $0, recipe: recipe, seed: seed ?? 1) }
    job.classNames = classNames
    job.name = name
    job.teacherName = teacherName
    return job
  }

  /// - Throws: `ValidationError` when the options describe neither kind of rows, or both.
  private func rows() throws -> ImportJob.Rows {
    let (full, sparse) = (try full.rows, try sparse.rows)
    guard let rows = full ?? sparse, full == nil || sparse == nil else {
      throw ValidationError(
        "give full rows with --logits, or sparse ones with --ids, --values and --log-sum-exp")
    }
    return rows
  }
}

/// Full rows of `import`.
struct FullRowOptions: ParsableArguments {
  @Option(help: "The rows: float16, bfloat16, float32 or float64.")
  var logits: String?

  @Option(
    help: """
      What the rows are: logits, log-probabilities, probabilities (softmax) or sigmoid. Default: \
      logits, unless they look like probabilities: then it must be said.
      """)
  var kind: OutputKind?

  @Option(
    help: """
      The teacher's features, one axis of any length instead of the classes: their norms and class means are \
      kept, for losses nd and cosine.
      """)
  var features: String?

  var rows: ImportJob.Rows? {
    get throws {
      guard let logits else {
        guard kind == nil, features == nil else {
          throw ValidationError("--kind and --features belong to --logits")
        }
        return nil
      }
      return .full(values: logits, kind: kind, features: features)
    }
  }
}

/// Where the rows of `import` are.
struct PositionOptions: ParsableArguments {
  @Option(
    help: """
      every: arrays have an axis of positions, all of which count. FILE: with --counts, the position of each of \
      all rows, integers [rows]; the first ones without it.
      """)
  var positions: String?

  @Option(help: "How many rows each view has, integers [samples] or [samples, views].")
  var counts: String?

  @Option(
    help: """
      With --counts and rows one after the other, where labels do not say it: the positions that a view can have. \
      Default: as many as occur, at least 2.
      """)
  var maxPositions: Int?

  /// What they say; `nil` for one row a view.
  var settings: ImportJob.Positions? {
    get throws {
      guard counts == nil else {
        guard positions != "every" else {
          throw ValidationError("--positions every goes without --counts, which count fewer")
        }
        return ImportJob.Positions(counts: counts, places: positions, maximum: maxPositions)
      }
      guard maxPositions == nil else {
        throw ValidationError("--max-positions belongs to --counts")
      }
      guard positions == nil || positions == "every" else {
        throw ValidationError("--positions FILE needs --counts: how many rows each view has")
      }
      return positions.map { _ in ImportJob.Positions() }
    }
  }
}

/// Sparse rows of `import`.
struct SparseRowOptions: ParsableArguments {
  @Option(help: "The best classes of every row, integers, in descending order of their logits.")
  var ids: String?

  @Option(help: "Their logits.")
  var values: String?

  @Option(help: "The log-sum-exp of all logits of every row, float32 or float64, in nats.")
  var logSumExp: String?

  @Option(help: "The logit of every row's label, for rows whose label is not among their ids.")
  var labelLogits: String?

  @Option(
    help: """
      The place of every row's label among all classes, 0 for the best, for rows whose label is not among \
      their ids.
      """)
  var labelRanks: String?

  @Option(help: "The number of classes, where neither --class-names nor --data says it.")
  var classes: Int?

  func validate() throws {
    guard classes.map({ $0 >= 1 }) ?? true else {
      throw ValidationError("--classes must be at least 1")
    }
  }

  var rows: ImportJob.Rows? {
    get throws {
      guard let ids, let values, let logSumExp else {
        let given = [ids, values, logSumExp, labelLogits, labelRanks].contains { $0 != nil }
        guard !given, classes == nil else {
          throw ValidationError("sparse rows need --ids, --values and --log-sum-exp")
        }
        return nil
      }
      return .sparse(
        ImportJob.SparseFiles(
          ids: ids, values: values, logSumExp: logSumExp, labelLogits: labelLogits,
          labelRanks: labelRanks, classes: classes))
    }
  }
}

extension OutputKind: ExpressibleByArgument {}
