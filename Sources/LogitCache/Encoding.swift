import Basics

/// A temperature as an exact fraction, so that it can be digested: 1, 2, or "3/2".
public struct Temperature: Hashable, Sendable, Codable, ExpressibleByIntegerLiteral,
  CustomStringConvertible
{
  /// The numerator, 1...1000.
  public let numerator: Int
  /// The denominator, 1...1000; the fraction is in lowest terms.
  public let denominator: Int

  /// The fraction `numerator / denominator`, reduced; `nil` outside 1...1000.
  public init?(_ numerator: Int, over denominator: Int = 1) {
    guard (1...1000).contains(numerator), (1...1000).contains(denominator) else { return nil }
    var (a, b) = (numerator, denominator)
    while b != 0 { (a, b) = (b, a % b) }
    self.numerator = numerator / a
    self.denominator = denominator / a
  }

  /// A whole temperature, 1...1000.
  public init(integerLiteral value: Int) {
    guard let temperature = Temperature(value) else {
      preconditionFailure("temperature \(value) is not in 1...1000")
    }
    self = temperature
  }

  /// Reads "2" or "3/2"; `nil` for anything else.
  public init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
    guard (1...2).contains(parts.count), let top = parts[0], let bottom = parts[parts.count - 1]
    else {
      return nil
    }
    if parts.count == 1 {
      self.init(top)
    } else {
      self.init(top, over: bottom)
    }
  }

  /// The value, no unit.
  public var value: Double { Double(numerator) / Double(denominator) }

  /// Whether losses at this temperature read full rows where a cache can rebuild them
  /// (`LossTerm.usesFullRows`): above 1.
  package var wantsFullRows: Bool { numerator > denominator }

  /// "2" or "3/2".
  public var description: String {
    denominator == 1 ? "\(numerator)" : "\(numerator)/\(denominator)"
  }

  /// Reads an integer, or text such as "3/2" in lowest terms.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let whole = try? container.decode(Int.self)
    let text = try whole.map(String.init) ?? container.decode(String.self)
    guard let temperature = Temperature(text), temperature.description == text else {
      throw Problem(.corrupt, "'\(text)' is not a temperature such as 2 or \"3/2\"")
    }
    self = temperature
  }

  /// Writes an integer, or text such as "3/2".
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if denominator == 1 {
      try container.encode(numerator)
    } else {
      try container.encode(description)
    }
  }
}

/// How records are stored; everything but `zstdLevel` decides their bytes.
public struct Encoding: Codable, Hashable, Sendable {
  /// C, the number of classes, 1...2^24.
  public var classes: Int
  /// k, the number of classes kept of every record, 1...C; k = C keeps them all and has no tail.
  public var k: Int
  /// Steps of a gap in one nat.
  public var stepsPerNat: Int
  /// Steps of the largest logit in one nat.
  public var largestStepsPerNat: Int
  /// Steps of log(tail / head) in one nat.
  public var tailStepsPerNat: Int
  /// The planned temperatures, ascending: of the tail ratios (when k < C) and of the certificate.
  public var temperatures: [Temperature]
  /// D, the width of the teacher's features whose norms and class means are kept; absent when none are.
  public var featureWidth: Int?
  /// How full rows are kept beside the head; absent when they are not.
  public var subspaceTail: SubspaceTail?
  /// How the order of the classes behind the head is kept; absent when it is not.
  public var ranking: Ranking?
  /// How a view has a record for each of several positions; absent when it has one.
  public var positions: Positions?
  /// Samples of a block, and so its records unless there are positions; the last block of a view may hold
  /// fewer.
  public var blockRows: Int
  /// The block codec; 1 is the only one.
  public var codec: Int
  /// The zstd level of new blocks, 1...19.
  ///
  /// Not part of the fingerprint.
  public var zstdLevel: Int

  /// The defaults for `k` of `classes` classes.
  ///
  /// A subspace tail loses so little that the head's rounding would be most of it: steps are finer then,
  /// 1/64 for gaps and 1/256 for ratios instead of 1/32 and 1/64, for two bytes a record.
  public init(
    classes: Int, k: Int, stepsPerNat: Int? = nil, largestStepsPerNat: Int? = nil,
    tailStepsPerNat: Int? = nil, temperatures: [Temperature] = [1, 2, 4],
    featureWidth: Int? = nil,
    subspaceTail: SubspaceTail? = nil, ranking: Ranking? = nil, positions: Positions? = nil,
    blockRows: Int? = nil, zstdLevel: Int = 1
  ) {
    self.classes = classes
    self.k = k
    let isFine = subspaceTail != nil
    self.stepsPerNat = stepsPerNat ?? (isFine ? 64 : 32)
    self.largestStepsPerNat = largestStepsPerNat ?? self.stepsPerNat
    self.tailStepsPerNat = tailStepsPerNat ?? (isFine ? 256 : 64)
    self.temperatures = temperatures
    self.featureWidth = featureWidth
    self.subspaceTail = subspaceTail
    self.ranking = ranking
    self.positions = positions
    let records = Encoding.defaultBlockRows(classes: classes, k: k, ranking: ranking)
    self.blockRows = blockRows ?? max(1, records / (positions?.maximum ?? 1))
    codec = 1
    self.zstdLevel = zstdLevel
  }

  /// 2,048 rows for k <= 20, 1,024 for k <= 50, 512 above: 30 to 130 kB stored.
  ///
  /// Fewer where a block of full rows would exceed 256 MiB, or 2^20 ids of a ranking.
  public static func defaultBlockRows(classes: Int, k: Int, ranking: Ranking? = nil) -> Int {
    let rows = k <= 20 ? 2048 : k <= 50 ? 1024 : 512
    let most = ranking == nil ? 1 << 26 : Ranking.usualIDs
    return max(1, min(rows, most / max(classes, 1)))
  }

  /// Digits of a record's ranking: of the ranks k...C-2, as only one class is left for the last.
  var rankedDigits: Int { ranking == nil ? 0 : classes - k - 1 }

  /// No block has more records.
  public var blockRecords: Int { blockRows * (positions?.maximum ?? 1) }

  /// The temperatures whose tail ratios a record stores: none when k = C.
  public var tailTemperatures: [Temperature] { k < classes ? temperatures : [] }

  /// - Throws: `Problem(.configuration)` naming the field that is out of range.
  func validate() throws {
    try demand(classes, in: 1...Limits.classes, "classes")
    try demand(k, in: 1...classes, "k")
    for (steps, name) in [
      (stepsPerNat, "stepsPerNat"), (largestStepsPerNat, "largestStepsPerNat"),
      (tailStepsPerNat, "tailStepsPerNat"),
    ] {
      try demand(steps, in: 1...Limits.stepsPerNat, name)
    }
    try demand(
      largestStepsPerNat, in: stepsPerNat...Limits.stepsPerNat, "largestStepsPerNat")
    try demand(temperatures.count, in: 1...Limits.temperatures, "the number of temperatures")
    guard temperatures.allSatisfy({ $0.value >= 0.25 }) else {
      throw Problem(.configuration, "temperatures \(temperatures) must be 1/4 or more")
    }
    guard zip(temperatures, temperatures.dropFirst()).allSatisfy({ $0.value < $1.value }) else {
      throw Problem(.configuration, "temperatures \(temperatures) must be ascending")
    }
    let widest = min(Limits.featureWidth, max(1, Limits.classMeans / classes))
    try demand(featureWidth ?? 1, in: 1...widest, "featureWidth")
    if let subspaceTail { try validate(subspaceTail) }
    try demand(blockRows, in: 1...Limits.blockRows, "blockRows")
    if let positions { try validate(positions) }
    if ranking != nil { try validateRanking() }
    try demand(codec, in: 1...1, "codec")
    try demand(zstdLevel, in: 1...19, "zstdLevel")
    guard largestBlock <= Limits.blockBytes else {
      throw Problem(
        .configuration,
        "\(blockRecords) rows of k = \(k) can take \(largestBlock) bytes a block; "
          + "at most \(Limits.blockBytes) are allowed: choose a smaller blockRows")
    }
  }

  private func validate(_ tail: SubspaceTail) throws {
    guard k < classes else {
      throw Problem(
        .configuration,
        "encoding: a subspace tail keeps the classes that k leaves out, and k = \(k) is all of them: "
          + "choose a smaller k, or no subspace tail")
    }
    try demand(tail.stepSixteenths, in: SubspaceTail.steps, "subspaceTail.stepSixteenths")
    try demand(tail.maximumAxes, in: 1...Limits.axes, "subspaceTail.maximumAxes")
    try demand(tail.axisBytes, in: 1...2, "subspaceTail.axisBytes")
  }

  private func validate(_ positions: Positions) throws {
    try demand(positions.maximum, in: Positions.allowed, "positions.maximum")
    try demand(
      blockRows, in: 1...Limits.blockRows / positions.maximum, "blockRows with positions")
    guard featureWidth == nil else {
      throw Problem(
        .configuration,
        "encoding: features are kept of one record per view, not of positions: leave them out")
    }
  }

  private func validateRanking() throws {
    guard k < classes else {
      throw Problem(
        .configuration,
        "encoding: a ranking orders the classes that k leaves out, and k = \(k) is all of them: their "
          + "order is kept without it")
    }
    guard subspaceTail == nil else {
      throw Problem(
        .configuration,
        "encoding: a ranking and a subspace tail both keep the classes behind the head: choose one")
    }
    guard classes <= Ranking.classes else {
      throw Problem(
        .configuration,
        "encoding: a ranking of \(classes) classes would take some \(classes * 2 / 1000) kB a record; "
          + "at most \(Ranking.classes) classes are ranked")
    }
    try demand(
      blockRecords, in: 1...Ranking.ids / classes,
      positions == nil ? "blockRows with a ranking" : "blockRows x positions with a ranking")
  }

  private func demand(_ value: Int, in range: ClosedRange<Int>, _ name: String) throws {
    guard range.contains(value) else {
      throw Problem(
        .configuration,
        "encoding: \(name) is \(value), it must be in \(range.lowerBound)...\(range.upperBound)")
    }
  }

  /// No canonical block of this encoding is longer, in bytes.
  var largestBlock: Int {
    // Half a byte of code, a bucket and at most 29 bits more.
    let integer = 6
    var integers = 2 * k + 3 + (featureWidth == nil ? 0 : 1) + tailTemperatures.count
    var directory = BlockHeader.largestDirectory
    if let subspaceTail {
      integers += min(subspaceTail.maximumAxes, classes) + 1
      directory += BlockHeader.largestSubspaceDirectory
    }
    if ranking != nil {
      integers += rankedDigits
      directory += BlockHeader.largestRankingDirectory
    }
    if positions != nil {
      integers += 2
      directory += BlockHeader.positionsDirectory
    }
    return BlockHeader.size + directory + blockRecords * integers * integer + 256
  }
}

/// What a cache can hold (docs/FORMAT.md, "Limits").
enum Limits {
  static let classes = 1 << 24
  static let stepsPerNat = 1 << 8
  static let temperatures = 8
  /// Of records, too.
  static let blockRows = 1 << 16
  static let blockBytes = 1 << 30
  /// Of a subspace tail.
  static let axes = 4096
  /// Of a logit, in nats.
  ///
  /// Keeps every stored integer below 2^30 in magnitude.
  static let magnitude: Float = 262_144
  /// The largest gap in steps: twice the magnitude at the finest step is 2^27, plus rounding.
  static let level: UInt32 = 1 << 28
  /// The largest logit and the tail ratio, in steps.
  static let signed: Int32 = 1 << 30
  static let featureWidth = 1 << 16
  /// C x D: the class means are held in memory, 1 GiB.
  static let classMeans = 1 << 28
  /// Of a number of a feature.
  ///
  /// Keeps the sum of 2^31 records in steps of 2^-16 within 2^62.
  static let feature: Float = 32_768
  static let recordsWithFeatures = 1 << 31
  static let samples = 1 << 40
  static let views = 1 << 24
}
