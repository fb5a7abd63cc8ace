import Basics
import LogitCache
import Losses
import Networks
import Views

/// The part of a training step that compares the student's features with the teacher's.
///
/// A student of another width is compared through a projector that learns with it; it is kept in
/// checkpoints and left out of the model.
final class FeatureStep {
  /// From the student's width to the teacher's; `nil` when they are equal.
  let projector: Projector?
  private let network: Network
  private var loss: FeatureLoss

  /// Reads the class means of a cache that keeps features.
  ///
  /// - Throws: `Problem` when the cache keeps none, or the student has no features of its own.
  init(_ configuration: LossConfiguration, _ cache: CacheReader, _ network: Network, seed: UInt64)
    throws
  {
    guard network.hasTrainedFeatures else {
      throw Problem(
        .configuration,
        "loss '\(configuration)' compares features, and those of '\(network.architecture)' are its "
          + "input: choose a model with a hidden layer")
    }
    let means = try cache.classMeans()
    loss = FeatureLoss(
      configuration: configuration, classMeans: means.span, classes: network.classes)
    self.network = network
    projector =
      network.featureWidth == loss.width
      ? nil : Projector(width: network.featureWidth, outputs: loss.width, seed: seed)
  }

  /// Compares the features of the network's latest batch.
  ///
  /// - Parameter step: counted over the whole run.
  /// - Returns: the weighted sum of the feature terms, and its gradient at the network's features.
  func evaluate(_ batch: TrainingBatch, step: Int) throws -> (loss: Double, gradient: Tensor) {
    guard let teacher = batch.teacher else { throw LossError.missingTeacher }
    let features = projector?.forward(network.features, step: step) ?? network.features
    let gradient =
      projector?.outputGradient(count: batch.count) ?? network.featureGradient(count: batch.count)
    let report = try features.withValues { features in
      try gradient.withMutableValues { gradient in
        try loss.evaluate(
          features: features, teacherNorms: teacher.featureNorms.span, labels: batch.labels.span,
          partnerLabels: batch.partnerLabels.span,
          ownShares: batch.partnerLabels.isEmpty
            ? Span() : batch.views.ownShares.span.extracting(0..<batch.count),
          gradient: &gradient)
      }
    }
    return (report.total, projector?.backward(gradient) ?? gradient)
  }
}
