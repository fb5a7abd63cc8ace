/// Computes the feature terms of a configuration and their gradient.
///
/// Both terms need, once, the mean of the teacher's features per class; ND also needs one number
/// per view, the norm of the teacher's feature. A student of another width projects its feature
/// first; the gradient then enters the projector.
public struct FeatureLoss: ~Copyable, @unchecked Sendable {
  /// Whose feature terms are computed.
  public let configuration: LossConfiguration
  /// K, the number of classes.
  public let classes: Int
  /// D, the width of a feature.
  public let width: Int
  private let means: MutableRow
  private let direction: MutableRow

  /// Makes an evaluator.
  ///
  /// - Parameters:
  ///   - configuration: terms other than the feature terms are left to `LossEvaluator`.
  ///   - classMeans: mean teacher feature of each class, shape [K, D], finite.
  ///   - classes: K.
  public init(configuration: LossConfiguration, classMeans: Span<Float>, classes: Int) {
    precondition(
      classes >= 1 && classMeans.count >= classes && classMeans.count % classes == 0,
      "\(classMeans.count) values of class means for \(classes) classes")
    self.configuration = configuration
    self.classes = classes
    width = classMeans.count / classes
    means = .allocate(capacity: classMeans.count)
    direction = .allocate(capacity: width)
    for index in 0..<classMeans.count { means[index] = classMeans[index] }
  }

  deinit {
    means.deallocate()
    direction.deallocate()
  }

  /// Computes the feature terms of a step and overwrites `gradient` with d total / d features.
  ///
  /// - Parameters:
  ///   - features: the student's, shape [B, D], finite.
  ///   - teacherNorms: the norm of the teacher's feature of each view [B], >= 0.
  ///   - labels: the true labels [B].
  ///   - partnerLabels: the labels of the partner samples of mixed views [B], or empty; the class
  ///     means are then mixed in the same shares.
  ///   - ownShares: the own label's share in each mixed view [B] in 0...1, or empty.
  ///   - gradient: shape [B, D], overwritten.
  /// - Throws: `LossError`; the gradient is then not to be used.
  public mutating func evaluate(
    features: Span<Float>, teacherNorms: Span<Float>, labels: Span<Int32>,
    partnerLabels: Span<Int32> = Span(), ownShares: Span<Float> = Span(),
    gradient: inout MutableSpan<Float>
  ) throws(LossError) -> LossReport {
    let count = labels.count
    precondition(
      features.count == count * width && gradient.count == features.count
        && teacherNorms.count == count && partnerLabels.count == ownShares.count
        && (partnerLabels.isEmpty || partnerLabels.count == count),
      """
      \(features.count) features, \(gradient.count) gradients, \(teacherNorms.count) norms, \
      \(partnerLabels.count) partners, \(ownShares.count) shares for \(count) rows of \(width)
      """)
    var report = LossReport()
    for index in 0..<gradient.count { gradient[index] = 0 }
    for row in 0..<count {
      let scale = try aim(
        row: row, label: labels[row], partner: partnerLabels.isEmpty ? nil : partnerLabels[row],
        share: ownShares.isEmpty ? 1 : ownShares[row])
      try gradient.withUnsafeMutableBufferPointer { slopes throws(LossError) in
        try features.withUnsafeBufferPointer { values throws(LossError) in
          try add(
            feature: values.baseAddress! + row * width, row: row,
            teacherNorm: Double(teacherNorms[row]), directionScale: scale, count: count,
            report: &report, to: slopes.baseAddress! + row * width)
        }
      }
    }
    for (index, term) in configuration.terms.enumerated() where term.comparesFeatures {
      report[index] /= Double(count)
      report.total += term.weight * report[index]
    }
    return report
  }

  /// Writes the (mixed) class mean to `direction`; returns 1 / its norm, or 0 for the zero vector.
  private func aim(row: Int, label: Int32, partner: Int32?, share: Float) throws(LossError)
    -> Double
  {
    try check(label, row: row)
    if let partner { try check(partner, row: row) }
    let own = means + Int(label) * width
    if let partner {
      let other = means + Int(partner) * width
      for d in 0..<width { direction[d] = share * own[d] + (1 - share) * other[d] }
    } else {
      direction.update(from: own, count: width)
    }
    let norm = innerProduct(direction, direction, count: width).squareRoot()
    return norm > 0 ? 1 / norm : 0
  }

  private func check(_ label: Int32, row: Int) throws(LossError) {
    guard label >= 0 && Int(label) < classes else {
      throw .labelOutOfRange(row: row, label: Int(label), classes: classes)
    }
  }

  /// Adds one row's terms.
  ///
  /// With e = direction * directionScale and n = max(|f|, |g|):
  /// term = 1 - <f, e> / n;  d/df = -(e / |f| - <f, e> f / |f|^3) when |f| >= |g|, else -e / |g|.
  /// The cosine baseline is the same with |g| = 0. Where e or n is zero: term 1, gradient 0.
  /// Norms within 1e-6 of each other count as equal, since they come rounded to float.
  /// Source: Wang and others 2023, arXiv:2305.17007.
  private func add(
    feature: Row, row: Int, teacherNorm: Double, directionScale: Double, count: Int,
    report: inout LossReport, to slope: MutableRow
  ) throws(LossError) {
    let norm = innerProduct(feature, feature, count: width).squareRoot()
    guard norm.isFinite else { throw .nonFiniteFeature(row: row) }
    let along = innerProduct(feature, direction, count: width) * directionScale
    for (index, term) in configuration.terms.enumerated() where term.comparesFeatures {
      var reference = teacherNorm
      if case .classMeanCosine = term { reference = 0 }
      let largest = max(norm, reference)
      guard largest > 0 && directionScale > 0 else {
        report[index] += 1
        continue
      }
      report[index] += 1 - along / largest
      let scale = term.weight / Double(count) / largest
      let pull = Float(scale * directionScale)
      let brake = Float(norm * (1 + 1e-6) >= reference ? scale * along / (norm * norm) : 0)
      for d in 0..<width { slope[d] += brake * feature[d] - pull * direction[d] }
    }
  }
}
