import Foundation
import TestSupport
import Testing
import Views

@Suite struct TrigonometryTests {
  @Test func `sine and cosine are within 20 units of 2^-30`() {
    var random = SeededGenerator(seed: 1)
    let special = [-8, -4, -2, -1, 0, 1, 2, 4, 8].map { $0 << 28 }
    let angles =
      special + (0..<10000).map { _ in Int.random(in: -(1 << 31)...1 << 31, using: &random) }
    for turns in angles {
      let angle = Double(turns) / 4_294_967_296 * 2 * .pi
      let (sine, cosine) = sineAndCosine(turns: turns)
      #expect(abs(Double(sine) - sin(angle) * 1_073_741_824) < 20, "\(turns)")
      #expect(abs(Double(cosine) - cos(angle) * 1_073_741_824) < 20, "\(turns)")
    }
  }

  @Test func `integer square roots are exact`() {
    var random = SeededGenerator(seed: 2)
    let values =
      Array(0...1000) + [1 << 62, (1 << 62) - 1]
      + (0..<1000).map { _ in Int.random(in: 0...1 << 62, using: &random) }
    for value in values {
      let root = integerSquareRoot(value)
      #expect(root * root <= value, "\(value)")
      #expect(Double(root + 1) * Double(root + 1) > Double(value) * (1 - 1e-15), "\(value)")
      if root < 1 << 30 { #expect((root + 1) * (root + 1) > value, "\(value)") }
    }
  }
}
