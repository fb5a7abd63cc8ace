import Basics
import Losses
import ONNXRuntime

/// How a model's output becomes logits (`LogitConversion`).
///
/// Positions are chosen among all classes; then classes are taken out by the class map.
struct OutputPlan {
  let kind: OutputKind
  let layout: ONNXConfiguration.OutputLayout
  let floor: Float
  /// nil for layout nc.
  let rule: ONNXConfiguration.PositionRule?
  let blank: Int?
  let name: String
  /// The whole output.
  let shape: [Int]
  /// C of the model.
  let classes: Int
  /// T, 1 for layout nc.
  let positions: Int
  /// What the model is called in errors.
  let model: String

  /// - Parameters:
  ///   - trial: what a run on zeros gave.
  ///   - views: how many views that run had.
  /// - Throws: `Problem(.corrupt)` naming both shapes when the output does not fit the configuration.
  init(
    _ trial: borrowing OutputTensor, of views: Int, named name: String, batch: Int,
    _ configuration: ONNXConfiguration
  ) throws {
    self.name = name
    kind = configuration.outputKind
    layout = configuration.outputLayout
    floor = configuration.floor
    rule = configuration.positionRule
    blank = configuration.blank
    model = configuration.model
    var shape = trial.shape
    let batchAxis = layout == .tnc ? 1 : 0
    guard trial.elementType == .float32, shape.count == (layout == .nc ? 2 : 3),
      shape[batchAxis] == views, shape.allSatisfy({ $0 >= 1 }), shape[shape.count - 1] >= 2
    else {
      let type = trial.elementType?.description ?? "another type"
      throw Problem(
        .corrupt,
        "\(model) gives \(name), \(type) \(shape), for a batch of \(views); layout \(layout) needs "
          + "float32 with n = \(views), and two or more classes last")
    }
    shape[batchAxis] = batch
    self.shape = shape
    classes = shape[shape.count - 1]
    positions = layout == .nc ? 1 : shape[1 - batchAxis]
    if rule == .every || rule == .nonblank, positions < 2 {
      throw configuration.problem(
        "output.position.rule is \(rule?.rawValue ?? ""), but \(model) gives one position: choose best-nonblank"
      )
    }
  }

  /// M, the positions of a view that may be recorded.
  var recordedPositions: Int { rule == .every || rule == .nonblank ? positions : 1 }

  /// Everything that decides the rows, for the teacher's identity.
  var identity: JSONValue {
    var members: [String: JSONValue] = [
      "name": .string(name), "kind": .string(kind.rawValue), "layout": .string(layout.rawValue),
      "floor": .text(floor),
    ]
    if let rule {
      let blank = rule == .every ? nil : blank.map { ", blank \($0)" }
      members["position"] = .string("\(rule.rawValue)\(blank ?? "") of \(positions) positions")
    }
    return .object(members)
  }

  /// Where the row of a sample at a position begins.
  func start(sample: Int, position: Int) -> Int {
    (layout == .tnc ? position * shape[1] + sample : sample * positions + position) * classes
  }
}

/// Turns outputs into logits; one for each thread.
struct OutputReader {
  private let plan: OutputPlan
  private let conversion: LogitConversion
  private let indices: [Int32]
  /// Whether the class map changes nothing.
  private let keepsAll: Bool
  private var exponentials: [Float]

  init(_ plan: OutputPlan, _ map: ClassMap) {
    self.plan = plan
    conversion = LogitConversion(
      plan.kind, floor: plan.floor, source: plan.model, setting: "output.kind")
    indices = map.indices
    keepsAll = map.indices.elementsEqual(0..<Int32(map.modelClasses))
    exponentials = [Float](
      repeating: 0, count: plan.kind == .logits && plan.positions > 1 ? plan.classes : 0)
  }

  /// Writes the logits [count, kept classes] of the first `count` samples of an output.
  ///
  /// - Throws: `Problem(.corrupt)` when a value is no probability though it should be one.
  mutating func read(
    _ output: Span<Float>, count: Int, into logits: inout MutableSpan<Float>
  ) throws {
    let width = indices.count
    precondition(logits.count == count * width, "room for \(logits.count) of \(count) x \(width)")
    try output.withUnsafeBufferPointer { output in
      try logits.withUnsafeMutableBufferPointer { logits in
        for sample in 0..<count {
          let row = self.row(of: sample, in: output)
          let target = UnsafeMutableBufferPointer(
            rebasing: logits[sample * width..<(sample + 1) * width])
          take(row, into: target)
          try conversion.convert(target)
        }
      }
    }
  }

  /// Writes the logits [count, positions, kept classes] of the first `count` samples of an output, and says
  /// which positions count; the rows of others are left as they are.
  ///
  /// - Throws: as `read`.
  func readPositions(
    _ output: Span<Float>, count: Int, into logits: inout MutableSpan<Float>,
    places: inout RowPlaces
  ) throws {
    let width = indices.count
    let positions = plan.positions
    precondition(
      logits.count == count * positions * width,
      "room for \(logits.count) of \(count) x \(positions) x \(width)")
    var counting: [Int32] = []
    try output.withUnsafeBufferPointer { output in
      try logits.withUnsafeMutableBufferPointer { logits in
        for sample in 0..<count {
          counting.removeAll(keepingCapacity: true)
          for position in 0..<positions {
            let row = output.baseAddress! + plan.start(sample: sample, position: position)
            if plan.rule == .nonblank, isBlank(row) { continue }
            counting.append(Int32(position))
            let start = (sample * positions + position) * width
            let target = UnsafeMutableBufferPointer(rebasing: logits[start..<start + width])
            take(row, into: target)
            try conversion.convert(target)
          }
          places.append(sampleAt: counting)
        }
      }
    }
  }

  /// Writes rows [`places.rows`, model classes], as logits, to their places in [samples, positions, kept
  /// classes]; what is at other places is left as it is.
  ///
  /// - Throws: as `read`.
  func read(
    _ rows: Span<Float>, at places: RowPlaces, into logits: inout MutableSpan<Float>
  ) throws {
    let width = indices.count
    precondition(
      logits.count == places.samples * plan.positions * width
        && rows.count == places.rows * plan.classes,
      "room for \(logits.count) of \(places.samples) x \(plan.positions) x \(width)")
    try rows.withUnsafeBufferPointer { rows in
      try logits.withUnsafeMutableBufferPointer { logits in
        for sample in 0..<places.samples {
          for row in places.rows(of: sample) {
            let start = (sample * plan.positions + Int(places.positions[row])) * width
            let target = UnsafeMutableBufferPointer(rebasing: logits[start..<start + width])
            take(rows.baseAddress! + row * plan.classes, into: target)
            try conversion.convert(target)
          }
        }
      }
    }
  }

  /// Whether no class is likelier than blank.
  ///
  /// A row with NaN is not: who writes the record refuses it.
  private func isBlank(_ row: UnsafePointer<Float>) -> Bool {
    guard let blank = plan.blank else { return false }
    var isNumber = true
    for index in 0..<plan.classes { isNumber = isNumber && row[index] == row[index] }
    let others = max(
      largestValue(row, blank), largestValue(row + blank + 1, plan.classes - blank - 1))
    return isNumber && others <= row[blank]
  }

  /// A sample's row; of several positions, the best one.
  private mutating func row(
    of sample: Int, in output: UnsafeBufferPointer<Float>
  ) -> UnsafePointer<Float> {
    let all = output.baseAddress!
    var best = all + plan.start(sample: sample, position: 0)
    guard let blank = plan.blank, plan.positions > 1 else { return best }
    var bestScore = score(best, blank: blank)
    for position in 1..<plan.positions {
      let row = all + plan.start(sample: sample, position: position)
      let score = score(row, blank: blank)
      if score > bestScore { (best, bestScore) = (row, score) }
    }
    return best
  }

  /// Grows with the largest probability of a class other than blank.
  private mutating func score(_ row: UnsafePointer<Float>, blank: Int) -> Float {
    let before = largestValue(row, blank)
    let after = largestValue(row + blank + 1, plan.classes - blank - 1)
    let nonblank = max(before, after)
    guard plan.kind == .logits else { return nonblank }
    // log p = logit - log-sum-exp. The order of probabilities is that of e^(logit - max) / sum.
    let maximum = max(nonblank, row[blank])
    return exponentials.withUnsafeMutableBufferPointer { powers in
      writeExponentials(
        row, maximum: maximum, scale: 1, count: plan.classes, into: powers.baseAddress!)
      let sum = laneSum(powers.baseAddress!, plan.classes)
      return nonblank - maximum - Float(logarithm(sum))
    }
  }

  private func take(_ row: UnsafePointer<Float>, into target: UnsafeMutableBufferPointer<Float>) {
    if keepsAll {
      target.baseAddress!.update(from: row, count: target.count)
    } else {
      indices.withUnsafeBufferPointer { indices in
        for index in 0..<target.count { target[index] = row[Int(indices[index])] }
      }
    }
  }
}

/// The largest of `count` values; -infinity of none.
private func largestValue(_ values: UnsafePointer<Float>, _ count: Int) -> Float {
  var lanes = SIMD16<Float>(repeating: -.infinity)
  let whole = count / 16 * 16
  for start in stride(from: 0, to: whole, by: 16) {
    let next = UnsafeRawPointer(values + start).loadUnaligned(as: SIMD16<Float>.self)
    lanes.replace(with: next, where: next .> lanes)
  }
  var largest = lanes.max()
  for index in whole..<count where values[index] > largest { largest = values[index] }
  return largest
}

/// The sum of `count` values, in 16 lanes joined in order.
private func laneSum(_ values: UnsafePointer<Float>, _ count: Int) -> Float {
  var lanes = SIMD16<Float>.zero
  let whole = count / 16 * 16
  for start in stride(from: 0, to: whole, by: 16) {
    lanes += UnsafeRawPointer(values + start).loadUnaligned(as: SIMD16<Float>.self)
  }
  var sum: Float = 0
  for lane in 0..<16 { sum += lanes[lane] }
  for index in whole..<count { sum += values[index] }
  return sum
}

/// The natural logarithm of `x`.
///
/// Our own, because the C library's differs between CPUs with and without fused multiply-add, and
/// loops over this one vectorise.
///
/// - Parameter x: positive, finite and not subnormal; NaN gives NaN.
/// - Accuracy: within 2.4e-7 relative or 3e-8 absolute of the exact value (`ONNXTeacherTests`).
/// - Source: polynomial of the Cephes library, `logf`.
@inline(__always)
package func logarithm(_ x: Float) -> Float {
  let bits = x.bitPattern
  let unit = Float(bitPattern: (bits & 0x007F_FFFF) | 0x3F80_0000)
  let isLarge = unit > 1.414_213_56
  let m = (isLarge ? unit * 0.5 : unit) - 1
  let e = Float(Int32(bitPattern: bits &>> 23) &- 127) + (isLarge ? 1 : 0)
  var p: Float = 7.037_683_6e-2
  p = p * m - 1.151_461e-1
  p = p * m + 1.167_699_9e-1
  p = p * m - 1.242_014_1e-1
  p = p * m + 1.424_932_3e-1
  p = p * m - 1.666_805_8e-1
  p = p * m + 2.000_071_5e-1
  p = p * m - 2.499_999_4e-1
  p = p * m + 3.333_333_1e-1
  let z = m * m
  let low = p * m * z + e * -2.121_944_4e-4 - 0.5 * z
  let result = m + low + e * 0.693_359_375
  return x == x ? result : x
}
