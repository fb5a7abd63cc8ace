import ArgumentParser
import BLAS
import Basics
import Foundation

struct BenchmarkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure ours beside its peer in one run.")

  @Argument(help: "What to measure: replay.")
  var name: String

  @Option(help: "The commit to print in the result.")
  var commit = "unknown"

  @Flag(help: "Print the result as one JSON object on standard output.")
  var json = false

  func run() throws {
    let rows: [BenchmarkRow] =
      switch name {
      case "replay": try replayBenchmark()
      default:
        throw ValidationError("there is no benchmark '\(name)'; choose replay")
      }
    let report = BenchmarkReport(bench: name, machine: .current(commit: commit), rows: rows)
    FileHandle.standardError.write(Data(report.table.utf8))
    if json { print(try canonicalJSON(report)) }
  }
}

BLASCore.restartWithDeservedCore()
BLASCore.useOneThread()
do {
  var command = try BenchmarkCommand.parseAsRoot()
  try command.run()
} catch let problem as Problem {
  FileHandle.standardError.write(Data("bench: \(problem)\n".utf8))
  exit(problem.kind.rawValue)
} catch {
  BenchmarkCommand.exit(withError: error)
}
