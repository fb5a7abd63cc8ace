import BLAS
import Foundation

/// One comparison; ratio > 1 means that ours is better.
struct BenchmarkRow: Encodable {
  var `case`: String
  var ours: Double
  var peer: Double
  var ratio: Double
  var unit: String
  /// What work that cannot be left out takes on this machine, in `unit`, and how many times its time
  /// ours takes.
  var limit: Double?
  var timesLimit: Double?
  /// How far the two sides' results are apart, where they should be equal.
  var difference: BenchmarkDifference?

  /// A row where less is better: seconds, bytes.
  static func lessIsBetter(_ name: String, ours: Double, peer: Double, unit: String) -> BenchmarkRow
  {
    BenchmarkRow(case: name, ours: ours, peer: peer, ratio: peer / ours, unit: unit)
  }

  /// A row where more is better: records in a second; `limit` is the most that could be.
  static func moreIsBetter(
    _ name: String, ours: Double, peer: Double, unit: String, limit: Double
  ) -> BenchmarkRow {
    BenchmarkRow(
      case: name, ours: ours, peer: peer, ratio: ours / peer, unit: unit, limit: limit,
      timesLimit: limit / ours)
  }
}

extension BenchmarkRow {
  /// The row as aligned text.
  var text: String {
    let name = `case`.padding(toLength: max(`case`.count, 44), withPad: " ", startingAt: 0)
    var text =
      name + String(format: " ours %9.4f  peer %9.4f %@  ratio %7.3f", ours, peer, unit, ratio)
    if let timesLimit { text += String(format: "  %6.2f x limit", timesLimit) }
    if let difference {
      text += String(
        format: "  differs by %.0e (loss) %.0e (gradient)", difference.loss, difference.gradient)
    }
    return text
  }
}

/// Relative distances of two sides that compute the same thing.
struct BenchmarkDifference: Encodable {
  var loss: Double
  var gradient: Double
}

/// A bound that a measured figure should keep.
struct BenchmarkTarget: Encodable {
  var name: String
  var bound: Double
  /// Whether the figure should be at most the bound, instead of at least.
  var isUpper: Bool
  var measured: Double
  var isMet: Bool

  init(name: String, bound: Double, isUpper: Bool, measured: Double) {
    self.name = name
    self.bound = bound
    self.isUpper = isUpper
    self.measured = measured
    isMet = isUpper ? measured <= bound : measured >= bound
  }

  /// The target in a line.
  var text: String {
    let verdict =
      isMet ? "met" : String(format: "missed by %.0f %%", 100 * abs(measured / bound - 1))
    return String(
      format: "%@: %.2f (%@ %g) %@", name, measured, isUpper ? "at most" : "at least", bound,
      verdict)
  }
}

/// What a run of one benchmark came to.
struct BenchmarkReport: Encodable {
  struct Machine: Encodable {
    var cpu: String
    var threads: Int
    var blasCore: String
    /// What was built, and the compiler flags beyond the package's own.
    var commit: String
    var flags: String

    static func current(commit: String, flags: String) -> Machine {
      return Machine(
        cpu: CPU.name, threads: ProcessInfo.processInfo.activeProcessorCount,
        blasCore: BLASCore.active, commit: commit, flags: flags)
    }
  }

  var bench: String
  var machine: Machine
  /// How it was measured, where there is more to say than the machine.
  var setup: [String: String]?
  var rows: [BenchmarkRow] = []
  var targets: [BenchmarkTarget]?
  /// Of `rate`, per k.
  var rates: [RateResult]?

  /// The rows as aligned text.
  var table: String {
    var text =
      "\(bench) on \(machine.cpu), \(machine.threads) threads, OpenBLAS \(machine.blasCore), "
      + "commit \(machine.commit), flags \(machine.flags)\n"
    for (key, value) in (setup ?? [:]).sorted(by: { $0.key < $1.key }) {
      text += "  \(key): \(value)\n"
    }
    for row in rows { text += "  \(row.text)\n" }
    for rate in rates ?? [] { text += "  \(rate.text)\n" }
    for target in targets ?? [] { text += "  target \(target.text)\n" }
    return text
  }
}
