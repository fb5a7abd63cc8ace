import LogitCache

/// An error or a distance over records, as reports give it: mean, 99th percentile, largest.
public struct ErrorSummary: Codable, Sendable {
  var mean: Double
  var p99: Double
  var max: Double

  init(_ statistic: ErrorStatistic) {
    mean = statistic.mean
    p99 = statistic.p99
    max = statistic.max
  }
}
