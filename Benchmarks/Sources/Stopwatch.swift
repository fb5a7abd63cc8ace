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
