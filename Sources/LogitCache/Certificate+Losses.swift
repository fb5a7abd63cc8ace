public import Losses

/// One number of a certificate on which a loss depends.
public struct CertifiedError: Sendable {
  /// What is measured.
  public enum Measure: String, Codable, Sendable {
    /// `Certificate.AtTemperature.kdGradientError`.
    case kdGradientError
    /// `Certificate.AtTemperature.pldDroppedWeight`.
    case pldDroppedWeight
    /// `Certificate.AtTemperature.distAngle`.
    case distAngle
    /// `Certificate.mseMissingEnergy`.
    case mseMissingEnergy

    /// The largest mean with which a student is trained unasked (docs/decisions/0013-certificate-limits.md).
    public var limit: Double {
      switch self {
      case .kdGradientError: 0.1
      case .pldDroppedWeight: 0.2
      case .distAngle, .mseMissingEnergy: 0.03
      }
    }
  }

  /// What is measured.
  public let measure: Measure
  /// The temperature it is measured at; `nil` for measures without one.
  public let temperature: Temperature?
  /// The error over all records.
  public let statistic: ErrorStatistic

  /// "kdGradientError@4".
  public var name: String { measure.rawValue + (temperature.map { "@\($0)" } ?? "") }

  /// Whether a student is trained with it unasked.
  public var isWithinLimit: Bool { statistic.mean <= measure.limit }
}

extension Certificate {
  /// The errors that bear on a loss: none when it reads no records, `nil` when none was measured at its temperature.
  ///
  /// KD and DKD need their gradient's length and its direction: an even tail under a flat teacher is a short
  /// error in a shorter gradient. DIST's columns have no measure of their own; they go as wrong as the logits.
  ///
  /// - Parameter hasTail: whether k < C. Without a tail the only error is rounding, which no temperature makes
  ///   larger, and the worst of the planned temperatures stands for the others.
  public func errors(of term: LossTerm, hasTail: Bool) -> [CertifiedError]? {
    guard term.weight > 0 else { return [] }
    let energy = CertifiedError(
      measure: .mseMissingEnergy, temperature: nil, statistic: mseMissingEnergy)
    switch term {
    case .crossEntropy, .normDirection, .classMeanCosine: return []
    case .mse: return [energy]
    case .kd(_, let temperature, _) where temperature == .infinity: return [energy]
    case .kd(_, let temperature, _), .dkd(_, let temperature, _, _):
      return errors([.kdGradientError, .distAngle], at: temperature, hasTail)
    case .pld(_, let temperature, _):
      return errors([.pldDroppedWeight], at: temperature, hasTail)
    case .dist(_, let settings):
      let rows = settings.beta == 0 ? [] : [CertifiedError.Measure.distAngle]
      let columns = settings.gamma == 0 ? [] : [energy]
      return errors(rows, at: settings.temperature, hasTail).map { $0 + columns }
    }
  }

  private func errors(
    _ measures: [CertifiedError.Measure], at temperature: Float, _ hasTail: Bool
  ) -> [CertifiedError]? {
    let planned = atTemperature.filter { Float($0.temperature.value) == temperature }
    guard !hasTail || !planned.isEmpty else { return nil }
    return measures.compactMap { measure in
      (planned.isEmpty ? atTemperature : planned)
        .map { $0.error(measure) }.max { $0.statistic.mean < $1.statistic.mean }
    }
  }
}

extension Certificate.AtTemperature {
  /// - Precondition: the measure has a temperature.
  fileprivate func error(_ measure: CertifiedError.Measure) -> CertifiedError {
    let statistic =
      switch measure {
      case .kdGradientError: kdGradientError
      case .pldDroppedWeight: pldDroppedWeight
      case .distAngle: distAngle
      case .mseMissingEnergy: preconditionFailure("\(measure) has no temperature")
      }
    return CertifiedError(measure: measure, temperature: temperature, statistic: statistic)
  }
}
