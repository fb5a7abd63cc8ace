import Basics

/// The exact sum of the teacher's features over records of one class.
///
/// Features are rounded to steps of 2^-16 and added as 64-bit integers, so a cache's sums depend
/// neither on the order of blocks nor on kills or threads.
struct ClassSum: Equatable, Sendable {
  /// Steps of a feature in one unit.
  static let stepsPerUnit = 65_536.0
  /// The largest step of a feature: `Limits.feature` in steps.
  private static let largestStep = Int64(1) << 31

  /// How many records were added.
  private(set) var records = 0
  /// The sum of their features in steps [D].
  private(set) var steps: [Int64]

  /// The sum of no records.
  init(width: Int) { steps = Array(repeating: 0, count: width) }

  /// Adds a record's feature [D].
  ///
  /// - Precondition: finite and within `Limits.feature`, so that 2^31 records stay below 2^62.
  mutating func add(_ feature: UnsafeBufferPointer<Float>) {
    precondition(
      feature.count == steps.count, "a feature of \(feature.count) for sums of \(steps.count)")
    // Adding 1.5 * 2^52 rounds to an integer, half to even, and leaves it in the low bits.
    let shifter = 6_755_399_441_055_744.0
    let zero = Int64(bitPattern: shifter.bitPattern)
    steps.withUnsafeMutableBufferPointer { steps in
      for d in 0..<steps.count {
        let shifted = Double(feature[d]) * ClassSum.stepsPerUnit + shifter
        steps[d] &+= Int64(bitPattern: shifted.bitPattern) &- zero
      }
    }
    records += 1
  }

  /// Adds the sum of other records.
  mutating func add(_ other: ClassSum) {
    precondition(
      other.steps.count == steps.count, "sums of \(other.steps.count) to sums of \(steps.count)")
    for d in steps.indices { steps[d] += other.steps[d] }
    records += other.records
  }

  /// The mean feature [D].
  func writeMean(to mean: UnsafeMutableBufferPointer<Float>) {
    let scale = ClassSum.stepsPerUnit * Double(records)
    for d in steps.indices { mean[d] = Float(Double(steps[d]) / scale) }
  }

  /// What is stored: the number of records, then the sums.
  var bytes: [UInt8] {
    var writer = ByteWriter()
    writer.append(UInt64(records))
    for step in steps { writer.append(step) }
    return writer.bytes
  }

  /// Reads stored bytes.
  ///
  /// - Throws: `Problem(.corrupt)` when there are not D sums, or not such that `limit` records can
  ///   have.
  init(_ bytes: RawSpan, width: Int, limit: Int) throws {
    var reader = ByteReader(bytes)
    guard bytes.byteCount == 8 * (width + 1), let stored = reader.next(UInt64.self) else {
      throw Problem(.corrupt, "\(bytes.byteCount) bytes for sums of \(width) features")
    }
    guard let records = Int(exactly: stored), (1...limit).contains(records) else {
      throw Problem(.corrupt, "\(stored) records, the cache has at most \(limit)")
    }
    self.records = records
    steps = []
    steps.reserveCapacity(width)
    let largest = (Int64(records) * ClassSum.largestStep).magnitude
    while let step = reader.next(Int64.self) {
      guard step.magnitude <= largest else {
        throw Problem(.corrupt, "a sum of \(step) steps is too large for \(records) records")
      }
      steps.append(step)
    }
  }
}

/// The norm of a record's feature as a 16-bit integer: 0, or 32,768 + 256 ln(norm), rounded.
///
/// - Accuracy: within 0.2 % relative: half a step is e^(1/512) - 1. Norms below e^-64 become 0.
enum FeatureNorm {
  private static let stepsPerNat = 256.0
  private static let codeOfOne = 32_768.0

  /// Every code but 0: norms from e^-64 to e^64.
  static let codes: ClosedRange<UInt32> = 16_384...49_152

  /// The code of the norm of a feature that is finite and within `Limits.feature`.
  static func code(of feature: UnsafeBufferPointer<Float>) -> UInt32 {
    var square = 0.0
    for value in feature { square += Double(value) * Double(value) }
    guard square > 0 else { return 0 }
    let code = (codeOfOne + exactLog(square) * (stepsPerNat / 2)).rounded(.toNearestOrEven)
    return code < Double(codes.lowerBound) ? 0 : UInt32(code)
  }

  /// The norm that a code means; the same bits on every machine.
  @inline(__always)
  static func value(of code: UInt32) -> Float {
    if code == 0 { return 0 }
    let logarithm = (Double(code) - codeOfOne) / stepsPerNat
    return Float(exactExpOfEitherSign(logarithm))
  }
}
