/// Weights of the classes behind a head, of which only the order and the sum are known.
///
/// They fall with the rank as a power of it, ((r + 1) / k)^-c, from the head's last class on; c >= 0 is
/// what makes their sum the known one, by the integral in the sum's place:
///
///     sum over r = k...C-1 of ((r + 1) / k)^-c  ~  k (x1^(1-c) - x0^(1-c)) / (1 - c),
///     x0 = 1 + 1 / 2k, x1 = (C + 1/2) / k
///
/// They are then scaled to the sum itself. With c = 0 they are even.
package struct RankedWeights {
  private let k: Double
  private let logStart: Double
  private let logEnd: Double

  /// For the ranks `k..<classes`, counted from 0.
  package init(k: Int, classes: Int) {
    self.k = Double(k)
    logStart = logarithm(1 + 0.5 / Double(k))
    logEnd = logarithm((Double(classes) + 0.5) / Double(k))
  }

  /// c.
  ///
  /// - Parameters:
  ///   - mean: the mean weight of the classes behind the head, >= 0.
  ///   - last: the probability of the head's last class, >= 0.
  package func exponent(mean: Double, last: Double) -> Double {
    guard mean > 0, last > mean else { return 0 }
    // The integral at c = 0 is C - k.
    let wanted = mean / last * integral(0)
    var (low, high) = (0.0, 64 * (k + 1))
    for _ in 0..<60 {
      let middle = 0.5 * (low + high)
      if integral(middle) > wanted { low = middle } else { high = middle }
    }
    return 0.5 * (low + high)
  }

  /// k times the integral of x^-c from x0 to x1.
  private func integral(_ c: Double) -> Double {
    let u = 1 - c
    let h = u * (logEnd - logStart)
    if abs(h) < 1e-4 {
      return k * exponential(u * logStart) * (logEnd - logStart) * (1 + h * (0.5 + h / 6))
    }
    return k * (exponential(u * logEnd) - exponential(u * logStart)) / u
  }

  /// The weight of a rank before scaling, 1 at rank k - 1.
  ///
  /// - Parameter logRank: log((rank + 1) / k).
  @inline(__always)
  package func weight(_ c: Double, logRank: Double) -> Double { exponential(-c * logRank) }
}
