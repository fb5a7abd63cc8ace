import Basics
import Foundation

extension CacheDiff {
  /// The report for people.
  public var text: String {
    var text = "A \(a.path), k = \(a.k)\nB \(b.path), k = \(b.k)\n"
    for line in differences.prefix(20) { text += "  \(line)\n" }
    if differences.count > 20 { text += "  ... and \(differences.count - 20) more, see --json\n" }
    text += "\(counted(records, "record")) compared"
    text += differingRecords > 0 ? ", \(differingRecords) with other probabilities\n" : "\n"
    if let unmatched, unmatched.a + unmatched.b > 0 {
      text +=
        "\(counted(unmatched.a, "record")) of A and \(unmatched.b) of B are at positions without the other\n"
    }
    if records == 0 { return text }
    text += String(format: "same first class %.2f %%\n", 100 * topOneAgreement)
    if let rankCorrelation {
      text += String(
        format: "rank correlation of the heads %.4f (Kendall's tau, %.1f shared classes)\n",
        rankCorrelation.mean, rankCorrelation.meanSharedClasses)
    }
    text += temperatureText
    if differingRecords == 0 { return text + "\nno record differs in its probabilities\n" }
    return text + classText + sampleText
  }

  private var temperatureText: String {
    var text = "\n" + line("distance", ["mean", "p99", "max"])
    for distances in atTemperature {
      let at = ", T = \(distances.temperature)"
      text += line("KL(A || B), nats" + at, numbers(distances.divergence))
      text += line("total variation" + at, numbers(distances.totalVariation))
    }
    return text
  }

  private var classText: String {
    var text = "\n" + line("worst classes, T = 1", ["records", "same first", "KL", "variation"])
    for row in worstClasses {
      text += line(
        row.name,
        [
          "\(row.records)", String(format: "%.2f %%", 100 * row.topOneAgreement),
          number(row.meanDivergence), number(row.meanTotalVariation),
        ])
    }
    return text
  }

  private var sampleText: String {
    var text = "\n" + line("worst records, T = 1", ["KL", "variation", "label, first of A, of B"])
    for row in worstSamples {
      text += line(
        "sample \(row.sample), view \(row.view)" + (row.position.map { ", position \($0)" } ?? ""),
        [number(row.divergence), number(row.totalVariation)])
      text.removeLast()
      text += "  \(row.label), \(row.firstOfA), \(row.firstOfB)\n"
    }
    return text
  }

  private func numbers(_ distance: ErrorSummary) -> [String] {
    [distance.mean, distance.p99, distance.max].map(number)
  }

  private func number(_ value: Double) -> String { String(format: "%.3g", value) }

  private func line(_ name: String, _ columns: [String]) -> String {
    func space(_ count: Int) -> String { String(repeating: " ", count: max(1, count)) }
    return name + space(30 - name.count)
      + columns.map { space(13 - $0.count) + $0 }.joined() + "\n"
  }
}
