/// Philox4x32-10: four random words for each 128-bit counter under a 64-bit key.
///
/// No state: the words of any counter can be had in any order, on any thread, on any machine.
/// Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"; checked
/// against the known answers published with Random123.
package func philox(counter: SIMD4<UInt32>, key: SIMD2<UInt32>) -> SIMD4<UInt32> {
  var (counter, key) = (counter, key)
  for _ in 0..<10 {
    let left = 0xD251_1F53 as UInt64 &* UInt64(counter.x)
    let right = 0xCD9E_8D57 as UInt64 &* UInt64(counter.z)
    counter = SIMD4(
      UInt32(truncatingIfNeeded: right >> 32) ^ counter.y ^ key.x,
      UInt32(truncatingIfNeeded: right),
      UInt32(truncatingIfNeeded: left >> 32) ^ counter.w ^ key.y,
      UInt32(truncatingIfNeeded: left))
    key &+= SIMD2(0x9E37_79B9, 0xBB67_AE85)
  }
  return counter
}

/// The random words of one operation of one view, in the order docs/VIEWS.md names them.
///
/// The key is the seed (low word first); the counter is sample, view, operation and block, and
/// each block gives four words.
package struct Draws {
  private let key: SIMD2<UInt32>
  private var counter: SIMD4<UInt32>
  private var words = SIMD4<UInt32>()
  private var used = 4

  /// Stands before the first word.
  ///
  /// - Precondition: sample, view and operation fit 32 bits.
  package init(seed: UInt64, sample: Int, view: Int, operation: Int) {
    key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    counter = SIMD4(UInt32(sample), UInt32(view), UInt32(operation), 0)
  }

  /// The next word.
  package mutating func next() -> UInt32 {
    if used == 4 {
      words = philox(counter: counter, key: key)
      counter.w += 1
      used = 0
    }
    defer { used += 1 }
    return words[used]
  }

  /// An integer in 0..<bound: the high half of word times bound.
  ///
  /// Each value's probability differs from 1 / bound by less than 2^-32, and every call uses one
  /// word, so that later draws never depend on earlier values.
  /// - Precondition: bound is in 1...2^32.
  package mutating func below(_ bound: Int) -> Int {
    precondition(bound >= 1 && bound <= 1 << 32, "a draw below \(bound)")
    return Int((UInt64(next()) &* UInt64(bound)) >> 32)
  }

  /// An integer from `least` to `greatest`, both included.
  package mutating func between(_ least: Int, _ greatest: Int) -> Int {
    least + below(greatest - least + 1)
  }

  /// True with the given probability, exact to 1/65536.
  package mutating func happens(_ probability: Fraction) -> Bool {
    Int(next() >> 16) < probability.parts
  }
}
