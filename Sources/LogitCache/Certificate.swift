import Basics

/// The distribution of one error over records: count, mean, largest, and a histogram.
public struct ErrorStatistic: Equatable, Sendable {
  /// Sum over records.
  public private(set) var sum = 0.0
  /// The largest value; 0 when there are no records.
  public private(set) var max = 0.0
  /// Records per bucket: bucket 0 below 2^-24, then four to an octave, the last from 2^8 on.
  public private(set) var histogram = [UInt64](repeating: 0, count: ErrorStatistic.buckets)

  static let buckets = 32 * 4 + 2
  /// The top fourteen bits of a Double, sign, exponent and two bits of mantissa, of 2^-24.
  private static let lowest = Int((0x1p-24).bitPattern >> 50)

  /// No records.
  public init() {}

  /// The number of records.
  public var count: Int { Int(histogram.reduce(0, +)) }

  /// The mean; 0 when there are no records.
  public var mean: Double { count == 0 ? 0 : sum / Double(count) }

  /// A value that the fraction `fraction` of records does not exceed: the upper edge of a bucket (at
  /// most a quarter too high), or the largest value where that is lower.
  public func quantile(_ fraction: Double) -> Double {
    let wanted = UInt64((Double(count) * fraction).rounded(.up))
    var seen: UInt64 = 0
    for (bucket, records) in histogram.enumerated() {
      seen += records
      if seen >= wanted, seen > 0 { return Swift.min(max, ErrorStatistic.upperEdge(of: bucket)) }
    }
    return max
  }

  /// 99 % of the records have an error no larger than this.
  public var p99: Double { quantile(0.99) }

  package mutating func add(_ value: Double) {
    precondition(value >= 0, "an error of \(value)")
    sum += value
    max = Swift.max(max, value)
    histogram[ErrorStatistic.bucket(of: value)] += 1
  }

  /// Replaces the sum by a smaller one that is known to be right.
  mutating func lowerSum(to bound: Double) { sum = Swift.min(sum, bound) }

  /// Adds another set of records.
  ///
  /// Sums depend on the order of merging in their last bits, so blocks are merged in key order.
  public mutating func merge(_ other: ErrorStatistic) {
    sum += other.sum
    max = Swift.max(max, other.max)
    for bucket in histogram.indices { histogram[bucket] += other.histogram[bucket] }
  }

  @inline(__always)
  static func bucket(of value: Double) -> Int {
    Swift.min(Swift.max(Int(value.bitPattern >> 50) - lowest + 1, 0), buckets - 1)
  }

  static func upperEdge(of bucket: Int) -> Double {
    bucket == buckets - 1 ? .infinity : Double(bitPattern: UInt64(lowest + bucket) << 50)
  }

  /// Sum and largest value as stored doubles, then the occupied range of the histogram.
  func append(to writer: inout ByteWriter) {
    writer.append(sum.bitPattern)
    writer.append(max.bitPattern)
    let first = histogram.firstIndex { $0 > 0 } ?? 0
    let end = (histogram.lastIndex { $0 > 0 } ?? -1) + 1
    writer.append(variable: UInt64(first))
    writer.append(variable: UInt64(Swift.max(end - first, 0)))
    for bucket in first..<Swift.max(end, first) { writer.append(variable: histogram[bucket]) }
  }

  /// Reads what `append` wrote; `nil` unless it counts `records`.
  @_lifetime(reader: copy reader)
  static func read(from reader: inout ByteReader, records: Int) -> ErrorStatistic? {
    var statistic = ErrorStatistic()
    guard let sum = reader.next(UInt64.self), let max = reader.next(UInt64.self),
      let first = reader.nextVariable(), let count = reader.nextVariable(),
      first <= UInt64(buckets), count <= UInt64(buckets) - first
    else { return nil }
    statistic.sum = Double(bitPattern: sum)
    statistic.max = Double(bitPattern: max)
    var total: UInt64 = 0
    for bucket in Int(first)..<Int(first + count) {
      guard let value = reader.nextVariable(), value <= UInt64(records) else { return nil }
      statistic.histogram[bucket] = value
      total += value
    }
    guard total == UInt64(records), statistic.sum.isFinite, statistic.sum >= 0,
      statistic.max.isFinite, statistic.max >= 0
    else { return nil }
    return statistic
  }
}

/// The measured error of stored records against the teacher's full rows.
///
/// Distributions are compared as a reader rebuilds them: head probabilities from the quantised gaps,
/// the tail's mass from the stored ratio, spread evenly over the C - k tail classes. With a subspace
/// tail, errors at temperatures above 1 and the missing energy are those of rebuilt full rows
/// (`FullRowMeter`); at 1 and below, nearly all of the mass is in the head, which losses then read alone.
public struct Certificate: Equatable, Sendable {
  /// The errors at one planned temperature T; p is the full row's softmax at T.
  public struct AtTemperature: Equatable, Sendable {
    /// T.
    public let temperature: Temperature
    /// Total variation, half of sum |p - p'|, 0...1.
    public var totalVariation = ErrorStatistic()
    /// T |p - p'|: the L2 error of KD's gradient with respect to a record's student logits.
    public var kdGradientError = ErrorStatistic()
    /// Mass of the classes that PLD does not place: neither in the head nor the label.
    ///
    /// With a ranking it places all; then half of sum |p - w| over these classes, w the weights that fall
    /// with the rank (`RankedWeights`).
    public var pldDroppedWeight = ErrorStatistic()
    /// 1 - Pearson correlation of p and p' over classes, DIST's inter-class distance; 0 when the
    /// full row is constant.
    public var distAngle = ErrorStatistic()

    init(_ temperature: Temperature) { self.temperature = temperature }

    fileprivate static var fields: [WritableKeyPath<AtTemperature, ErrorStatistic>] {
      [\.totalVariation, \.kdGradientError, \.pldDroppedWeight, \.distAngle]
    }
  }

  /// Per planned temperature, ascending.
  public var atTemperature: [AtTemperature]
  /// Energy of the logits' error relative to the row's own: sum (t - t')^2 / sum (t - mean t)^2.
  ///
  /// The denominator is at least one step squared for every class. Tail logits are taken as the
  /// constant that has the stored mass at the highest planned temperature.
  public var mseMissingEnergy = ErrorStatistic()
  /// Records whose first class is the full row's first class.
  public var topOneAgreements = 0
  /// Records whose whole head is the full row's first k classes in the same order.
  public var orderAgreements = 0

  /// No records.
  public init(temperatures: [Temperature]) {
    atTemperature = temperatures.map { AtTemperature($0) }
  }

  /// Leaves what full rows are read for to be measured anew.
  mutating func forgetFullRows() {
    mseMissingEnergy = ErrorStatistic()
    for index in atTemperature.indices where atTemperature[index].temperature.wantsFullRows {
      atTemperature[index] = AtTemperature(atTemperature[index].temperature)
    }
  }

  /// The number of records measured.
  public var records: Int { mseMissingEnergy.count }

  /// Adds the records of another block; merge in key order for equal sums.
  public mutating func merge(_ other: Certificate) {
    precondition(
      atTemperature.map(\.temperature) == other.atTemperature.map(\.temperature),
      "certificates at different temperatures")
    for index in atTemperature.indices {
      for field in AtTemperature.fields {
        atTemperature[index][keyPath: field].merge(other.atTemperature[index][keyPath: field])
      }
    }
    mseMissingEnergy.merge(other.mseMissingEnergy)
    topOneAgreements += other.topOneAgreements
    orderAgreements += other.orderAgreements
  }

  func append(to writer: inout ByteWriter) {
    writer.append(variable: UInt64(topOneAgreements))
    writer.append(variable: UInt64(orderAgreements))
    mseMissingEnergy.append(to: &writer)
    for errors in atTemperature {
      for field in AtTemperature.fields { errors[keyPath: field].append(to: &writer) }
    }
  }

  @_lifetime(reader: copy reader)
  static func read(
    from reader: inout ByteReader, temperatures: [Temperature], records: Int
  ) -> Certificate? {
    var certificate = Certificate(temperatures: temperatures)
    guard let topOne = reader.nextVariable(), let order = reader.nextVariable(),
      topOne <= UInt64(records), order <= UInt64(records),
      let energy = ErrorStatistic.read(from: &reader, records: records)
    else { return nil }
    certificate.topOneAgreements = Int(topOne)
    certificate.orderAgreements = Int(order)
    certificate.mseMissingEnergy = energy
    for index in temperatures.indices {
      for field in AtTemperature.fields {
        guard let statistic = ErrorStatistic.read(from: &reader, records: records) else {
          return nil
        }
        certificate.atTemperature[index][keyPath: field] = statistic
      }
    }
    return certificate
  }
}
