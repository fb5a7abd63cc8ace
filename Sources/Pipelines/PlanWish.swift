import Basics
import LogitCache
import Losses
import Reports

/// Which cache is wanted of a plan: bounds on its errors, on its bytes, or on both.
struct PlanWish {
  private let terms: [LossTerm]
  private let maximumError: Double?
  private let budget: Int?
  private let isAsked: Bool

  /// - Throws: `Problem(.configuration)` for a loss that is not understood.
  init(_ request: PlanJob) throws {
    terms = try request.losses.flatMap { try lossConfiguration($0).terms }
    maximumError = request.maximumError
    budget = request.budget
    isAsked = !request.losses.isEmpty || maximumError != nil || budget != nil
  }

  /// Marks the smallest cache within the bounds or, when only its size is bounded, the one most exact for
  /// the losses.
  ///
  /// - Parameter certificates: of the report's rows.
  func choose(in report: inout PlanReport, _ certificates: [Certificate]) {
    guard isAsked, let first = certificates.first else { return }
    report.budget = budget
    let bounded = maximumError != nil || budget == nil
    let terms = self.terms.isEmpty ? PlanWish.standardLosses(first) : self.terms
    report.losses = terms.map(\.description)
    // Of every row the largest error relative to its limit; infinite where it was not measured.
    let excesses = zip(report.rows, certificates).map { row, certificate in
      terms.map { excess($0, certificate, hasTail: row.k < report.job.classes) }.max() ?? 0
    }
    if bounded { report.bounds = terms.flatMap { bounds($0, first) } }
    let fitting = report.rows.indices.filter { index in
      (!bounded || excesses[index] <= 1) && report.rows[index].cacheBytes <= budget ?? .max
    }
    func size(_ index: Int) -> Int { report.rows[index].cacheBytes }
    report.chosen =
      bounded
      ? fitting.min { size($0) < size($1) }
      : fitting.min { (excesses[$0], size($0)) < (excesses[$1], size($1)) }
  }

  /// KD and PLD at the planned temperatures that the losses themselves start from.
  private static func standardLosses(_ certificate: Certificate) -> [LossTerm] {
    certificate.atTemperature.map { .kd(temperature: Float($0.temperature.value)) }
      + [.pld()]
  }

  private func limit(_ measure: CertifiedError.Measure) -> Double { maximumError ?? measure.limit }

  private func excess(_ term: LossTerm, _ certificate: Certificate, hasTail: Bool) -> Double {
    guard let errors = certificate.errors(of: term, hasTail: hasTail) else { return .infinity }
    return errors.map { $0.statistic.mean / limit($0.measure) }.max() ?? 0
  }

  private func bounds(_ term: LossTerm, _ certificate: Certificate) -> [PlanReport.Bound] {
    (certificate.errors(of: term, hasTail: true) ?? []).map {
      PlanReport.Bound(loss: term.description, measure: $0.name, limit: limit($0.measure))
    }
  }
}
