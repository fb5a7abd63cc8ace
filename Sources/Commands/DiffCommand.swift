import ArgumentParser
import Basics
import LogitCache
import Pipelines
import Reports

struct DiffCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff",
    abstract: "Compare two caches of the same views, record by record.",
    discussion: """
      Two teachers, two machines, or a cache and one derived from it. Data set, classes, recipe and seed \
      must be the same; views and records that both caches have are compared. Tails are spread evenly.
      """)

  @Argument(help: "The cache A.")
  var a: String

  @Argument(help: "The cache B; KL is KL(A || B).")
  var b: String

  @Option(help: "How many of the worst classes and records to name.")
  var worst = 10

  @Flag(help: "Print the report as JSON (schemas/diff.schema.json).")
  var json = false

  func validate() throws {
    guard (0...10_000).contains(worst) else {
      throw ValidationError("--worst must be in 0...10000")
    }
  }

  func run() throws {
    Interruption.install()
    let diff = try withProgress("diff", unit: "record") {
      try CacheDiff(CacheReader(path: a), CacheReader(path: b), worst: worst, progress: $0)
    }
    print(json ? try readableJSON(diff) : diff.text, terminator: "")
  }
}
