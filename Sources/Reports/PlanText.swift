import Basics
import Foundation
import LogitCache

extension PlanReport {
  /// The report for people.
  public var text: String {
    [jobText, sizesText, errorsText, chosenText].filter { !$0.isEmpty }.joined(separator: "\n")
  }

  private var jobText: String {
    let mean = job.positions?.mean ?? 1
    let rate = 1 / max(mean * sample.teacherSecondsPerRecord, 1e-9)
    let positions = job.positions.map {
      String(format: " x %.2f of %d positions", $0.mean, $0.maximum)
    }
    return """
      \(job.dataSet): \(counted(job.samples, "sample")) x \(counted(job.views, "view"))\(positions ?? "") = \
      \(counted(job.records, "record")) of \(counted(job.classes, "class", "classes")), \
      \(ByteCount.text(4 * Double(job.classes) * Double(job.records))) as float32 rows
      teacher: \(String(format: rate < 100 ? "%.3g" : "%.0f", rate)) views a second and thread, measured on \
      \(positions == nil ? "\(sample.records) of them" : counted(sample.records, "record"))

      """
  }

  private var sizesText: String {
    let mean = job.positions?.mean
    let heading =
      ["k", "tail", "B/record"] + (mean == nil ? [] : ["B/view"])
      + ["fixed B/record", "whole cache", "time"]
    let table = TextTable.lines(
      [heading]
        + rows.enumerated().map { index, row in
          let view = mean.map { String(format: "%.2f", $0 * row.bytesPerRecord) }
          return [name(index), row.tail, String(format: "%.2f", row.bytesPerRecord)]
            + [view].compactMap { $0 } + [
              String(format: "%.3f", row.fixedBytesPerRecord),
              ByteCount.text(Double(row.cacheBytes)), time(row.hours * 3600),
            ]
        })
    return table + rows.compactMap(\.axesText).joined() + notes.map { $0 + "\n" }.joined()
  }

  /// Measures in rows and choices in columns: there may be many of both, but fewer choices.
  private var errorsText: String {
    var table = [["mean error over \(measuredText)"]]
    table[0] += rows.indices.map { "k=" + name($0) }
    var isAnyRefused = false
    func add(
      _ name: String, _ measure: CertifiedError.Measure?,
      _ error: (Inspection.CertificateReport) -> ErrorSummary
    ) {
      table.append(
        [name]
          + rows.map { row in
            let mean = error(row.certificate).mean
            let isRefused = measure.map { mean > $0.limit } ?? false
            isAnyRefused = isAnyRefused || isRefused
            return short(mean) + (isRefused ? "!" : " ")
          })
    }
    for index in (rows.first?.certificate.atTemperature ?? []).indices {
      let at = "@" + (rows.first?.certificate.atTemperature[index].temperature ?? "")
      add("totalVariation" + at, nil) { $0.atTemperature[index].totalVariation }
      add("kdGradientError" + at, .kdGradientError) { $0.atTemperature[index].kdGradientError }
      add("pldDroppedWeight" + at, .pldDroppedWeight) { $0.atTemperature[index].pldDroppedWeight }
      add("distAngle" + at, .distAngle) { $0.atTemperature[index].distAngle }
    }
    add("mseMissingEnergy", .mseMissingEnergy) { $0.mseMissingEnergy }
    let note =
      isAnyRefused ? "! train refuses losses that depend on it, unless told --accept-error\n" : ""
    return TextTable.lines(table) + note
  }

  /// "4096 records"; "2048-4096 records" when some choices were measured on fewer, as subspace tails are.
  private var measuredText: String {
    let counts = rows.map(\.measuredRecords)
    let (least, most) = (counts.min() ?? 0, counts.max() ?? 0)
    return least == most ? counted(most, "record") : "\(least)-\(most) records"
  }

  private var chosenText: String {
    guard let chosen else { return "" }
    let row = rows[chosen]
    var reasons = bounds.map { "\($0.measure) <= \(short($0.limit))" }
    if let budget { reasons.append("at most \(ByteCount.text(Double(budget)))") }
    let what = bounds.isEmpty ? "most exact for \(losses.joined(separator: ", "))" : "smallest"
    return "* k = \(row.name): \(what), with \(reasons.joined(separator: ", "))\n"
      + (command.map { $0.map(shellQuoted).joined(separator: " ") + "\n" } ?? "")
  }

  /// "20" or "10 S=4", marked when it is the chosen one.
  private func name(_ index: Int) -> String { rows[index].name + (index == chosen ? "*" : "") }

  private func short(_ value: Double) -> String { String(format: "%.3g", value) }

  private func time(_ seconds: Double) -> String {
    switch seconds {
    case ..<120: String(format: "%.1f s", seconds)
    case ..<7200: String(format: "%.0f min", seconds / 60)
    default: String(format: "%.1f h", seconds / 3600)
    }
  }
}

extension PlanReport.Row {
  /// "20"; with a ranking "20 ranked", with the step of a subspace tail "10 S=4".
  var name: String {
    "\(k)" + (ranking == nil ? "" : " ranked")
      + (subspaceTail.map { String(format: " S=%.7g", $0.step) } ?? "")
  }

  /// What a subspace tail costs once, and when that is regained.
  fileprivate var axesText: String? {
    guard let tail = subspaceTail else { return nil }
    let cost =
      "\(name): \(counted(tail.axes, "axis", "axes")), \(ByteCount.text(Double(tail.axesBytes))) once"
    guard let other = tail.comparedK else { return cost + "\n" }
    let when =
      tail.paysFromRecords.map { "smaller than k = \(other) from \(counted($0, "record")) on" }
      ?? "never smaller than k = \(other)"
    return "\(cost); \(when)\n"
  }
}

/// A word as a POSIX shell reads it back.
private func shellQuoted(_ word: String) -> String {
  let plain = word.allSatisfy {
    $0.isASCII && ($0.isLetter || $0.isNumber || "-_./,=:@%+".contains($0))
  }
  if plain && !word.isEmpty { return word }
  return "'" + word.replacingOccurrences(of: "'", with: "'\\''") + "'"
}
