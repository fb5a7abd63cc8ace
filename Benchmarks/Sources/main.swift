import ArgumentParser
import BLAS
import Basics
import Foundation

struct BenchmarkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure ours beside its peer in one run.")

  @Argument(help: "What to measure: losses, replay.")
  var name: String

  @Option(help: "The commit to print in the result.")
  var commit = "unknown"

  @Option(parsing: .unconditional, help: "The compiler flags to print in the result.")
  var flags = "unknown"

  @Option(help: "A Python interpreter with PyTorch, the peer of the losses.")
  var python = ".venv-bench/bin/python"

  @Option(help: "Keep the result as Benchmarks/runs/NAME.json.")
  var save: String?

  @Flag(help: "Print the result as one JSON object on standard output.")
  var json = false

  func run() throws {
    var report = BenchmarkReport(bench: name, machine: .current(commit: commit, flags: flags))
    switch name {
    case "losses": try lossesBenchmark(python: python, into: &report)
    case "replay": report.rows = try replayBenchmark()
    default:
      throw ValidationError("there is no benchmark '\(name)'; choose losses or replay")
    }
    FileHandle.standardError.write(Data(report.table.utf8))
    if json { print(try canonicalJSON(report)) }
    if let save {
      try Files.writeAtomically(
        try canonicalJSON(report) + "\n", to: "Benchmarks/runs/\(save).json")
    }
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
