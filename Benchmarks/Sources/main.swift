import ArgumentParser
import BLAS
import Basics
import Foundation
import LogitCache

struct BenchmarkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure ours beside its peer in one run.")

  @Argument(help: "What to measure: losses, precompute, rate, replay, training.")
  var name: String

  @Argument(help: "The teacher whose rows 'rate' measures: ocr, ocrwide, soft1000.")
  var teacher = "ocr"

  @Option(help: "The commit to print in the result.")
  var commit = "unknown"

  @Option(parsing: .unconditional, help: "The compiler flags to print in the result.")
  var flags = "unknown"

  @Option(help: "A Python interpreter with what the peers in Benchmarks/Peers import.")
  var python = ".venv-bench/bin/python"

  @Option(help: "The folder of the teacher's rows.")
  var rows = ".venv-bench/rows"

  @Option(help: "The classes kept of a record, for 'rate', separated by commas.")
  var heads = "5,10,20,50,100"

  @Option(help: "Use only so many samples of the rows.")
  var samples: Int?

  @Option(help: "rate: what is kept of the rows: logits or log-probabilities.")
  var `as` = RowForm.logits.rawValue

  @Option(help: "rate: the calibration suits a job of so many records; default: the rows at hand.")
  var jobRecords: Int?

  @Option(help: "rate: keep each cache, as TEACHER-K in this folder.")
  var keep: String?

  @Option(help: "Measure gradients on so many batches; 8, or 2 for many classes.")
  var batches: Int?

  @Flag(help: "Keep the order of all classes too, for 'rate'.")
  var ranking = false

  @Option(help: "Keep full rows too, for 'rate': the step of a subspace tail, in nats.")
  var tailStep: Double?

  @Option(help: "replay: the records of each cache.")
  var records = 131_072

  @Option(help: "replay: how many records are read alone, at random.")
  var lone = 500

  @Option(help: "replay: seconds of trying for each side, order and round.")
  var seconds = 0.5

  @Option(help: "precompute: the character reader's ONNX file; without it only the native teacher.")
  var model: String?

  @Option(
    name: .customLong("onnxruntime"), help: "precompute: ONNX Runtime's library or its folder.")
  var onnxRuntime: String?

  @Option(help: "precompute: records of the native teacher's cache.")
  var nativeRecords = 32_768

  @Option(help: "precompute: records of the ONNX teacher's cache.")
  var onnxRecords = 8192

  @Option(help: "precompute: how often both sides run, in turn.")
  var rounds = 3

  @Option(help: "Keep the result as Benchmarks/runs/NAME.json.")
  var save: String?

  @Flag(help: "Print the result as one JSON object on standard output.")
  var json = false

  func run() throws {
    var report = BenchmarkReport(bench: name, machine: .current(commit: commit, flags: flags))
    switch name {
    case "losses": try lossesBenchmark(python: python, into: &report)
    case "precompute":
      try precomputeBenchmark(
        OverheadSettings(
          model: model, onnxRuntime: onnxRuntime, nativeRecords: nativeRecords,
          onnxRecords: onnxRecords, rounds: rounds), into: &report)
    case "rate": try rateBenchmark(try rateSettings(), into: &report)
    case "replay":
      try replayBenchmark(
        ReplaySettings(records: records, lone: lone, seconds: seconds), python: python,
        into: &report)
    case "training": report.rows = try trainingBenchmark()
    default:
      throw ValidationError(
        "there is no benchmark '\(name)'; choose losses, precompute, rate, replay or training")
    }
    FileHandle.standardError.write(Data(report.table.utf8))
    if json { print(try canonicalJSON(report)) }
    if let save {
      try Files.writeAtomically(
        try canonicalJSON(report) + "\n", to: "Benchmarks/runs/\(save).json")
    }
  }

  private func rateSettings() throws -> RateSettings {
    let numbers = heads.split(separator: ",").map { Int($0) ?? 0 }
    guard !numbers.isEmpty, numbers.allSatisfy({ $0 > 0 }) else {
      throw ValidationError("--heads is '\(heads)'; write numbers such as 5,10,20")
    }
    let tail = tailStep.flatMap { SubspaceTail(step: $0) }
    if let tailStep, tail == nil {
      throw ValidationError("--tail-step is \(tailStep); write a multiple of 1/16, 0.0625 to 256")
    }
    guard let form = RowForm(rawValue: `as`) else {
      throw ValidationError("--as is '\(`as`)'; choose logits or log-probabilities")
    }
    if let jobRecords, jobRecords < 1 { throw ValidationError("--job-records is not positive") }
    return RateSettings(
      folder: rows, teacher: teacher, heads: numbers, samples: samples, batches: batches,
      tail: tail, ranking: ranking ? .full : nil, form: form, jobRecords: jobRecords, keep: keep)
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
