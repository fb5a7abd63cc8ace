import ArgumentParser
import Basics
import LogitCache
import Reports

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Print how much of a cache is there, over one folder or all its shards.",
    discussion: """
      --missing prints only the shards that are not done, ready for sbatch: \
      sbatch --array=$(logitcache status runs/shard-* --shards 16 --missing). It prints an empty line \
      when all are done. Folders in which nothing was stored yet count as not begun.
      """)

  @Argument(help: "The caches: one, or the shards of one.")
  var caches: [String]

  @Option(help: "The number of shards, when the folders do not name it.")
  var shards: Int?

  @Flag(help: "Print only the numbers of the shards that are not done: 3,7,12-15.")
  var missing = false

  @Flag(help: "Print the report as JSON (schemas/status.schema.json).")
  var json = false

  func validate() throws {
    guard shards.map({ (1...Shard.limit).contains($0) }) ?? true else {
      throw ValidationError("--shards must be in 1...\(Shard.limit)")
    }
    guard !missing || !json else { throw ValidationError("--missing and --json are two forms") }
  }

  func run() throws {
    let status = try CacheStatus(of: caches, shards: shards)
    if json { return print(try readableJSON(status), terminator: "") }
    if !missing { return print(status.text, terminator: "") }
    guard let list = status.missingShards else {
      throw Problem(.usage, "the caches do not say how many shards there are: give --shards N")
    }
    print(list)
  }
}
