import ArgumentParser
import Basics
import LogitCache
import Pipelines

/// Where a cache is made, and how; of `precompute` and `import`.
struct MakingOptions: ParsableArguments {
  @Option(help: "Seconds of work between commits: what a kill can cost.")
  var commitSeconds = 5.0

  @Option(
    help: ArgumentHelp(
      "Make one part of the work: I/N, I in 1...N; or slurm, slurm/N.", valueName: "I/N"),
    transform: parseShard)
  var shard: Shard?

  @Option(
    help: ArgumentHelp(
      "Take what was learned from this cache of the same job, such as another part.",
      valueName: "cache"))
  var calibration: String?

  @OptionGroup var threads: ThreadOptions

  func validate() throws {
    guard commitSeconds >= 0 else { throw ValidationError("--commit-seconds must not be negative") }
  }

  /// How a command makes its cache.
  func making(_ command: String, _ cache: String) -> CacheMaking {
    CacheMaking(
      command: command, cache: cache, threads: threads.threads, commitSeconds: commitSeconds,
      shard: shard, calibration: calibration)
  }
}

/// Prints what a command made of its cache.
func printResult(_ made: PrecomputeResult, of cache: String) {
  if let digest = made.cacheDigest {
    print("\(cache): sealed, \(counted(made.records, "record")), digest \(digest)")
  } else if let shard = made.shard {
    print(
      "\(cache): shard \(shard) done: \(counted(made.blocks, "block")), "
        + "\(counted(made.records, "record")); merge the shards")
  }
}
