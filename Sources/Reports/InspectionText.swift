import Basics
import Foundation
import LogitCache

extension Inspection {
  /// The report for people.
  public var text: String {
    [identityText, planesText, teacherText, classesText, certificateText].joined(separator: "\n")
  }

  private var identityText: String {
    let state = sealed ? "sealed" : "not sealed, \(counted(missingBlocks, "block")) missing"
    let teacherName = [
      teacher["kind"], teacher["architecture"], teacher["name"], teacher["worker"]?["name"],
    ].compactMap { $0?.string }
    let importedRows = teacher["rows"]?["digest"] ?? teacher["sparse"]?["ids"]?["digest"]
    let weights = teacher["weights"] ?? teacher["model"] ?? teacher["worker"]?["weights"]
    let teacherWeights = (weights ?? importedRows)?.string ?? "unknown"
    return lines([
      ("state", state),
      ("cache digest", cacheDigest?.description ?? "none until sealed"),
      ("fingerprint", fingerprint.description),
      (
        "data set",
        "\(dataSet.name), \(counted(dataSet.samples, "sample")), \(dataSet.fingerprint.short)"
      ),
      (
        "teacher",
        "\(teacherName.joined(separator: " ")), \(importedRows == nil ? "weights" : "rows") "
          + teacherWeights.prefix(12)
      ),
      ("recipe", recipeText),
      (
        "records",
        "\(records) = \(counted(dataSet.samples, "sample")) x \(counted(views, "view"))\(positionsText), "
          + "k = \(k) of \(counted(classes, "class", "classes"))"
      ),
      (
        "size",
        String(
          format: "%.2f MB on disk, %.2f bytes per record", Double(bytes) / 1e6, bytesPerRecord)
      ),
    ])
      + (derivedFrom.map { lines([("derived from", "cache \($0.cacheDigest), no teacher ran")]) }
        ?? "") + subspaceText + rankingText
  }

  private var positionsText: String {
    guard let positions else { return "" }
    return String(
      format: " x %.2f of %d positions (%d to %d a view, with labels of the %@; %.1f bytes a view)",
      positions.mean, positions.maximum, positions.min, positions.max, positions.labels,
      positions.bytesPerView)
  }

  private var recipeText: String {
    if recipe == .null { return "unknown: rows were imported without their data set" }
    let operations = recipe["operations"]?.array?.compactMap { $0["op"]?.string } ?? []
    return operations.isEmpty
      ? "none: samples as they are" : operations.joined(separator: ", ") + ", seed \(seed)"
  }

  private var subspaceText: String {
    guard let tail = subspaceTail else { return "" }
    let text = String(
      format:
        "%d axes in %.3f MB, coefficients in steps of %g nats (%d by a trellis), %.2f bytes per record",
      tail.axes, Double(tail.axesBytes) / 1e6, tail.step, tail.trellisAxes, tail.bytesPerRecord)
    return lines([("full rows", text)])
  }

  private var rankingText: String {
    guard let ranking else { return "" }
    let text = String(
      format: "%@, the exact order of all %d classes, %.2f bytes per record", ranking.kept, classes,
      ranking.bytesPerRecord)
    return lines([("ranking", text)])
  }

  private var planesText: String {
    var text = heading("plane", ["canonical", "stored", "B/record"])
    for plane in planes {
      text += row(
        plane.plane,
        [
          "\(plane.canonicalBytes)", "\(plane.storedBytes)",
          String(format: "%.3f", plane.bytesPerRecord),
        ])
    }
    return text
  }

  private var teacherText: String {
    var text = lines([
      ("teacher accuracy", percent(teacherTop1) + " top-1, " + percent(teacherTop5) + " top-5"),
      (
        "view agreement",
        viewAgreement.map { percent($0) + " of other views name view 0's class" } ?? "one view only"
      ),
      ("mass of the first", cumulativeText),
    ])
    for tail in tailMass {
      text += lines([
        (
          "tail mass, T = \(tail.temperature)",
          String(format: "%.6f mean, %.6f max", tail.mean, tail.max)
        )
      ])
    }
    text += "\n" + heading("", ["mean", "p1", "p10", "p50", "p90", "p99"])
    text += row("entropy, nats", numbers(entropy)) + row("top-1 confidence", numbers(confidence))
    if let features {
      text += row("norm of \(features.width) features", numbers(features.norm))
    }
    return text
  }

  /// The mass of the first classes together, for a few counts.
  private var cumulativeText: String {
    [1, 2, 5, 10, 20, 50, 100].filter { $0 <= k }
      .map { String(format: "%d: %.5f", $0, cumulativeMass[$0 - 1]) }.joined(separator: ", ")
  }

  private func numbers(_ s: Summary) -> [String] {
    [s.mean, s.p1, s.p10, s.p50, s.p90, s.p99].map { String(format: "%.4f", $0) }
  }

  private var classesText: String {
    var text = heading("class", ["records", "accuracy", "p(label)", "confused with"])
    for row in perClass.prefix(40) {
      text += self.row(
        row.name,
        [
          "\(row.records)", percent(row.accuracy), String(format: "%.4f", row.meanLabelProbability),
          row.mostConfusedWith ?? "-",
        ])
    }
    if perClass.count > 40 { text += "... and \(perClass.count - 40) more classes, see --json\n" }
    return text
  }

  private var certificateText: String {
    let isBound = derivedFrom != nil || teacher["sparse"] != nil
    var text = heading(
      "certificate: \(isBound ? "bounds of the error" : "error") of the records",
      ["mean", "p99", "max"])
    for errors in certificate.atTemperature {
      let at = ", T = \(errors.temperature)"
      text += row("total variation" + at, numbers(errors.totalVariation))
      text += row("KD gradient" + at, numbers(errors.kdGradientError))
      text += row("PLD dropped weight" + at, numbers(errors.pldDroppedWeight))
      text += row("DIST angle" + at, numbers(errors.distAngle))
    }
    text += row("MSE missing energy", numbers(certificate.mseMissingEnergy))
    text += row("first choice kept", [percent(certificate.topOneAgreement)])
    text += row("order of the head kept", [percent(certificate.orderAgreement)])
    return text
  }

  private func numbers(_ error: ErrorSummary) -> [String] {
    [error.mean, error.p99, error.max].map { String(format: "%.3g", $0) }
  }

  private func percent(_ share: Double) -> String { String(format: "%.2f %%", 100 * share) }

  private func lines(_ pairs: [(String, String)]) -> String {
    pairs.map { pad($0.0, 20) + $0.1 + "\n" }.joined()
  }

  private func heading(_ name: String, _ columns: [String]) -> String { row(name, columns) }

  private func row(_ name: String, _ columns: [String]) -> String {
    pad(name, 34) + columns.map { leftPad($0, 14) }.joined() + "\n"
  }

  private func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }

  private func leftPad(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(1, width - text.count)) + text
  }
}
