import LogitCache

/// What a record keeps of a teacher's row: one line of a plan.
public struct RowChoice: Hashable, Sendable {
  /// What is kept of the classes outside the head.
  public enum Tail: Hashable, Sendable {
    /// Nothing: the head has all classes.
    case none
    /// log(tail / head) at the planned temperatures.
    case ratios
    /// These, and every logit as coefficients on learned axes.
    case subspace(SubspaceTail)
  }

  /// Classes of the head.
  public var k: Int
  /// What is kept of the others.
  public var tail: Tail
  /// What is kept of their order; `nil` for nothing.
  public var ranking: Ranking?

  /// Classes of the head beside a subspace tail, as `precompute` has it.
  public static let headOfSubspace = 10

  /// A head of `k` of `classes` classes, the tail that goes with it, and perhaps the order of the others.
  public init(k: Int, of classes: Int, ranking: Ranking? = nil) {
    self.k = k
    self.ranking = ranking
    tail = k < classes ? .ratios : .none
  }

  /// A small head and a subspace tail.
  public init(_ tail: SubspaceTail) {
    k = RowChoice.headOfSubspace
    self.tail = .subspace(tail)
  }

  /// The heads that are looked at unasked: some, and all classes.
  public static func standard(classes: Int) -> [RowChoice] {
    let heads = [5, 10, 20, 50, 100].filter { $0 < classes }
    // The order of many thousand classes takes seconds a block, and more bytes than anyone stores.
    let all = classes <= 2048 ? [classes] : []
    return (heads + all).map { RowChoice(k: $0, of: classes) }
  }

  /// The subspace tails that are looked at unasked: none where `precompute` keeps all classes unasked.
  public static func standardTails(classes: Int) -> [SubspaceTail] {
    classes <= 64 ? [] : [8, 4].map { SubspaceTail(stepSixteenths: 16 * $0) }
  }

  /// The subspace tail, if there is one.
  var subspaceTail: SubspaceTail? {
    if case .subspace(let tail) = tail { tail } else { nil }
  }

  /// The tail's name in reports.
  var tailName: String {
    switch tail {
    case .none: "none"
    case .ratios: "ratios"
    case .subspace: "subspace"
    }
  }

  /// The encoding of such records.
  func encoding(classes: Int, featureWidth: Int?, positions: Positions?) -> Encoding {
    Encoding(
      classes: classes, k: k, featureWidth: featureWidth, subspaceTail: subspaceTail,
      ranking: ranking, positions: positions)
  }

  /// The options of `precompute` that choose it.
  var options: [String] {
    guard let subspaceTail else {
      return ["--k", "\(k)"] + (ranking.map { ["--ranking", $0.rawValue] } ?? [])
    }
    let standard = SubspaceTail(stepSixteenths: subspaceTail.stepSixteenths)
    let axes =
      subspaceTail.maximumAxes == standard.maximumAxes
      ? [] : ["--tail-axes", "\(subspaceTail.maximumAxes)"]
    return ["--tail", "subspace", "--tail-step", subspaceTail.stepText] + axes + ["--k", "\(k)"]
  }
}
