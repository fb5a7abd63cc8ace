import LogitCache

/// Stored bytes per record of a measured teacher.
struct MeasuredTeacher {
  /// Records with a subspace tail beside a head of 10.
  struct Tail {
    /// Of coefficients, in nats.
    let step: Int
    /// Axes that the cache learned.
    let axes: Int
    /// Of the coefficients.
    let coefficientBytes: Double
    /// Of head, masses and offset.
    let otherBytes: Double

    /// Every axis takes as many bits as those of the measured teacher do on average.
    ///
    /// Too much beyond its axes: a further one is weaker than the average of those before it.
    func bytesPerRecord(axes: Int) -> Double {
      otherBytes + coefficientBytes * Double(axes) / Double(self.axes)
    }
  }

  /// k and bytes per record, ascending.
  let points: [(k: Double, bytes: Double)]
  /// By step, the coarsest first.
  let tails: [Tail]

  /// 12,000 records, lists as for 200,000: `Benchmarks/runs/rate-ocr-large-job.json`.
  ///
  /// Tails: `Benchmarks/runs/rate-ocr-tail-8.json`, `rate-ocr-tail-4.json`.
  static let sharp = MeasuredTeacher(
    points: [(5, 8.22), (10, 14.19), (20, 25.82), (50, 62.54), (100, 132.02)],
    tails: [
      Tail(step: 8, axes: 120, coefficientBytes: 59.24, otherBytes: 18.48),
      Tail(step: 4, axes: 120, coefficientBytes: 73.47, otherBytes: 18.39),
    ])

  /// 12,000 records, lists as for 200,000: `Benchmarks/runs/rate-soft1000-large-job.json`.
  ///
  /// Tails: `Benchmarks/runs/rate-soft1000-tail-8.json`, `rate-soft1000-tail-4.json`.
  static let soft = MeasuredTeacher(
    points: [(5, 8.73), (10, 14.95), (20, 27.34), (50, 64.04), (100, 126.64)],
    tails: [
      Tail(step: 8, axes: 193, coefficientBytes: 13.09, otherBytes: 17.99),
      Tail(step: 4, axes: 365, coefficientBytes: 36.22, otherBytes: 18.00),
    ])

  /// On the line between the two nearest k; beyond the ends on the outermost one.
  func bytesPerRecord(k: Int) -> Double {
    let upper = min(max(points.firstIndex { $0.k >= Double(k) } ?? .max, 1), points.count - 1)
    let (a, b) = (points[upper - 1], points[upper])
    return a.bytes + (Double(k) - a.k) * (b.bytes - a.bytes) / (b.k - a.k)
  }
}
