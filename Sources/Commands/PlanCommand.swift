import ArgumentParser
import Basics
import LogitCache
import Pipelines
import Reports

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Say how large, how exact and how long in the making caches of a job would be.",
    discussion: """
      Runs the teacher once over a sample of views and prints, for several k and subspace tails, bytes of \
      a record and of the whole cache, hours, and errors against full rows. With --loss, --max-error or --budget it \
      chooses one and prints the command that makes it: the smallest cache whose mean errors are within \
      bounds, or, with --budget alone, the most exact one that fits. Exit code 69 when none does. Subspace \
      tails are left out, with a note, where the sample has too few records for them.

      With --paper it runs nothing: sizes from the format and from teachers that were measured, for \
      --samples, --views, --positions, --classes and --k, and of subspace tails on --axes.
      """)

  @OptionGroup var job: JobOptions

  @Option(
    name: .customLong("k"),
    help: "Heads to compare, separated by commas; default: 5,10,20,50,100 and all of few classes.",
    transform: parseHeads)
  var heads: [Int]?

  @Option(
    help: """
      Steps of subspace tails to compare, in nats, separated by commas, each beside a head of 10; none \
      for no tails. Default: 4,8 for more than 64 classes.
      """,
    transform: parseSteps)
  var tailSteps: [SubspaceTail]?

  @Option(
    help: """
      Rankings to compare, beside every head that leaves classes out: none; full, the exact order of these \
      classes.
      """)
  var ranking = RankingKind.none

  @Option(help: "How many records the teacher is run for.")
  var sampleRows = 4096

  @Option(
    help: """
      Losses whose errors matter, separated by commas: pld,kd@4. Default: kd at the planned \
      temperatures and pld.
      """)
  var loss: String?

  @Option(
    help:
      "No mean error may be larger; default with --loss and without --budget: what train accepts."
  )
  var maxError: Double?

  @Option(help: "The largest cache: 10GB, 500MB, 2TiB.", transform: parseBudget)
  var budget: Int?

  @Flag(help: "Run nothing: work out sizes from --samples, --views, --classes and --k.")
  var paper = false

  @Option(help: "With --paper: samples of the data set.")
  var samples: Int?

  @Option(help: "With --paper: records of a view, 1 to 4096. Default: 1.")
  var positions: Int?

  @Option(help: "With --paper: classes of the teacher.")
  var classes: Int?

  @Option(
    help: """
      With --paper: axes of subspace tails, at most the width of the teacher's last layer; sizes for \
      steps 8 and 4.
      """)
  var axes: Int?

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print the report as JSON (schemas/plan.schema.json).")
  var json = false

  func validate() throws {
    if paper {
      guard samples != nil, classes != nil else {
        throw ValidationError("--paper needs --samples and --classes")
      }
      guard job.data == nil, job.teacher == nil, job.recipe == nil, loss == nil, maxError == nil,
        budget == nil, tailSteps == nil, ranking == .none
      else {
        throw ValidationError(
          "--paper runs nothing: leave out data, teacher, bounds, --tail-steps and --ranking")
      }
      return
    }
    _ = try job.needed
    guard samples == nil, classes == nil, axes == nil, positions == nil else {
      throw ValidationError("--samples, --positions, --classes and --axes belong to --paper")
    }
    guard sampleRows >= 2 else { throw ValidationError("--sample-rows must be at least 2") }
    guard maxError.map({ $0 > 0 }) ?? true else {
      throw ValidationError("--max-error must be above 0")
    }
  }

  func run() throws {
    if paper { return try printPaper() }
    Interruption.install()
    let making = CacheMaking(
      command: "plan", cache: "", threads: threads.threads, commitSeconds: 0)
    let report = try plan(
      PlanJob(
        job.job(making: making), heads: heads, tails: tailSteps,
        ranking: ranking == .full ? .full : nil, sampleRecords: sampleRows,
        losses: loss.map { $0.split(separator: ",").map(String.init) } ?? [],
        maximumError: maxError, budget: budget))
    print(json ? try readableJSON(report) : report.text, terminator: "")
    if let problem = report.problem { throw problem }
  }

  private func printPaper() throws {
    let report = try PaperPlan(
      samples: samples ?? 0, views: job.views, positions: positions ?? 1, classes: classes ?? 0,
      heads: heads ?? [10, 20, 50, 100], axes: axes)
    print(json ? try readableJSON(report) : report.text, terminator: "")
  }
}

/// Reads "5,10,20".
private func parseHeads(_ text: String) throws -> [Int] {
  try text.split(separator: ",", omittingEmptySubsequences: false).map {
    guard let k = Int($0), k >= 1 else {
      throw ValidationError("--k has '\($0)', it must be numbers from 1 on, such as 5,10,20")
    }
    return k
  }
}

/// Reads "4,8" or "none".
private func parseSteps(_ text: String) throws -> [SubspaceTail] {
  if text.isEmpty || text == "none" { return [] }
  return try text.split(separator: ",", omittingEmptySubsequences: false).map {
    guard let step = TailStep(argument: String($0)) else {
      throw ValidationError(
        "--tail-steps has '\($0)', it must be steps from 1/16 to 256 in sixteenths, such as 4,8")
    }
    return step.tail
  }
}

private func parseBudget(_ text: String) throws -> Int {
  guard let bytes = ByteCount.parse(text) else {
    throw ValidationError("--budget is '\(text)', it must be a size such as 10GB or 500MB")
  }
  return bytes
}
