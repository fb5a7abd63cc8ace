import Basics
import LogitCache
import Losses
import TestSupport
import Testing

/// The trellis as docs/FORMAT.md defines it, the plain way.
private enum PlainTrellis {
  /// What codes stand for, in steps.
  static func values(_ codes: [Int32]) -> [Double] {
    var state = 0
    return codes.map { code in
      let value = Double(code) + (state % 2 == 1 ? 0.5 : 0)
      state = (state / 2) ^ (state % 2 == 1 ? 5 : 0) ^ (code.isMultiple(of: 2) ? 0 : 2)
      return value
    }
  }

  /// The squared error of codes.
  static func error(_ codes: [Int32], _ steps: [Double]) -> Double {
    zip(values(codes), steps).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
  }

  /// The smallest squared error of any codes next to the numbers.
  static func smallestError(_ steps: [Double]) -> Double {
    var paths: [[Int32]] = [[]]
    for step in steps {
      let near = Int32(step.rounded(.down))
      paths = paths.flatMap { path in (near - 2...near + 2).map { path + [$0] } }
    }
    return paths.map { error($0, steps) }.min()!
  }
}

@Suite struct TrellisTests {
  private func codes(_ steps: [Double], upTo count: Int? = nil) -> [Int32] {
    var trellis = Trellis()
    var codes = [Int32](repeating: 77, count: steps.count)
    trellis.round(steps, upTo: count ?? steps.count, into: &codes)
    return codes
  }

  @Test(arguments: UInt64(1)...40)
  func `no other codes are nearer than those of the trellis`(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let count = Int.random(in: 1...5, using: &generator)
    let spread = [0.3, 2, 50].randomElement(using: &generator)!
    let steps = (0..<count).map { _ in spread * generator.normal() }
    let error = PlainTrellis.error(codes(steps), steps)
    #expect(abs(error - PlainTrellis.smallestError(steps)) < 1e-5, "seed \(seed): \(steps)")
  }

  /// The codes of a path that is nowhere looked ahead on.
  private func greedy(_ steps: [Double]) -> [Int32] {
    var codes: [Int32] = []
    for step in steps {
      let offset = PlainTrellis.values(codes + [0]).last!
      codes.append(Int32((step - offset).rounded()))
    }
    return codes
  }

  @Test
  func `a trellis errs a fifth less than rounding does, and no row more than without foresight`() {
    var generator = SeededGenerator(seed: 5)
    var trellis = Trellis()
    var codes = [Int32](repeating: 0, count: 120)
    var sum = 0.0
    for _ in 0..<200 {
      let steps = (0..<120).map { _ in 9 * generator.normal() }
      trellis.round(steps, upTo: 120, into: &codes)
      let error = PlainTrellis.error(codes, steps)
      #expect(error <= PlainTrellis.error(greedy(steps), steps) + 1e-3)
      sum += error
    }
    // Rounding errs by 1/12 on the average.
    let mean = sum / (200 * 120)
    #expect(mean < 0.8 / 12 && mean > 0.7 / 12, "\(12 * mean) of rounding's")
  }

  @Test func `codes behind those asked for stay as they are`() {
    #expect(codes([3, -7, 0.2], upTo: 0) == [77, 77, 77])
    #expect(codes([3, -7, 0.2], upTo: 1) == [3, 77, 77])
  }

  @Test(arguments: [0, 4, 9], [1, -1] as [Float])
  func `the farthest coefficients have codes within the format's range`(axes: Int, sign: Float) {
    for far in [Float.greatestFiniteMagnitude, 0x1p30, 0x1p29, 0x1.fffffep29] {
      var quantiser = SubspaceQuantiser(axes: 9, trellisAxes: axes, step: 0.5)
      quantiser.quantise([Float](repeating: sign * far, count: 9)[...])
      #expect(quantiser.codes.allSatisfy { $0.magnitude <= 1 << 30 }, "\(far)")
      #expect(quantiser.values.allSatisfy { $0.sign == sign.sign && abs($0) >= 0x1p28 }, "\(far)")
    }
  }

  @Test(arguments: UInt64(1)...12)
  func `columns say what their codes stand for`(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let axes = Int.random(in: 1...40, using: &generator)
    let trellisAxes = Int.random(in: 0...axes, using: &generator)
    let rows = Int.random(in: 1...300, using: &generator)
    var columns = SubspaceColumns(axes: axes, trellisAxes: trellisAxes)
    columns.resize(to: rows)
    for index in columns.coefficients.indices {
      columns.coefficients[index] = Int32.random(in: -90...90, using: &generator)
    }
    var batch = TeacherBatch(
      classes: 50, k: 2, tailTemperatures: [1], count: rows, axes: axes)
    columns.write(to: &batch, step: 1.25, gapStep: 1)
    for row in 0..<rows {
      let codes = (0..<axes).map { columns.coefficients[$0 * rows + row] }
      let steps =
        PlainTrellis.values(Array(codes[..<trellisAxes])) + codes[trellisAxes...].map(Double.init)
      let found = batch.coefficients[row * axes..<(row + 1) * axes].map { Double($0) / 1.25 }
      #expect(found == steps, "seed \(seed), row \(row) of \(rows), \(trellisAxes) of \(axes)")
    }
  }

  @Test(arguments: [([3.0, 3], 128), ([3, 0.1], 64), ([0.1, 0.1], 0)])
  func `a trellis goes along the groups of axes where it pays`(deviations: [Double], axes: Int) {
    var generator = SeededGenerator(seed: 9)
    let coefficients = (0..<400).flatMap { _ in
      (0..<128).map { Float(2 * deviations[$0 / 64] * generator.normal()) }
    }
    let choice = TrellisChoice(coefficients: coefficients, axes: 128, step: 2)
    #expect(choice.best() == axes)
  }

  @Test func `without rows, axes or deviations there is no trellis`() {
    for (coefficients, axes) in [([], 0), ([], 4), ([Float](repeating: 0, count: 12), 4)] {
      #expect(TrellisChoice(coefficients: coefficients, axes: axes, step: 1).best() == 0)
    }
  }

  @Test func `a teacher's axes go through a trellis where they are strong`() throws {
    let teacher = LowRankTeacher(classes: 60, rank: 16, seed: 4)
    let counts = try [1.0, 8, 200].map { step in
      try teacher.axes(step: step, rows: 400).trellisAxes
    }
    #expect(counts == [16, 8, 0])
  }
}
