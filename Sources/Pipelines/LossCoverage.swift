import Basics
import Foundation
import LogitCache
import Losses

/// An error of a cache's records that is too large for a loss to be trained unasked.
public struct UncoveredLoss: Codable, Sendable, CustomStringConvertible {
  /// The term of the loss, "kd@4".
  public var loss: String
  /// The measure of the certificate, "distAngle@4".
  public var measure: String
  /// Mean over all records; absent when the certificate has no such number.
  public var mean: Double?
  /// The largest of all records.
  public var max: Double?
  /// The largest mean that is trained with unasked.
  public var limit: Double?

  /// "kd@4: distAngle@4 is 0.118 (largest 0.42), the limit is 0.03".
  public var description: String {
    guard let mean, let max, let limit else {
      return "\(loss): no error was measured at \(measure)"
    }
    return "\(loss): \(measure) is \(short(mean)) (largest \(short(max))), the limit is \(limit)"
  }
}

/// Three digits are enough to act on.
private func short(_ value: Double) -> String { String(format: "%.3g", value) }

/// What the certificate has against training with a loss; empty when nothing.
func uncovered(
  _ loss: LossConfiguration, by certificate: Certificate, _ encoding: Encoding
) -> [UncoveredLoss] {
  loss.terms.flatMap { term -> [UncoveredLoss] in
    guard let errors = certificate.errors(of: term, hasTail: encoding.k < encoding.classes) else {
      return [
        UncoveredLoss(
          loss: term.description, measure: String(format: "T = %g", term.temperature ?? 0))
      ]
    }
    return errors.filter { !$0.isWithinLimit }.map {
      UncoveredLoss(
        loss: term.description, measure: $0.name, mean: $0.statistic.mean, max: $0.statistic.max,
        limit: $0.measure.limit)
    }
  }
}

/// Refuses what a cache's certificate says it cannot serve, unless its error is accepted.
///
/// - Returns: the errors that were accepted.
/// - Throws: `Problem(.corrupt)` with the numbers and what to do.
func demandCoverage(
  of loss: LossConfiguration, by cache: CacheReader, _ options: TrainingOptions
) throws -> [UncoveredLoss] {
  guard loss.requirements.teacher else { return [] }
  let encoding = cache.manifest.encoding
  let found = uncovered(loss, by: try cache.certificate(), encoding)
  guard !found.isEmpty, !options.acceptsError else { return found }
  let hasTail = encoding.k < encoding.classes
  let kept = hasTail ? "k = \(encoding.k) of" : "all of"
  let isPLD = found.allSatisfy { $0.measure.hasPrefix("pldDroppedWeight") }
  let tail =
    isPLD && encoding.ranking == nil && encoding.subspaceTail == nil
    ? " or --ranking full, "
    : encoding.subspaceTail == nil ? " or --tail subspace, " : " or a smaller --tail-step, "
  let planned = encoding.temperatures.map(\.description).joined(separator: ", ")
  throw Problem(
    .corrupt,
    "\(cache.path) keeps \(kept) \(encoding.classes) classes, too little for loss '\(loss)':\n"
      + found.map { "  \($0)\n" }.joined()
      + (found.contains { $0.mean == nil } ? "Errors were measured at T = \(planned). " : "")
      + "Train with another loss, "
      + (hasTail ? "precompute with a larger --k ('logitcache plan' says which)" + tail : "")
      + "or go on with --accept-error.")
}
