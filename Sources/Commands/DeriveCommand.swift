import ArgumentParser
import Basics
import Foundation
import LogitCache
import Pipelines

struct DeriveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "derive",
    abstract: "Make a smaller cache out of a sealed one, without the teacher.",
    discussion: """
      Fewer classes of every record, fewer views, coarser steps, or a subset of the classes. The new cache \
      names the old one; its certificate is an upper bound of the error against the teacher's rows.
      """)

  @Argument(help: "The derived cache: a folder to create or to continue.")
  var cache: String

  @Option(name: .customLong("from"), help: "The sealed cache to derive from.")
  var source: String

  @Option(name: .customLong("k"), help: "Classes to keep of every record.")
  var k: Int?

  @Option(help: "Keep the first so many views.")
  var views: Int?

  @Option(help: "Steps of a gap in one nat; must divide the source's.")
  var stepsPerNat: Int?

  @Option(
    help: """
      Classes to keep: names or numbers with commas between, or a file with one a line; every label must \
      be among them, and the source must keep all classes.
      """)
  var classes: String?

  @Flag(help: "Leave out the norms and class means of the teacher's features.")
  var withoutFeatures = false

  @Flag(help: "Leave out the order of the classes outside --k.")
  var withoutRanking = false

  @Flag(help: "Print the result as JSON (schemas/derive.schema.json).")
  var json = false

  func run() throws {
    Interruption.install()
    let report = try derive()
    if json { return print(try readableJSON(report), terminator: "") }
    print(
      "\(cache): sealed, \(counted(report.records, "record")), "
        + "\(counted(report.storedBytes, "byte")) of blocks, digest \(report.cacheDigest)")
  }

  private func derive() throws -> DeriveReport {
    let names = try classes.map {
      try parseClasses($0, names: CacheReader(path: source).manifest.dataSet.classNames)
    }
    let derivation = Derivation(
      k: k, views: views, stepsPerNat: stepsPerNat, classes: names,
      dropsFeatures: withoutFeatures, dropsRanking: withoutRanking)
    return try withProgress("derive", unit: "block") {
      try deriveCache(from: source, into: cache, keeping: derivation, progress: $0)
    }
  }
}

/// Reads a list of classes: a file with one a line, or one text with commas between; names come before
/// numbers.
///
/// - Throws: `Problem(.usage)` naming what is no class.
private func parseClasses(_ text: String, names: [String]) throws -> [Int] {
  let words =
    Files.exists(text)
    ? String(decoding: try Files.read(text), as: UTF8.self).split(whereSeparator: \.isNewline)
    : text.split(separator: ",")
  let numbers = Dictionary(names.enumerated().map { ($1, $0) }) { first, _ in first }
  return try words.map { word in
    let word = word.trimmingCharacters(in: .whitespaces)
    if let number = numbers[word] { return number }
    guard let number = Int(word), names.indices.contains(number) else {
      throw Problem(
        .usage,
        "--classes: '\(word)' is no class of the cache: give names, or numbers in 0..<\(names.count)"
      )
    }
    return number
  }
}
