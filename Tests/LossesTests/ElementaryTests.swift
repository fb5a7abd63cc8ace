import Foundation
import Losses
import TestSupport
import Testing

@Suite struct ElementaryTests {
  @Test func `float exp is within its stated error and exactly zero far below`() {
    var worst = 0.0
    for step in 0...2_000_000 {
      let x = Float(-87 + 175 * Double(step) / 2_000_000)
      worst = max(worst, abs(Double(exponential(x)) / exp(Double(x)) - 1))
    }
    #expect(worst < 2e-7)
    #expect(exponential(Float(0)) == 1)
    #expect(exponential(Float(-88)) == 0)
    #expect(exponential(-Float.infinity) == 0)
    #expect(exponential(-Float.greatestFiniteMagnitude) == 0)
    #expect(exponential(Float.nan).isNaN)
  }

  @Test func `double exp and log are within their stated errors`() {
    var worst = 0.0
    for step in 0...200_000 {
      let x = -708 + 1417 * Double(step) / 200_000
      worst = max(worst, abs(exponential(x) / exp(x) - 1))
    }
    #expect(worst < 1e-15)
    #expect(exponential(-Double.infinity) == 0 && exponential(0.0) == 1)
    #expect(exponential(Double.nan).isNaN)

    var generator = SeededGenerator(seed: 5)
    for _ in 0..<200_000 {
      let x = exp(Double.random(in: -700...700, using: &generator))
      #expect(abs(logarithm(x) - log(x)) <= 4e-16 * max(abs(log(x)), 0.5), "\(x)")
      let near = 1 + Double.random(in: -0.3...0.4, using: &generator)
      #expect(abs(logarithm(near) - log(near)) <= 2e-16 + 4e-16 * abs(log(near)), "\(near)")
      let small = exp(Double.random(in: -60...2, using: &generator))
      #expect(abs(logarithmOnePlus(small) / log1p(small) - 1) < 1e-15, "\(small)")
    }
    #expect(logSumExp(-.infinity, 3.0) == 3)
    #expect(logSumExp(-.infinity, -.infinity) == -.infinity)
  }
}
