import Basics
import Foundation
import LogitCache
import Losses
import TestSupport
import Testing

/// Rows of a teacher whose last layer has `rank` inputs, with a free constant in every row.
struct LowRankTeacher {
  let classes: Int
  let rank: Int
  private let weights: [[Double]]
  private let bias: [Double]

  init(classes: Int, rank: Int, seed: UInt64) {
    self.classes = classes
    self.rank = rank
    var generator = SeededGenerator(seed: seed)
    weights = (0..<rank).map { axis in
      let spread = 4 * pow(0.8, Double(axis))
      return (0..<classes).map { _ in spread * generator.normal() }
    }
    bias = (0..<classes).map { _ in generator.normal() }
  }

  func rows(_ count: Int, seed: UInt64) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).flatMap { _ in
      let level = 20 * generator.normal()
      let inputs = weights.map { _ in generator.normal() }
      return (0..<classes).map { c in
        Float(zip(inputs, weights).reduce(level + bias[c]) { $0 + $1.0 * $1.1[c] })
      }
    }
  }

  func axes(step: Double, rows count: Int = 100, width: Int = 2) throws -> SubspaceAxes {
    try SubspaceAxes(
      learning: rows(count, seed: 1).span, classes: classes, tail: tail(step, width: width))
  }
}

/// Records with a head of k and a subspace tail, as a reader gets them, and their rebuilt rows.
struct RebuiltRows {
  var columns: SubspaceColumns
  var records: TeacherBatch
  var rows: TeacherBatch

  init(_ logits: [Float], _ axes: SubspaceAxes, step: Float, k: Int, label: Int = 0) {
    let classes = axes.classes
    let count = logits.count / classes
    records = TeacherBatch(
      classes: classes, k: k, tailTemperatures: k < classes ? [1, 2, 4] : [], count: count,
      axes: axes.count)
    for row in 0..<count {
      let values = Array(logits[row * classes..<(row + 1) * classes])
      records.assign(row: row, logits: values.span, label: label)
    }
    var columns = SubspaceColumns(axes: axes.count, trellisAxes: axes.trellisAxes)
    var projector = SubspaceProjector(axes, step: step)
    let largest = records.largestLogits
    logits.withUnsafeBufferPointer {
      projector.project(
        $0, largest: { Double(largest[$0]) }, gapStepsPerNat: 32, into: &columns)
    }
    self.columns = columns
    columns.write(to: &records, step: step, gapStep: 1.0 / 32)
    rows = TeacherBatch.fullRows(of: records)
    axes.rebuild(records, into: &rows, ordered: true)
  }

  /// The rebuilt logits of a row, in class order.
  func logits(_ row: Int) -> [Double] {
    var logits = [Double](repeating: 0, count: rows.classes)
    for j in row * rows.classes..<(row + 1) * rows.classes {
      logits[Int(rows.classIDs[j])] = Double(rows.largestLogits[row]) - Double(rows.gaps[j])
    }
    return logits
  }
}

private func tail(_ step: Double, width: Int = 1) -> SubspaceTail {
  SubspaceTail(stepSixteenths: Int(step * 16), maximumAxes: 256, axisBytes: width)
}

@Suite struct SubspaceTests {
  @Test(arguments: [(60, 7), (200, 12), (300, 1)], [20, 100, 500])
  func `the axes of a layer's rows are as many as its inputs`(
    shape: (classes: Int, rank: Int), count: Int
  ) throws {
    let teacher = LowRankTeacher(classes: shape.classes, rank: shape.rank, seed: 3)
    let axes = try teacher.axes(step: 0.0625, rows: count)
    #expect(axes.count == shape.rank)
    #expect(axes.classes == shape.classes)
    // Orthonormal up to rounding, whichever matrix they came from.
    for a in 0..<axes.count {
      for b in 0...a {
        let product = (0..<axes.classes).reduce(0.0) {
          $0 + Double(axes.values[a * axes.classes + $1] * axes.values[b * axes.classes + $1])
        }
        #expect(abs(product - (a == b ? 1 : 0)) < 2e-3)
      }
    }
  }

  @Test(arguments: UInt64(1)...12)
  func `every logit of unseen rows comes back within what the step allows`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let classes = Int.random(in: 40...400, using: &generator)
    let rank = Int.random(in: 1...20, using: &generator)
    let step = [0.25, 1, 4].randomElement(using: &generator)! as Float
    let teacher = LowRankTeacher(classes: classes, rank: rank, seed: seed)
    let axes = try teacher.axes(step: 0.0625)
    let logits = teacher.rows(150, seed: seed + 50)
    let rebuilt = RebuiltRows(logits, axes, step: step, k: 1)
    // Half a step on every axis, of a trellis in the mean, half a step of the level, and rounded axes.
    let level = Double(classes).squareRoot() / 64
    let bound = 1.01 * (Double(rank).squareRoot() * Double(step) / 2 + level) + 0.5
    var mean = 0.0
    for row in 0..<150 {
      let error = zip(rebuilt.logits(row), logits[row * classes..<(row + 1) * classes])
        .reduce(0.0) { $0 + pow($1.0 - Double($1.1), 2) }.squareRoot()
      #expect(
        error <= bound,
        "seed \(seed), row \(row), C \(classes), rank \(rank), step \(step), axes \(axes.count)")
      mean += error * error / 150
    }
    // As rounding errs, on every axis, in the level (1/32 nat) and in the axes; codes that are misread err by three times that.
    let rounding = (Double(rank) * Double(step * step) + Double(classes) / 1024) / 12
    #expect(mean < 1.15 * rounding + 0.05, "seed \(seed), rank \(rank), step \(step)")
  }

  @Test(arguments: [1, 2])
  func `coefficients are the best for the axes as stored`(width: Int) throws {
    let teacher = LowRankTeacher(classes: 120, rank: 9, seed: 8)
    let axes = try teacher.axes(step: 0.0625, width: width)
    let logits = teacher.rows(20, seed: 9)
    let step: Float = 1.0 / 64
    let rebuilt = RebuiltRows(logits, axes, step: step, k: 1)
    // What is left is orthogonal to every axis: no coefficient could remove more.
    for row in 0..<20 {
      let best = Int(rebuilt.records.classIDs[row])
      let left = zip(rebuilt.logits(row), logits[row * 120..<(row + 1) * 120]).map {
        Double($1) - $0
      }
      let level = left.reduce(0, +) / 120
      for axis in 0..<axes.count {
        let product = (0..<120).reduce(0.0) {
          // The best class is the head's: its rebuilt value was written over.
          $1 == best
            ? $0 : $0 + (left[$1] - level) * Double(axes.values[axis * 120 + $1])
        }
        #expect(abs(product) <= 0.6 * Double(step) + 0.15 * (width == 1 ? 1 : 0.2))
      }
    }
  }

  @Test func `the constants of rows change neither axes nor coefficients`() throws {
    let teacher = LowRankTeacher(classes: 50, rank: 4, seed: 2)
    let logits = teacher.rows(64, seed: 4)
    let lifted = logits.enumerated().map { $0.element + Float($0.offset / 50 % 7) * 8 }
    let axes = try teacher.axes(step: 1)
    let a = try SubspaceAxes(learning: logits.span, classes: 50, tail: tail(1))
    let b = try SubspaceAxes(learning: lifted.span, classes: 50, tail: tail(1))
    #expect(a.count == b.count)
    #expect(zip(a.values, b.values).allSatisfy { abs($0 - $1) < 1e-2 })
    let plain = RebuiltRows(logits, axes, step: 1, k: 2)
    let high = RebuiltRows(lifted, axes, step: 1, k: 2)
    func codes(_ rebuilt: RebuiltRows, _ row: Int) -> [Int32] {
      (0..<axes.count).map { rebuilt.columns.coefficients[64 * $0 + row] }
    }
    let moved = (0..<64).count { codes(plain, $0) != codes(high, $0) }
    #expect(moved <= 2, "only a value between two steps may round the other way")
  }

  @Test func `a teacher that always says the same has no axes`() throws {
    let row = (0..<30).map { Float($0) }
    let axes = try SubspaceAxes(
      learning: (row + row + row).span, classes: 30, tail: tail(1))
    #expect(axes.count == 0)
    #expect(try SubspaceAxes(bytes: axes.bytes.span.bytes, classes: 30, tail: tail(1)) == axes)
    let rebuilt = RebuiltRows(row + row, axes, step: 1, k: 3)
    #expect(rebuilt.columns.coefficients.isEmpty)
    for (value, exact) in zip(rebuilt.logits(1), row) {
      #expect(abs(value - Double(exact)) <= 1.0 / 64 + 1e-5)
    }
  }

  @Test func `too few rows and too many numbers are refused`() {
    let row = [Float](repeating: 1, count: 8)
    #expect(throws: Problem.self) {
      try SubspaceAxes(learning: row.span, classes: 8, tail: tail(1))
    }
  }

  @Test(arguments: [1, 2])
  func `stored axes come back, and anything else is refused`(width: Int) throws {
    let learned = try LowRankTeacher(classes: 21, rank: 3, seed: 6).axes(step: 0.5, width: width)
    var bytes = learned.bytes
    #expect(bytes.count == learned.byteCount)
    bytes[14] = 2  // of 3 axes go through a trellis
    let axes = try SubspaceAxes(
      bytes: bytes.span.bytes, classes: 21, tail: tail(1, width: width))
    #expect(axes.values == learned.values && axes.trellisAxes == 2)
    #expect(axes.bytes == bytes)
    func refused(_ bytes: [UInt8], classes: Int = 21) -> Bool {
      problem {
        _ = try SubspaceAxes(
          bytes: bytes.span.bytes, classes: classes, tail: tail(1, width: width))
      }.kind == .corrupt
    }
    for length in 0..<bytes.count { #expect(refused(Array(bytes[..<length]))) }
    #expect(refused(bytes + [0]))
    #expect(refused(bytes, classes: 22))
    // Magic, classes, count, width and axes of the trellis: every bit, but for those that make 2 axes 3 or 0; then a
    // mean and a scale that are not numbers.
    for bit in 0..<128 where bit != 112 && bit != 113 {
      var damaged = bytes
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(refused(damaged), "bit \(bit)")
    }
    for place in [16, 16 + 4 * 21] {
      for value: Float in [.nan, .infinity, -.infinity, 1e30] {
        var damaged = bytes
        withUnsafeBytes(of: value.bitPattern.littleEndian) {
          damaged.replaceSubrange(place..<place + 4, with: $0)
        }
        #expect(refused(damaged), "\(value) at \(place)")
      }
    }
    var damaged = bytes
    damaged[bytes.count - 1] = 0x80  // -128, or -32768 and more: one below the lowest code
    if width == 2 { damaged[bytes.count - 2] = 0 }
    #expect(refused(damaged))
  }

  @Test func `folded coefficients come back and too large ones are noticed`() {
    var columns = SubspaceColumns(axes: 5, trellisAxes: 2)
    columns.resize(to: 3)
    columns.coefficients = [0, -1, 1, 7, -7, 300, -300, 0, 1 << 30, -(1 << 30), 5, 6, 9, 9, 9]
    var copy = SubspaceColumns(axes: 5, trellisAxes: 2)
    copy.resize(to: 3)
    for group in ColumnGroups.ranges(5) {
      let folded = columns.folded(group)
      #expect(folded.withUnsafeBufferPointer { copy.unfold($0, group) })
    }
    #expect(copy.coefficients == columns.coefficients)
    #expect(columns.folded(0..<1) == [0, 1, 2])
    for wrong in [UInt32.max, UInt32.max - 1, 0x8000_0001] {
      let values: [UInt32] = [0, wrong, 0]
      #expect(values.withUnsafeBufferPointer { !copy.unfold($0, 0..<1) })
    }
  }

  @Test(arguments: [(30, 3), (200, 10), (50, 50)])
  func `the certificate of rebuilt rows is what a direct comparison finds`(
    classes: Int, k: Int
  ) throws {
    let teacher = LowRankTeacher(classes: classes, rank: 6, seed: 31)
    let axes = try teacher.axes(step: 2)
    let logits = teacher.rows(12, seed: 77)
    let rebuilt = RebuiltRows(logits, axes, step: 2, k: k, label: classes - 1)
    let encoding = Encoding(classes: classes, k: k, temperatures: [2, 4])
    var meter = FullRowMeter(encoding)
    for row in 0..<12 {
      var certificate = Certificate(temperatures: encoding.temperatures)
      let values = Array(logits[row * classes..<(row + 1) * classes])
      values.withUnsafeBufferPointer {
        meter.measure($0, rebuilt.rows, row, into: &certificate)
      }
      let other = rebuilt.logits(row)
      for (errors, temperature) in zip(certificate.atTemperature, [2.0, 4.0]) {
        let direct = DirectRowErrors(
          values.map(Double.init), other, order: rebuilt.rows.classIDs, row, k,
          label: classes - 1, temperature,
          ratio: rebuilt.records.logTailRatio(row: row, temperature: Float(temperature)))
        #expect(abs(errors.totalVariation.sum - direct.totalVariation) < 1e-9)
        #expect(abs(errors.kdGradientError.sum - direct.kdGradient) < 1e-9)
        #expect(abs(errors.distAngle.sum - direct.angle) < 1e-9)
        #expect(abs(errors.pldDroppedWeight.sum - direct.outOfOrder) < 1e-9)
      }
      let mean = values.reduce(0.0) { $0 + Double($1) } / Double(classes)
      let energy = values.reduce(0.0) { $0 + pow(Double($1) - mean, 2) }
      let error = zip(values, other).reduce(0.0) { $0 + pow(Double($1.0) - $1.1, 2) }
      #expect(abs(certificate.mseMissingEnergy.sum - error / energy) < 1e-6)
    }
  }
}

/// The errors of one rebuilt row, computed the plain way.
private struct DirectRowErrors {
  var totalVariation: Double
  var kdGradient: Double
  var angle: Double
  var outOfOrder = 0.0

  init(
    _ row: [Double], _ rebuilt: [Double], order: [Int32], _ index: Int, _ k: Int, label: Int,
    _ temperature: Double, ratio: Double
  ) {
    func softmax(_ z: [Double]) -> [Double] {
      let total = logSumExp(z, temperature)
      return z.map { exp($0 / temperature - total) }
    }
    let p = softmax(row)
    var q = softmax(rebuilt)
    let places = (index * row.count..<(index + 1) * row.count).map { Int(order[$0]) }
    if k < row.count {
      let head = places[..<k].reduce(0) { $0 + q[$1] }
      let tail = places[k...].reduce(0) { $0 + q[$1] }
      for id in places[..<k] { q[id] *= 1 / (1 + exp(ratio)) / head }
      for id in places[k...] { q[id] *= 1 / (1 + exp(-ratio)) / tail }
    }
    let even = 1 / Double(row.count)
    totalVariation = zip(p, q).reduce(0) { $0 + abs($1.0 - $1.1) } / 2
    kdGradient = temperature * zip(p, q).reduce(0) { $0 + pow($1.0 - $1.1, 2) }.squareRoot()
    let covariance = zip(p, q).reduce(0) { $0 + ($1.0 - even) * ($1.1 - even) }
    let variances = [p, q].map { $0.reduce(0) { $0 + pow($1 - even, 2) } }
    angle = max(0, 1 - covariance / (variances[0] * variances[1]).squareRoot())
    var lowest = Double.infinity
    for place in k..<max(k, row.count) {
      let id = Int(order[index * row.count + place])
      if id == label { continue }
      outOfOrder += max(0, p[id] - lowest)
      lowest = min(lowest, p[id])
    }
  }
}
