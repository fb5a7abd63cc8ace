import BLAS
import Foundation

/// One comparison; ratio > 1 means that ours is better.
struct BenchmarkRow: Encodable {
  var `case`: String
  var ours: Double
  var peer: Double
  var ratio: Double
  var unit: String

  /// A row where less is better: seconds, bytes.
  static func lessIsBetter(_ name: String, ours: Double, peer: Double, unit: String) -> BenchmarkRow
  {
    BenchmarkRow(case: name, ours: ours, peer: peer, ratio: peer / ours, unit: unit)
  }
}

/// What a run of one benchmark came to.
struct BenchmarkReport: Encodable {
  struct Machine: Encodable {
    var cpu: String
    var threads: Int
    var blasCore: String
    var commit: String

    static func current(commit: String) -> Machine {
      let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
      let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
      let cpu = line?.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) }
      return Machine(
        cpu: cpu ?? "unknown", threads: ProcessInfo.processInfo.activeProcessorCount,
        blasCore: BLASCore.active, commit: commit)
    }
  }

  var bench: String
  var machine: Machine
  var rows: [BenchmarkRow]

  /// The rows as aligned text.
  var table: String {
    var text =
      "\(bench) on \(machine.cpu), \(machine.threads) threads, OpenBLAS \(machine.blasCore), commit \(machine.commit)\n"
    for row in rows {
      text += String(
        format: "  %-44@ ours %10.4f  peer %10.4f  ratio %6.3f  (%@)\n", row.case as NSString,
        row.ours, row.peer, row.ratio, row.unit as NSString)
    }
    return text
  }
}
