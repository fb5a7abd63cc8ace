/// A distribution of numbers in a fixed range, in 2,000 bins: memory does not grow with the records.
struct Distribution {
  private static let bins = 2000
  private let upper: Double
  private var counts = [Int](repeating: 0, count: bins)
  private var total = 0
  private var sum = 0.0

  /// Numbers between 0 and `upper`; others count as the nearest end.
  init(upTo upper: Double) { self.upper = upper }

  mutating func add(_ value: Double) {
    let bin = Int(value / upper * Double(Self.bins))
    counts[max(0, min(Self.bins - 1, bin))] += 1
    total += 1
    sum += value
  }

  /// Mean and quantiles; quantiles to a 2,000th of the range.
  var summary: Inspection.Summary {
    Inspection.Summary(
      mean: total > 0 ? sum / Double(total) : 0, p1: quantile(0.01), p10: quantile(0.1),
      p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99))
  }

  private func quantile(_ fraction: Double) -> Double {
    let wanted = Int((Double(total) * fraction).rounded(.up))
    var seen = 0
    for (bin, count) in counts.enumerated() {
      seen += count
      if seen >= max(wanted, 1) { return (Double(bin) + 0.5) / Double(Self.bins) * upper }
    }
    return 0
  }
}
