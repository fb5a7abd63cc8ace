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

  @OptionGroup var job: JobOptions

  @Option(
    name: .customLong("k"), help: "Classes kept of every record; default: all up to 64, else 20.")
  var k: Int?

  @Option(help: "Seconds of work between commits: what a kill can cost.")
  var commitSeconds = 5.0

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print the result as JSON.")
  var json = false

  func validate() throws {
    _ = try job.job()
    guard k.map({ $0 >= 1 }) ?? true else { throw ValidationError("--k must be at least 1") }
    guard commitSeconds >= 0 else { throw ValidationError("--commit-seconds must not be negative") }
  }

  func run() throws {
    Interruption.install()
    let result = try precompute(
      job.job(k: k, cache: cache, threads: threads.threads, commitSeconds: commitSeconds))
    if json {
      print(try readableJSON(result), terminator: "")
    } else {
      print("\(cache): sealed, \(result.records) records, digest \(result.cacheDigest)")
    }
  }
}
