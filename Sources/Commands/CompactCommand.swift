import ArgumentParser
import Basics
import LogitCache

struct CompactCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compact",
    abstract: "Rewrite a cache without free pages, values in key order; its digest stays.",
    discussion: """
      The new files are made and checked in CACHE.compact, then take the place of the old ones. It takes \
      as much room again while it runs.
      """)

  @Argument(help: "The cache.")
  var cache: String

  @Flag(help: "Print the result as JSON (schemas/compact.schema.json).")
  var json = false

  func run() throws {
    let report = try compactCache(path: cache)
    if json { return print(try readableJSON(report), terminator: "") }
    let state = report.cacheDigest.map { "sealed, digest \($0)" } ?? "not sealed"
    print(
      "\(cache): \(counted(report.bytesBefore, "byte")) before, \(report.bytes) now, "
        + "\(counted(report.blocks, "block")); \(state)")
  }
}
