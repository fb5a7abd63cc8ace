import ArgumentParser
import Basics
import LogitCache
import Pipelines

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Re-read every block of a cache and check its digests and structure.",
    discussion: "Exits with 65 and names the block when anything is off.")

  @Argument(help: "The cache.")
  var cache: String

  @Flag(help: "Print the result as JSON (schemas/verify.schema.json).")
  var json = false

  func run() throws {
    let report = try verifyWithProgress()
    if json { return print(try readableJSON(report), terminator: "") }
    let state =
      report.cacheDigest.map { "sealed, digest \($0)" }
      ?? "not sealed, \(counted(report.missingBlocks, "block")) missing"
    print(
      "\(cache): \(counted(report.blocks, "block")), \(counted(report.records, "record")), "
        + "every digest right; \(state)"
    )
  }

  private func verifyWithProgress() throws -> VerifyReport {
    var progress: ProgressLine?
    defer { progress?.clear() }
    return try verifyCache(path: cache) { done, total in
      if progress == nil { progress = ProgressLine("verify", unit: "block", total: total) }
      progress?.update(done: done)
    }
  }
}
