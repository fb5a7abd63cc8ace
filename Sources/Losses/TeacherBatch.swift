/// What a teacher said about a batch of records, never a dense [B, C] array.
///
/// Holds the k best classes of each record and a description of the rest.
///
/// Shapes are row-major with `count` rows (B); values are in natural-log units (nats).
/// The teacher's logit of head entry j is `largestLogit - gap[j]`; `gap[0] == 0` for the best class.
public struct TeacherBatch: Sendable {
  /// C, the number of classes.
  public let classes: Int
  /// k, the number of head classes of every record; k <= C.
  public let k: Int
  /// The temperatures at which the tail mass is stored, ascending; empty only when k == C.
  public let tailTemperatures: [Float]

  /// B, the number of records held.
  public private(set) var count: Int

  /// Head class ids [B, k], in descending teacher order (ties: lower id first).
  public var classIDs: [Int32]
  /// Head gaps to the largest logit [B, k], >= 0, ascending along each row.
  public var gaps: [Float]
  /// The largest teacher logit [B].
  public var largestLogits: [Float]
  /// The true label [B].
  public var labels: [Int32]
  /// The label's gap to the largest logit [B]; also when the label is outside the head.
  public var labelGaps: [Float]
  /// The label's rank in the teacher's order [B], 0 = the teacher's first choice.
  public var labelRanks: [Int32]
  /// log(tail mass / head mass) at each planned temperature [B, tailTemperatures.count];
  /// empty when k == C (there is no tail).
  public var logTailRatios: [Float]
  /// Whether the mean tail gap of every record is kept.
  public let hasMeanTailGaps: Bool
  /// The mean over the tail classes of their gap to the largest logit [B]; empty unless kept.
  public var meanTailGaps: [Float]
  /// Whether the norm of the teacher's feature of every record is kept.
  public let hasFeatureNorms: Bool
  /// The norm of the teacher's feature [B], >= 0; empty unless kept.
  public var featureNorms: [Float]
  /// Whether the order of all classes of every record is kept.
  public let hasRanking: Bool
  /// All classes in descending teacher order [B, C], ties lower class first; empty unless kept.
  ///
  /// The first k are the head's. PLD places them all.
  public var ranking: [Int32]
  /// The number of axes of a subspace tail, from which full rows can be rebuilt; nil without one.
  ///
  /// Losses never look at coefficients: they read the k = C batch made of them (`takeRows`).
  public let axes: Int?
  /// Coefficients of every record on its cache's axes [B, axes], in nats.
  public var coefficients: [Float]
  /// The gap of a rebuilt row's level to the largest logit [B]; empty without a tail.
  public var rowOffsets: [Float]
  /// Whether classes are in descending teacher order.
  ///
  /// False only for full rows taken in without it: the classes behind the head then ascend.
  public internal(set) var isOrdered = true
  /// Which sample and position each row belongs to; nil when every sample has one row.
  ///
  /// Set by who fills the batch; `resize` and `copyRow` leave it alone.
  public var places: RowPlaces?
  /// What full rows keep of the records they were made of; nil for every other batch.
  public internal(set) var anchor: TailAnchor?

  /// Makes a batch of `count` zeroed rows.
  ///
  /// - Precondition: 1 <= k <= classes; temperatures are given exactly when k < classes, and are
  ///   positive, finite and ascending.
  public init(
    classes: Int, k: Int, tailTemperatures: [Float], count: Int, meanTailGaps: Bool = false,
    featureNorms: Bool = false, axes: Int? = nil, ranking: Bool = false
  ) {
    precondition(k >= 1 && k <= classes, "k = \(k) must be in 1...\(classes)")
    precondition(
      k < classes ? !tailTemperatures.isEmpty : tailTemperatures.isEmpty,
      "tail temperatures belong to k < classes: k = \(k), classes = \(classes)")
    precondition(
      zip([0] + tailTemperatures, tailTemperatures + [.infinity]).allSatisfy { $0 < $1 },
      "tail temperatures must be positive, finite and ascending: \(tailTemperatures)")
    self.classes = classes
    self.k = k
    self.tailTemperatures = tailTemperatures
    self.count = 0
    classIDs = []
    gaps = []
    largestLogits = []
    labels = []
    labelGaps = []
    labelRanks = []
    logTailRatios = []
    hasMeanTailGaps = meanTailGaps
    self.meanTailGaps = []
    hasFeatureNorms = featureNorms
    self.featureNorms = []
    hasRanking = ranking
    self.ranking = []
    self.axes = axes
    coefficients = []
    rowOffsets = []
    resize(to: count)
  }

  /// Changes the number of rows, keeping what fits; allocates only when it grows past its largest.
  public mutating func resize(to newCount: Int) {
    func fit<T>(_ array: inout [T], _ size: Int, _ filler: T) {
      if array.count > size {
        array.removeLast(array.count - size)
      } else {
        array.append(contentsOf: repeatElement(filler, count: size - array.count))
      }
    }
    fit(&classIDs, newCount * k, 0)
    fit(&gaps, newCount * k, 0)
    fit(&largestLogits, newCount, 0)
    fit(&labels, newCount, 0)
    fit(&labelGaps, newCount, 0)
    fit(&labelRanks, newCount, 0)
    fit(&logTailRatios, newCount * tailTemperatures.count, 0)
    fit(&meanTailGaps, hasMeanTailGaps ? newCount : 0, 0)
    fit(&featureNorms, hasFeatureNorms ? newCount : 0, 0)
    fit(&ranking, hasRanking ? newCount * classes : 0, 0)
    fit(&coefficients, newCount * (axes ?? 0), 0)
    fit(&rowOffsets, axes == nil ? 0 : newCount, 0)
    count = newCount
  }

  /// How much memory the rows take.
  package var byteCount: Int {
    let head = classIDs.count + gaps.count + logTailRatios.count
    let rows = largestLogits.count + labels.count + labelGaps.count + labelRanks.count
    let optional = meanTailGaps.count + featureNorms.count + rowOffsets.count + coefficients.count
    let placed = places.map { $0.starts.count + $0.positions.count } ?? 0
    return 4 * (head + rows + optional + ranking.count + placed)
  }

  /// Copies row `source` of another batch of the same shape into row `row`.
  public mutating func copyRow(_ source: Int, of other: borrowing TeacherBatch, to row: Int) {
    precondition(
      row >= 0 && row < count && source >= 0 && source < other.count,
      "row \(source) of \(other.count) cannot become row \(row) of \(count)")
    copy(other.classIDs, source, to: &classIDs, row, width: k)
    copy(other.gaps, source, to: &gaps, row, width: k)
    copy(other.largestLogits, source, to: &largestLogits, row, width: 1)
    copy(other.labels, source, to: &labels, row, width: 1)
    copy(other.labelGaps, source, to: &labelGaps, row, width: 1)
    copy(other.labelRanks, source, to: &labelRanks, row, width: 1)
    copy(other.logTailRatios, source, to: &logTailRatios, row, width: tailTemperatures.count)
    if hasMeanTailGaps { copy(other.meanTailGaps, source, to: &meanTailGaps, row, width: 1) }
    if hasFeatureNorms { copy(other.featureNorms, source, to: &featureNorms, row, width: 1) }
    if hasRanking { copy(other.ranking, source, to: &ranking, row, width: classes) }
    if let axes {
      copy(other.rowOffsets, source, to: &rowOffsets, row, width: 1)
      copy(other.coefficients, source, to: &coefficients, row, width: axes)
    }
  }
}

/// Copies a row of `width` numbers, without a check for each number.
@inline(__always)
private func copy<Number: BitwiseCopyable>(
  _ source: [Number], _ sourceRow: Int, to target: inout [Number], _ targetRow: Int, width: Int
) {
  precondition(
    (sourceRow &+ 1) &* width <= source.count && (targetRow &+ 1) &* width <= target.count,
    "rows \(sourceRow) and \(targetRow) of \(width) in \(source.count) and \(target.count) numbers")
  source.withUnsafeBufferPointer { source in
    target.withUnsafeMutableBufferPointer { target in
      for index in 0..<width {
        target[targetRow &* width &+ index] = source[sourceRow &* width &+ index]
      }
    }
  }
}
