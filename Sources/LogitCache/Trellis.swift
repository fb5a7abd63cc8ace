/// Trellis-coded quantisation of a row's coefficients (docs/FORMAT.md, "Subspace tail").
///
/// Each coefficient is a whole number of steps, half a step more in odd ones of eight states; the
/// lowest bit of its code leads to the next coefficient's state. So the writer chooses between
/// two grids, one code with the others, and the best choice errs about 1 dB less than rounding each
/// coefficient does, at the same entropy.
///
/// Marcellin and Fischer, "Trellis coded quantization of memoryless and Gauss-Markov sources"
/// (1990), with Ungerboeck's eight-state code (1982), h0 = 13 and h1 = 04 in octal.
package struct Trellis {
  /// For each coefficient and the state after it, which of its two predecessors is the better: 0 for
  /// the lower, 1.
  private var choices: [SIMD8<Int32>] = []

  package init() {}

  /// The state after a code.
  @inline(__always)
  static func next(_ state: UInt32, _ code: Int32) -> UInt32 {
    (state >> 1) ^ ((state & 1) &* 5) ^ (UInt32(truncatingIfNeeded: code & 1) << 1)
  }

  /// The value of a code in a state, in steps.
  @inline(__always)
  static func value(_ state: UInt32, _ code: Int32) -> Float {
    Float(code) + 0.5 * Float(state & 1)
  }

  /// Values, in steps, of codes 0 and 1 in an even state, then in an odd one; those of all others are
  /// multiples of 2 away.
  private static let offsets = SIMD4<Double>(0, 1, 0.5, 1.5)

  /// The codes whose values together are nearest (least squares) to a row's coefficients.
  ///
  /// - Parameters:
  ///   - steps: coefficients in steps, within +-(2^30 - 2) (a code is stored within 2^30).
  ///   - count: how many of them, from the first on, are rounded.
  ///   - codes: the first `count` are overwritten.
  package mutating func round(_ steps: [Double], upTo count: Int, into codes: inout [Int32]) {
    precondition(
      count <= steps.count && count <= codes.count,
      "\(count) of \(steps.count) coefficients into \(codes.count) codes")
    let last = search(steps, upTo: count)
    trace(steps, from: last, upTo: count, into: &codes)
  }

  /// Finds the best path into every state (Viterbi's algorithm); returns the best last state, the
  /// lowest of equal ones.
  private mutating func search(_ steps: [Double], upTo count: Int) -> Int {
    if choices.count < count { choices = Array(repeating: SIMD8(repeating: 0), count: count) }
    // State 0 is the first.
    var costs = SIMD8<Float>(repeating: .infinity)
    costs[0] = 0
    for index in 0..<count {
      let far = steps[index] - Trellis.offsets
      let errors = SIMD4<Float>(far - 2 * (0.5 * far).rounded(.toNearestOrEven))
      let (c, e) = (costs, errors * errors)
      // Into state t from those whose bits 0 and 1 are t2 and t0 ^ t2: first the one with bit 2 clear,
      // by a code with the lowest bit t1, then the one with it set, by the other codes.
      let lower =
        SIMD8(c[0], c[2], c[0], c[2], c[3], c[1], c[3], c[1])
        + SIMD8(e[0], e[0], e[1], e[1], e[2], e[2], e[3], e[3])
      let upper =
        SIMD8(c[4], c[6], c[4], c[6], c[7], c[5], c[7], c[5])
        + SIMD8(e[1], e[1], e[0], e[0], e[3], e[3], e[2], e[2])
      let isUpper = upper .< lower
      choices[index] = SIMD8(repeating: 0).replacing(with: 1, where: isUpper)
      costs = lower.replacing(with: upper, where: isUpper)
    }
    return (0..<8).reduce(0) { costs[$1] < costs[$0] ? $1 : $0 }
  }

  /// Writes the codes of the best path, from the last one back.
  private func trace(
    _ steps: [Double], from last: Int, upTo count: Int, into codes: inout [Int32]
  ) {
    var state = last
    for index in (0..<count).reversed() {
      let choice = Int(choices[index][state])
      let (isOddState, isOddCode) = (state >> 2, state >> 1 & 1 ^ choice)
      let far = steps[index] - Trellis.offsets[2 * isOddState + isOddCode]
      codes[index] = 2 * Int32((0.5 * far).rounded(.toNearestOrEven)) + Int32(isOddCode)
      state = choice << 2 | (state & 1 ^ isOddState) << 1 | isOddState
    }
  }
}
