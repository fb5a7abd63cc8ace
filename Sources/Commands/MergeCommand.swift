import ArgumentParser
import Basics
import LogitCache
import Pipelines

struct MergeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "merge",
    abstract: "Join the shards of a cache into one, and seal it when it is complete.",
    discussion: """
      Takes any caches of the same job, in any order: sealed or unfinished, also with common blocks where \
      these are equal. Every block is checked. When blocks are missing, the merged cache stays unfinished; \
      run the same command again with more shards, or finish it with precompute.
      """)

  @Argument(help: "The merged cache: a folder to create or to continue.")
  var cache: String

  @Argument(help: "The caches to join; they are only read.")
  var inputs: [String]

  @Flag(help: "Print the result as JSON (schemas/merge.schema.json).")
  var json = false

  func run() throws {
    Interruption.install()
    let report = try withProgress("merge", unit: "block") {
      try mergeCaches(inputs, into: cache, progress: $0)
    }
    if json { return print(try readableJSON(report), terminator: "") }
    let what = "\(cache): \(counted(report.blocks, "block")), \(counted(report.records, "record"))"
    if let digest = report.cacheDigest {
      print("\(what), sealed, digest \(digest)")
    } else {
      print(
        "\(what); not sealed: \(counted(report.missingBlocks, "block")) missing, the first is "
          + "\(report.firstMissing ?? "unknown"); 'status --missing' names the shards")
    }
  }
}
