import Basics

/// Foretells the tail ratios of a record from its gaps, in integers only.
///
/// Of a ratio r = log(tail / head) at T, what the head says by itself is taken away first:
/// `e = r + G / T + H`, where G is the gap of rank k-1 and H the head's log-sum-exp at T, is the logarithm of the
/// tail's mass in units of the last head class. A linear function of the last gap, the middle gap and the e of the
/// temperatures before, learned from calibration rows, foretells e.
struct TailPredictor: Equatable, Sendable {
  /// Numbers that a prediction is made of, before those of earlier temperatures: 1 nat, the gap of rank k-1, the
  /// gap of rank k/2.
  static let base = 3
  /// Bits after the point of a coefficient.
  static let fraction: Int64 = 12
  /// No coefficient is larger in magnitude: predictions stay within an Int64.
  static let limit: Int64 = 1 << 20

  /// Coefficients of each temperature: `base`, and one for each temperature before it.
  let coefficients: [[Int32]]

  /// Where nothing was learned: e at the first temperature is 0, at others that of the temperature before.
  static func plain(temperatures: Int) -> TailPredictor {
    TailPredictor(
      coefficients: (0..<temperatures).map { index in
        var own = [Int32](repeating: 0, count: base + index)
        if index > 0 { own[base + index - 1] = 1 << Int32(fraction) }
        return own
      })
  }
}

/// Computes the predictions for a block: the tables behind `TailPredictor`.
struct TailModel {
  private let encoding: Encoding
  private let predictor: TailPredictor
  /// 2^16 exp(-gap / T) by level, four temperatures side by side, until the last one's rounds to 0.
  private let powers: [[SIMD4<UInt64>]]
  private let logarithm: HeadLogarithm
  /// Head sums at four temperatures [rows], e of all temperatures [temperatures, rows].
  private var sums: [SIMD4<UInt64>] = []
  private var excess: [Int32] = []
  /// What the head says by itself at the temperature at hand [rows].
  private var shifts: [Int32] = []

  init(_ encoding: Encoding, _ predictor: TailPredictor) {
    self.encoding = encoding
    self.predictor = predictor
    let temperatures = encoding.tailTemperatures
    powers = stride(from: 0, to: temperatures.count, by: 4).map { first in
      let group = temperatures[first..<min(first + 4, temperatures.count)]
      let columns = group.map { TailModel.powers($0, encoding) }
      return (0..<(columns.map(\.count).max() ?? 0)).map { level in
        var powers = SIMD4<UInt64>()
        for (lane, column) in columns.enumerated() {
          powers[lane] = column[min(level, column.count - 1)]
        }
        return powers
      }
    }
    logarithm = HeadLogarithm(tailStepsPerNat: encoding.tailStepsPerNat)
  }

  /// 2^16 exp(-gap / T) by level, until it rounds to 0.
  private static func powers(_ temperature: Temperature, _ encoding: Encoding) -> [UInt64] {
    let step = 1 / (Double(encoding.stepsPerNat) * temperature.value)
    // exp(-12) 2^16 < 1/2.
    return (0...Int(12 / step)).map {
      UInt64((65_536 * exactExp(-Double($0) * step)).rounded(.toNearestOrEven))
    }
  }

  /// Visits the temperatures in order.
  ///
  /// - Parameter body: is given the temperature and its predictions [rows], and puts the ratios in their place.
  @inline(__always)
  mutating func predict(
    _ columns: borrowing RecordColumns,
    _ body: (Int, UnsafeMutableBufferPointer<Int32>) throws -> Void
  ) rethrows {
    let rows = columns.rows
    excess.setCount(columns.temperatures * rows, filler: 0)
    shifts.setCount(rows, filler: 0)
    for index in 0..<columns.temperatures {
      if index % 4 == 0 { sumHeads(columns, powers[index / 4]) }
      writePredictions(columns, index)
      try excess.withUnsafeMutableBufferPointer { excess in
        let own = UnsafeMutableBufferPointer(rebasing: excess[index * rows..<(index + 1) * rows])
        try body(index, own)
        for row in 0..<rows { own[row] &+= shifts[row] }
      }
    }
  }

  /// Writes the predictions at a temperature where its e will be, and its shifts.
  private mutating func writePredictions(_ columns: borrowing RecordColumns, _ index: Int) {
    let (rows, k) = (columns.rows, encoding.k)
    let temperature = encoding.temperatures[index]
    let numerator = UInt64(encoding.tailStepsPerNat * temperature.denominator)
    let division = Division(by: UInt64(encoding.stepsPerNat * temperature.numerator))
    let coefficients = predictor.coefficients[index].map { Int64($0) }
    // With half a unit, to round.
    let constant =
      coefficients[0] * Int64(encoding.tailStepsPerNat) + 1 << (TailPredictor.fraction - 1)
    let (sums, logarithm) = (sums, logarithm)
    let lane = 8 * (index % 4)
    sums.withUnsafeBytes { sums in
      columns.levels.withUnsafeBufferPointer { levels in
        excess.withUnsafeMutableBufferPointer { excess in
          shifts.withUnsafeMutableBufferPointer { shifts in
            for row in 0..<rows {
              let gap = levels[(k &- 1) &* rows &+ row]
              let middle = levels[(k / 2) &* rows &+ row]
              let head = sums.load(fromByteOffset: 32 &* row &+ lane, as: UInt64.self)
              let shift =
                Int32(truncatingIfNeeded: division.quotient(of: UInt64(gap) &* numerator))
                &+ logarithm.of(head)
              var sum =
                constant &+ coefficients[1] &* Int64(gap) &+ coefficients[2] &* Int64(middle)
              for before in 0..<index {
                sum &+=
                  coefficients[TailPredictor.base &+ before]
                  &* Int64(excess[before &* rows &+ row])
              }
              shifts[row] = shift
              excess[index &* rows &+ row] =
                Int32(truncatingIfNeeded: sum &>> TailPredictor.fraction) &- shift
            }
          }
        }
      }
    }
  }

  /// Sums 2^16 exp(-gap / T) over the head of every row, at four temperatures; each sum is at least 2^16.
  private mutating func sumHeads(
    _ columns: borrowing RecordColumns, _ powers: [SIMD4<UInt64>]
  ) {
    let rows = columns.rows
    sums.removeAll(keepingCapacity: true)
    sums.setCount(rows, filler: SIMD4())
    sums.withUnsafeMutableBufferPointer { sums in
      columns.levels.withUnsafeBufferPointer { levels in
        powers.withUnsafeBufferPointer { powers in
          let end = UInt32(powers.count &- 1)
          for rank in 0..<encoding.k {
            let start = rank &* rows
            for row in 0..<rows { sums[row] &+= powers[Int(min(levels[start &+ row], end))] }
          }
        }
      }
    }
  }
}

/// The logarithm of a head's sum, from tables.
private struct HeadLogarithm {
  /// ln 2 times 0...24 in tail steps.
  private let octaves: [Int32]
  /// ln(1 + (i + 1/2) / 256) in tail steps, i = 0...255.
  private let mantissas: [Int32]

  init(tailStepsPerNat: Int) {
    let steps = Double(tailStepsPerNat)
    octaves = (0...24).map {
      Int32((Double($0) * exactLog(2) * steps).rounded(.toNearestOrEven))
    }
    mantissas = (0..<256).map {
      Int32((exactLog(1 + (Double($0) + 0.5) / 256) * steps).rounded(.toNearestOrEven))
    }
  }

  /// ln(sum / 2^16) in tail steps, within 1/500 nat and a step.
  @inline(__always)
  func of(_ sum: UInt64) -> Int32 {
    let octave = 63 &- sum.leadingZeroBitCount  // 16...40: a head has at most 2^24 classes
    let mantissa = (sum &<< UInt64(truncatingIfNeeded: 40 &- octave)) &>> 32 & 255
    return octaves[octave &- 16] &+ mantissas[Int(mantissa)]
  }
}

/// Divides integers by the same one, by a multiplication (Granlund and Montgomery 1994).
package struct Division {
  private let divisor: UInt64
  /// Just above 2^64 / divisor.
  private let reciprocal: UInt64

  package init(by divisor: UInt64) {
    self.divisor = divisor
    reciprocal = divisor == 1 ? 0 : .max / divisor + 1
  }

  /// `dividend / divisor`, rounded down.
  ///
  /// - Precondition: dividend times divisor is below 2^64: the reciprocal's error of less than 1 is then less than
  ///   1 / divisor in the quotient. Steps, gaps and temperatures have that within their limits: 2^28 (2^8 1000)^2.
  @inline(__always)
  package func quotient(of dividend: UInt64) -> UInt64 {
    divisor == 1 ? dividend : dividend.multipliedFullWidth(by: reciprocal).high
  }
}

extension TailPredictor {
  /// Learns the coefficients of each temperature by least squares.
  ///
  /// Sums are of integers, and the solution is made of IEEE 754 operations in a fixed order.
  static func learn(_ blocks: [RecordColumns], _ encoding: Encoding) -> TailPredictor {
    let count = encoding.tailTemperatures.count
    var equations = (0..<count).map { NormalEquations(base + $0) }
    for columns in blocks { add(columns, encoding, to: &equations) }
    return TailPredictor(
      coefficients: equations.map { $0.solution().map { coefficient($0) } })
  }

  private static func coefficient(_ value: Double) -> Int32 {
    let scaled = (value * Double(1 << fraction)).rounded(.toNearestOrEven)
    return Int32(max(-Double(limit), min(Double(limit), scaled)))
  }

  /// Adds the numbers and the e of every row to the sums of each temperature.
  private static func add(
    _ columns: RecordColumns, _ encoding: Encoding, to equations: inout [NormalEquations]
  ) {
    let rows = columns.rows
    // Foretelling e = 0 gives minus what the head says: e is then the ratio minus that.
    let zero = TailPredictor(
      coefficients: equations.indices.map { [Int32](repeating: 0, count: base + $0) })
    var model = TailModel(encoding, zero)
    var excess = [[Double]](repeating: [], count: columns.temperatures)
    model.predict(columns) { temperature, values in
      for row in 0..<rows {
        let ratio = columns.tails[temperature * rows + row]
        excess[temperature].append(Double(ratio &- values[row]))
        values[row] = ratio
      }
    }
    for row in 0..<rows {
      var numbers = [
        Double(encoding.tailStepsPerNat),
        Double(columns.levels[(encoding.k - 1) * rows + row]),
        Double(columns.levels[(encoding.k / 2) * rows + row]),
      ]
      for temperature in equations.indices {
        equations[temperature].add(numbers, excess[temperature][row])
        numbers.append(excess[temperature][row])
      }
    }
  }
}

/// Sums of a least-squares problem, and its solution.
private struct NormalEquations {
  private let size: Int
  /// [size, size + 1], the right side last.
  private var sums: [Double]

  init(_ size: Int) {
    self.size = size
    sums = Array(repeating: 0, count: size * (size + 1))
  }

  mutating func add(_ numbers: [Double], _ target: Double) {
    for i in 0..<size {
      for j in 0..<size { sums[i * (size + 1) + j] += numbers[i] * numbers[j] }
      sums[i * (size + 1) + size] += numbers[i] * target
    }
  }

  /// Gaussian elimination; a little ridge makes numbers that say nothing new count nothing.
  func solution() -> [Double] {
    var a = sums
    let width = size + 1
    for i in 0..<size { a[i * width + i] += 1e-6 * a[i * width + i] + 1 }
    for i in 0..<size {
      for j in i + 1..<max(size, i + 1) {
        let factor = a[j * width + i] / a[i * width + i]
        for column in i..<width { a[j * width + column] -= factor * a[i * width + column] }
      }
    }
    var x = [Double](repeating: 0, count: size)
    for i in (0..<size).reversed() {
      var rest = a[i * width + size]
      for j in i + 1..<max(size, i + 1) { rest -= a[i * width + j] * x[j] }
      x[i] = rest / a[i * width + i]
    }
    return x
  }
}
