import Basics
import Foundation

/// Progress of a long command on standard error: a rewritten line with rate and time left on a
/// terminal, a plain line every ten seconds elsewhere.
public struct ProgressLine {
  private let label: String
  private let one: String
  private let many: String
  private let total: Int
  private let first: Int
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant
  private var last: ContinuousClock.Instant

  /// Starts at `done` of `total` units.
  ///
  /// - Parameters:
  ///   - unit: what is counted, one of them: "block".
  ///   - plural: several of them, where that is not the unit with an s.
  public init(
    _ label: String, unit: String, plural: String? = nil, total: Int, done: Int = 0
  ) {
    self.label = label
    one = unit
    many = plural ?? unit + "s"
    self.total = total
    first = done
    start = clock.now
    last = clock.now
  }

  /// Shows progress when the last line is old enough.
  public mutating func update(done: Int) {
    let now = clock.now
    guard now - last >= (isTerminal ? .milliseconds(200) : .seconds(10)) else { return }
    last = now
    show(line(done: done, elapsed: (now - start).inSeconds), final: false)
  }

  /// Takes the line away from a terminal, for a command that prints something else now.
  public func clear() {
    if isTerminal { StandardError.write("\r\u{1B}[K") }
  }

  /// Shows the last line.
  public func finish(done: Int) {
    let elapsed = (clock.now - start).inSeconds
    let rate = Double(done - first) / max(elapsed, 1e-9)
    show(
      "\(label): \(counted(done, one, many)) in \(time(elapsed)), \(Int(rate.rounded())) \(many)/s",
      final: true)
  }

  private func line(done: Int, elapsed: Double) -> String {
    let rate = Double(done - first) / max(elapsed, 1e-9)
    let left = rate > 0 ? time(Double(total - done) / rate) : "?"
    let percent = total > 0 ? 100 * done / total : 100
    return
      "\(label): \(done)/\(total) \(many) (\(percent) %), \(Int(rate.rounded())) \(many)/s, \(left) left"
  }

  private func show(_ text: String, final: Bool) {
    let end = isTerminal && !final ? "" : "\n"
    StandardError.write((isTerminal ? "\r\u{1B}[K" : "") + text + end)
  }

  private func time(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded())
    return whole < 60
      ? String(format: "%.1f s", seconds)
      : whole < 3600
        ? "\(whole / 60) min \(whole % 60) s" : "\(whole / 3600) h \(whole % 3600 / 60) min"
  }
}

/// Runs long work of a command: shows how much of it is done, and ends it when the program is asked to stop.
///
/// - Parameters:
///   - unit: what is counted, one of them: "block".
///   - work: tells the closure it is given what is done, of how much; the closure throws `Interruption.problem`
///     where that is not yet all.
public func withProgress<Result>(
  _ label: String, unit: String,
  _ work: (_ report: (_ done: Int, _ total: Int) throws -> Void) throws -> Result
) throws -> Result {
  var progress: ProgressLine?
  defer { progress?.clear() }
  return try work { done, total in
    if progress == nil { progress = ProgressLine(label, unit: unit, total: total) }
    progress?.update(done: done)
    if Interruption.isRequested && done < total {
      throw Interruption.problem(after: "\(done) of \(counted(total, unit))")
    }
  }
}
