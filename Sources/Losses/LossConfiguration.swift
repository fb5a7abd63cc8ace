/// A weighted sum of losses with an optional warm-up.
public struct LossConfiguration: Hashable, Sendable {
  /// The terms, at most `maximumTerms`.
  public var terms: [LossTerm]
  /// The number of epochs in which terms that compare logits grow to their full weight; 0 is none.
  ///
  /// Their factor is min(1, epoch / warmupEpochs), epochs counted from 0.
  public var warmupEpochs: Int

  /// How many terms a sum may have.
  public static let maximumTerms = 8

  /// Makes a configuration of up to `maximumTerms` terms.
  public init(_ terms: [LossTerm], warmupEpochs: Int = 0) {
    precondition(
      terms.count <= Self.maximumTerms, "\(terms.count) terms, at most \(Self.maximumTerms)")
    self.terms = terms
    self.warmupEpochs = warmupEpochs
  }

  /// The factor of a term in an epoch (counted from 0): its weight, times the warm-up.
  public func factor(of term: LossTerm, epoch: Int) -> Double {
    guard term.comparesLogits && warmupEpochs > 0 else { return term.weight }
    return term.weight * min(1, Double(epoch) / Double(warmupEpochs))
  }

  /// What training with this configuration needs.
  public var requirements: LossRequirements {
    let teaching = terms.filter(\.comparesLogits)
    return LossRequirements(
      teacher: !teaching.isEmpty,
      tailTemperatures: Set(teaching.compactMap(\.temperature)).filter(\.isFinite).sorted(),
      fullRowTerms: terms.filter(\.wantsFullRows),
      usesFullRows: terms.contains(where: \.usesFullRows),
      order: terms.contains(where: \.readsOrder), ranking: terms.contains(where: \.usesRanking),
      features: terms.contains(where: \.comparesFeatures))
  }
}

/// What a configuration needs from a cache and from the student; the trainer decides what to do
/// when it is not there.
public struct LossRequirements: Hashable, Sendable {
  /// Whether a teacher's records are needed at all.
  public var teacher: Bool
  /// The temperatures that should be among the planned tail temperatures, ascending; at others the
  /// tail is interpolated.
  public var tailTemperatures: [Float]
  /// The terms that are only approximate when k < C, whatever the tail; empty is good.
  public var fullRowTerms: [LossTerm]
  /// Whether full rows should be rebuilt where a cache can do it: one matrix product for each batch.
  public var usesFullRows: Bool
  /// Whether a term reads classes in the teacher's order, so that full rows must be sorted.
  public var order: Bool
  /// Whether a term reads the order of all classes where a cache keeps it.
  public var ranking: Bool
  /// Whether class means, teacher feature norms and the student's features are needed.
  public var features: Bool
}
