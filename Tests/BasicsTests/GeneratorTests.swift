import Basics
import TestSupport
import Testing

@Suite struct GeneratorTests {
  /// Computed with the authors' C program (prng.di.unimi.it/splitmix64.c).
  @Test func `numbers are those of the published generator`() {
    var generator = SplitMix64(seed: 1_234_567)
    #expect(
      (0..<5).map { _ in generator.next() } == [
        6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
        4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
      ])
    var fromZero = SplitMix64(seed: 0)
    #expect(fromZero.next() == 0xE220_A839_7B1D_CDAF)
  }

  @Test(arguments: [0, 1, 2, 3, 10, 1000], 1...5 as ClosedRange<UInt64>)
  func `a shuffle keeps every element once`(count: Int, seed: UInt64) {
    var generator = SplitMix64(seed: seed)
    var elements = Array(0..<count)
    generator.shuffle(&elements)
    #expect(elements.sorted() == Array(0..<count), "seed \(seed)")
    if count == 1000 { #expect(elements != Array(0..<count), "seed \(seed)") }
  }

  @Test func `the same seed shuffles the same way for ever`() {
    var generator = SplitMix64(seed: 1)
    var elements = Array(0..<10)
    generator.shuffle(&elements)
    #expect(elements == frozenShuffle)
  }

  /// 24 orders of four elements in 24,000 shuffles, so each about 1,000 times.
  ///
  /// The bound is six standard deviations.
  @Test func `all orders are equally likely`() {
    var generator = SplitMix64(seed: 7)
    var counts: [[Int]: Int] = [:]
    for _ in 0..<24_000 {
      var elements = [0, 1, 2, 3]
      generator.shuffle(&elements)
      counts[elements, default: 0] += 1
    }
    #expect(counts.count == 24)
    #expect(counts.values.allSatisfy { (814...1186).contains($0) })
  }
}

private let frozenShuffle = [9, 0, 1, 4, 8, 2, 3, 7, 6, 5]
