import Testing
import Views

@Suite struct PhiloxTests {
  /// Random123, `tests/kat_vectors`, "philox4x32 10".
  @Test func `the generator gives the published known answers`() {
    #expect(
      philox(counter: .zero, key: .zero)
        == SIMD4(0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8))
    #expect(
      philox(counter: SIMD4(repeating: .max), key: SIMD2(repeating: .max))
        == SIMD4(0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD))
    #expect(
      philox(
        counter: SIMD4(0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344),
        key: SIMD2(0xA409_3822, 0x299F_31D0))
        == SIMD4(0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1))
  }

  @Test func `words come block after block, low half of the seed first`() {
    var draws = Draws(seed: 0x1111_2222_3333_4444, sample: 5, view: 6, operation: 7)
    let key = SIMD2<UInt32>(0x3333_4444, 0x1111_2222)
    for block in 0..<3 as Range<UInt32> {
      let expected = philox(counter: SIMD4(5, 6, 7, block), key: key)
      for word in 0..<4 { #expect(draws.next() == expected[word], "block \(block) word \(word)") }
    }
  }

  @Test func `views, samples, operations and seeds all change the words`() {
    var firsts: Set<UInt32> = []
    for seed in [0, 1, 1 << 32] as [UInt64] {
      for (sample, view, operation) in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)] {
        var draws = Draws(seed: seed, sample: sample, view: view, operation: operation)
        firsts.insert(draws.next())
      }
    }
    #expect(firsts.count == 12)
  }

  @Test(arguments: [1, 2, 3, 5, 29, 1000])
  func `bounded draws stay in bounds and are even`(bound: Int) {
    var draws = Draws(seed: 1, sample: 2, view: 3, operation: 4)
    var counts = [Int](repeating: 0, count: bound)
    let expected = 1000
    for _ in 0..<bound * expected { counts[draws.below(bound)] += 1 }
    // Six standard deviations of a binomial count.
    for count in counts { #expect(abs(count - expected) < 190, "\(counts)") }
  }

  @Test func `the greatest bounds work`() {
    var draws = Draws(seed: 1, sample: 2, view: 3, operation: 4)
    var same = draws
    #expect(draws.below(1 << 32) == Int(same.next()))
    for _ in 0..<100 { #expect((-3...4).contains(draws.between(-3, 4))) }
  }

  @Test func `probabilities 0 and 1 are never and always`() {
    var draws = Draws(seed: 9, sample: 0, view: 0, operation: 0)
    for _ in 0..<1000 {
      let (never, always) = (draws.happens(Fraction(parts: 0)), draws.happens(.one))
      #expect(!never && always)
    }
  }
}
