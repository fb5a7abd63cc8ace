import Foundation

/// Bounds the error of derived records against the teacher's full rows, which nobody has any more.
///
/// Let x be a full row, m the source's record of it (restricted to the classes that remain), d the derived
/// record. What lies between m and d is computed for each record; what lies between x and m is at most the
/// source block's largest error. Then:
///
/// - total variation and KD's gradient error are norms: |x - d| <= |x - m| + |m - d|;
/// - DIST's angle 1 - r: sqrt(2 (1 - r)) is the distance of centred rows of length 1, so roots add;
/// - MSE's energy is a squared distance over a denominator that a coarser step only makes larger: roots
///   add. The denominator of |m - d| is bounded from below by m's own energy and the source's error;
/// - PLD's dropped weight grows by the teacher's mass of the classes that left the head, which is at most
///   their mass in m plus the total variation. A source with a ranking drops nothing; without it, or with
///   another head, what is dropped or stands with a wrong class is at most the mass outside the new head;
/// - the first choice and the order of the head stay: the source's counts are a lower bound.
///
/// Sums need no largest error: those of norms add, and roots of sums of squares do (Minkowski). Of a subset
/// of classes the source's certificate says nothing, but all stored logits are within half a step of the
/// teacher's, which moves log-odds by at most a step (`SubsetError`).
struct InheritedErrors {
  private let target: Encoding
  /// Whether the head keeps its classes, and a ranking stays: then PLD drops what it dropped.
  private let keepsHead: Bool
  private let wasRanked: Bool
  private let isSubset: Bool
  /// How far a stored gap, and a stored logit, may be from the teacher's, in nats.
  private let gapError: Double
  private let logitError: Double
  private var distance: RecordDistance
  private var source: Certificate
  private var bound: Certificate
  /// Per temperature, sums over records of what lies between m and d.
  private var sums: [Sums] = []
  private var energySum = 0.0

  private struct Sums {
    var totalVariation = 0.0
    var kdGradientError = 0.0
    var distAngle = 0.0
    var left = 0.0
  }

  init(from source: Encoding, to target: Encoding, isDerived: Bool, isSubset: Bool) {
    self.target = target
    self.isSubset = isSubset
    keepsHead = !isSubset && source.k == target.k && source.ranking == target.ranking
    wasRanked = source.ranking != nil
    // Each coarser step of earlier derivations divided the one before: half a step, a quarter, ...
    gapError = (isDerived ? 1 : 0.5) / Double(source.stepsPerNat)
    logitError = gapError + 0.5 / Double(source.largestStepsPerNat)
    distance = RecordDistance(source, target)
    self.source = Certificate(temperatures: target.temperatures)
    bound = self.source
  }

  /// Starts a block whose source has the errors `certificate`.
  mutating func begin(_ certificate: Certificate) {
    source = certificate
    bound = Certificate(temperatures: target.temperatures)
    sums = target.temperatures.map { _ in Sums() }
    energySum = 0
  }

  /// Adds record `index` of the derived columns, made from `row`.
  mutating func add(_ row: RecordDerivation.Row, _ columns: RecordColumns, _ index: Int) {
    distance.load(row, columns, index)
    for t in target.temperatures.indices {
      let between = distance.measure(t)
      let before = errorBefore(t, between)
      let temperature = target.temperatures[t].value
      var sum = Sums()
      sum.totalVariation = between.totalVariation
      sum.kdGradientError = temperature * between.euclidean
      sum.distAngle = between.angle
      sum.left = between.massLeft + (wasRanked ? between.tailMass : 0)
      bound.atTemperature[t].totalVariation.add(
        min(1, before.totalVariation + sum.totalVariation))
      bound.atTemperature[t].kdGradientError.add(before.kdGradientError + sum.kdGradientError)
      bound.atTemperature[t].distAngle.add(min(2, rootSum(before.distAngle, sum.distAngle)))
      let left = sum.left > 0 ? sum.left + before.totalVariation : 0
      let dropped = wasRanked ? 0 : before.pldDroppedWeight
      bound.atTemperature[t].pldDroppedWeight.add(min(1, dropped + left))
      sums[t].totalVariation += sum.totalVariation
      sums[t].kdGradientError += sum.kdGradientError
      sums[t].distAngle += sum.distAngle
      sums[t].left += sum.left
    }
    addEnergy()
  }

  /// The error between x and m: the block's largest, or that of a subset of full rows.
  private func errorBefore(
    _ t: Int, _ between: RecordDistance.AtTemperature
  ) -> (
    totalVariation: Double, kdGradientError: Double, distAngle: Double, pldDroppedWeight: Double
  ) {
    guard isSubset else {
      let errors = source.atTemperature[t]
      return (
        errors.totalVariation.max, errors.kdGradientError.max, errors.distAngle.max,
        errors.pldDroppedWeight.max
      )
    }
    let temperature = target.temperatures[t].value
    let error = SubsetError(gapError: gapError, temperature: temperature)
    return (
      error.totalVariation, temperature * error.euclidean, error.angle(length: between.length), 0
    )
  }

  private mutating func addEnergy() {
    let (squared, length) = distance.logits()
    let smallest =
      Double(target.classes).squareRoot() / Double(target.stepsPerNat)  // RowMeter's floor
    var before = source.mseMissingEnergy.max.squareRoot()
    var floor = max(smallest, length / (1 + before))
    if isSubset {
      let shift = Double(target.classes).squareRoot() * logitError
      floor = max(smallest, length - shift)
      before = shift / floor
    }
    let between = squared / (floor * floor)
    bound.mseMissingEnergy.add(rootSum(before * before, between))
    energySum += between
  }

  /// The bounds of all records added since `begin`.
  mutating func finish() -> Certificate {
    bound.topOneAgreements = isSubset ? source.orderAgreements : source.topOneAgreements
    bound.orderAgreements = source.orderAgreements
    if isSubset { return bound }
    for t in bound.atTemperature.indices {
      let (errors, sum) = (source.atTemperature[t], sums[t])
      bound.atTemperature[t].totalVariation.lowerSum(
        to: errors.totalVariation.sum + sum.totalVariation)
      bound.atTemperature[t].kdGradientError.lowerSum(
        to: errors.kdGradientError.sum + sum.kdGradientError)
      bound.atTemperature[t].distAngle.lowerSum(
        to: rootSum(errors.distAngle.sum, sum.distAngle))
      bound.atTemperature[t].pldDroppedWeight.lowerSum(
        to: (wasRanked ? 0 : errors.pldDroppedWeight.sum) + sum.left + errors.totalVariation.sum)
      if keepsHead {
        bound.atTemperature[t].pldDroppedWeight = errors.pldDroppedWeight
      }
    }
    bound.mseMissingEnergy.lowerSum(to: rootSum(source.mseMissingEnergy.sum, energySum))
    return bound
  }
}

/// (sqrt a + sqrt b)^2: the square of a sum of two lengths whose squares are a and b.
private func rootSum(_ a: Double, _ b: Double) -> Double {
  let root = a.squareRoot() + b.squareRoot()
  return root * root
}

/// How far stored full rows, restricted to some classes, can be from the teacher's.
///
/// With every gap within `gapError`, log-odds of any set of classes are within twice that over T, and
/// the probability of a set moves by at most tanh(gapError / 2T).
private struct SubsetError {
  let totalVariation: Double
  /// Differences that sum to 0 have positive and negative parts of the total variation each.
  var euclidean: Double { 2.0.squareRoot() * totalVariation }

  init(gapError: Double, temperature: Double) { totalVariation = tanh(gapError / temperature / 2) }

  /// 1 - correlation, where the stored row has this length after centring: the sine of the angle is at
  /// most the distance over the length.
  func angle(length: Double) -> Double {
    let sine = euclidean / length
    return sine < 1 ? 1 - (1 - sine * sine).squareRoot() : 2
  }
}
