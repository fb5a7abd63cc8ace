import ArgumentParser
import BLAS
import Basics
import ChildProcess
import Foundation

/// The command line: one subcommand per file of this folder.
struct LogitCacheCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logitcache",
    abstract: "Run a teacher once, keep what it said, train any number of students from it.",
    discussion: """
      Exit codes: 0 done; 64 usage; 65 corrupt or mismatching data; 66 no input; 69 nothing fits \
      what plan was asked for, or a worker gave up; 73/74 cannot write; 75 interrupted, run \
      again; 78 bad configuration.
      """,
    subcommands: [
      PlanCommand.self, PrecomputeCommand.self, TrainCommand.self, EvaluateCommand.self,
      InspectCommand.self, VerifyCommand.self, StatusCommand.self, MergeCommand.self,
      DeriveCommand.self, DiffCommand.self, CompactCommand.self, ImportCommand.self,
      ExportCommand.self, MachineCommand.self,
    ])
}

/// Runs the program: parse, act, and end with the exit code that belongs to what happened.
public func runCommandLine() {
  BLASCore.restartWithDeservedCore()
  BLASCore.useOneThread()
  do {
    var command = try LogitCacheCommand.parseAsRoot()
    try command.run()
    try flushStandardOutput()
    ChildProcess.endAll()
  } catch let problem as Problem {
    printToStandardError("logitcache: \(problem)")
    ChildProcess.endAll()
    // Without what `exit` does at the end: it unloads OpenBLAS under threads that are still at a block.
    fflush(nil)
    _exit(problem.kind.rawValue)
  } catch {
    LogitCacheCommand.exit(withError: error)
  }
}

/// A result that a full disk cut off must not look like success.
private func flushStandardOutput() throws {
  guard fflush(nil) == 0 else {
    throw Problem(
      .inputOutput, "cannot write standard output: \(String(cString: strerror(errno)))")
  }
}

func printToStandardError(_ text: String) { StandardError.write(text + "\n") }
