import Foundation

/// The least nanoseconds of one call of `body`: the other times are the same work, disturbed.
///
/// Samples last at least a millisecond; at least five are taken, and more until `seconds` are over.
func fastest(seconds: Double, _ body: () throws -> Void) rethrows -> Double {
  let clock = ContinuousClock()
  func sample(_ calls: Int) throws -> Double {
    let elapsed = try clock.measure { for _ in 0..<calls { try body() } }
    return elapsed / .nanoseconds(1) / Double(calls)
  }
  _ = try sample(1)
  let calls = Int(1e6 / max(try sample(1), 1)) + 1
  let end = clock.now.advanced(by: .seconds(seconds))
  var least = Double.infinity
  var samples = 0
  while samples < 5 || clock.now < end {
    least = min(least, try sample(calls))
    samples += 1
  }
  return least
}

/// What all cores of the machine have done so far, in clock ticks of `/proc/stat`.
///
/// Says whether a measurement had the machine to itself; the load average lags by minutes.
struct CPUTime {
  private let busy: Double
  private let total: Double

  static var now: CPUTime {
    let text = (try? String(contentsOfFile: "/proc/stat", encoding: .utf8)) ?? ""
    // "cpu user nice system idle iowait irq softirq steal guest guest_nice"; user holds guest.
    let ticks = text.prefix { $0 != "\n" }.split(separator: " ").compactMap { Double($0) }.prefix(8)
    let total = ticks.reduce(0, +)
    let idle = ticks.dropFirst(3).prefix(2).reduce(0, +)
    return CPUTime(busy: total - idle, total: total)
  }

  /// How many cores were busy on average since then, this program's included.
  var busyCores: String {
    let now = Self.now
    let cores = ProcessInfo.processInfo.processorCount
    let share = (now.busy - busy) / (now.total - total)
    return String(format: "%.2f of %d cores, one by this run", share * Double(cores), cores)
  }
}
