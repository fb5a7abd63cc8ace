import BLAS
import Basics
import DataSets
import Foundation
import LogitCache
import Losses
import Networks
import Teachers
import Views

/// How a training run is carried out; nothing here changes its result.
public struct TrainingOptions: Sendable {
  /// Where checkpoint, metrics and model go.
  public var folder: String
  /// How many cache blocks have their views recomputed before the first step.
  public var checkedViews: ViewCheck
  /// Train although the cache's certificate has larger errors than the loss's limits.
  public var acceptsError: Bool
  /// Threads of the network.
  public var threads: Int
  /// How many bytes of decoded records may be kept for later epochs.
  public var decodedBytes: Int
  /// Called with one readable line after each epoch.
  public var log: @Sendable (String) -> Void

  /// 1 GiB: ten million records at k = 10, one million at k = 100.
  public static let defaultDecodedBytes = 1 << 30

  /// All options.
  public init(
    folder: String, checkedViews: ViewCheck, acceptsError: Bool, threads: Int,
    decodedBytes: Int = defaultDecodedBytes, log: @escaping @Sendable (String) -> Void
  ) {
    self.folder = folder
    self.checkedViews = checkedViews
    self.acceptsError = acceptsError
    self.threads = threads
    self.decodedBytes = decodedBytes
    self.log = log
  }
}

/// What one epoch came to; one line of `metrics.jsonl`.
public struct EpochMetrics: Codable, Sendable {
  /// Epochs done, counted from 1.
  public var epoch: Int
  /// The view that was trained on.
  public var view: Int
  /// Mean total loss over the epoch's samples, or over their positions that count.
  public var loss: Double
  /// Share of training views, or of their positions that count, whose label the student named, while it
  /// was training.
  public var trainAccuracy: Double
  /// Accuracy on the test data, when there is any.
  public var testAccuracy: Double?
  /// Wall time of the epoch's steps; measuring and saving not counted.
  public var seconds: Double
  /// Errors of the cache's records beyond the limits of the loss, which `--accept-error` accepted; absent when
  /// there are none.
  public var acceptedErrors: [UncoveredLoss]?
}

/// Trains a network as a plan says, from labels or by replaying a cache; resumes after a checkpoint.
///
/// - Returns: the metrics of every epoch, earlier runs' included.
/// - Throws: `Problem`: a view that the cache does not know, another plan's checkpoint, a loss that the
///   cache cannot serve, losses that are not finite, interruption.
@discardableResult
public func train(_ plan: TrainingPlan, _ options: TrainingOptions) throws -> [EpochMetrics] {
  let run = try TrainingRun(plan, options)
  try run.resume()
  let batches = run.source.batches(ofEpochs: run.epochsDone..<max(run.epochsDone, plan.epochs))
  defer { batches.cancel() }
  while run.epochsDone < plan.epochs {
    let metrics = try run.trainOneEpoch(on: batches)
    options.log(describe(metrics, of: plan.epochs))
    try run.save(metrics)
  }
  try run.finish()
  return run.history
}

private func describe(_ metrics: EpochMetrics, of epochs: Int) -> String {
  let accuracy = metrics.testAccuracy.map { String(format: ", test accuracy %.2f %%", 100 * $0) }
  return String(
    format: "epoch %d/%d: loss %.4f, training accuracy %.2f %%", metrics.epoch, epochs,
    metrics.loss, 100 * metrics.trainAccuracy) + (accuracy ?? "")
    + String(format: ", %.1f s", metrics.seconds)
}

/// A training run between two epochs.
private final class TrainingRun {
  let plan: TrainingPlan
  let options: TrainingOptions
  let source: BatchSource
  let test: (any DataSet)?
  let model: Model
  let schedule: CosineSchedule
  let optimizer: StochasticGradientDescent
  private var evaluator: LossEvaluator
  /// What compares features; `nil` when no term of the loss does.
  private let features: FeatureStep?
  /// Everything that learns: the network, and the projector of its features if there is one.
  private let parameters: [Parameter]
  var epochsDone = 0
  var history: [EpochMetrics] = []

  init(_ requested: TrainingPlan, _ options: TrainingOptions) throws {
    var plan = requested
    self.options = options
    let loss = try lossConfiguration(plan.loss)
    let dataSet = try openDataSetWithProgress(plan.data)
    test = try plan.test.map { try openDataSetWithProgress($0) }
    let architecture = try Architecture(plan.model)
    try architecture.demandReading(dataSet.shape, of: dataSet.name)
    let network = try Network(
      architecture, input: LayerShape(dataSet.shape), classes: dataSet.classNames.count,
      positions: dataSet.positions, seed: UInt64(plan.seed),
      parallel: Parallel(threads: options.threads))
    model = Model(
      network: network,
      normalisation: Normalisation(mean: Float(plan.mean), deviation: Float(plan.deviation)))
    if let test { try model.demandFit(test, model: "'\(plan.model)'") }
    source = try openSource(plan, dataSet, loss, positions: network.positions, options)
    plan.dataFingerprint = dataSet.fingerprint
    plan.recipeDigest = source.augmenter.recipe.digest
    plan.cacheDigest = source.cache?.cacheDigest
    plan.runtime = BLASCore.version + " " + BLASCore.active
    self.plan = plan
    let steps = source.stepsPerEpoch
    schedule = CosineSchedule(
      peak: plan.learningRate, warmUpSteps: Int((plan.warmUpEpochs * Double(steps)).rounded()),
      steps: plan.epochs * steps)
    optimizer = StochasticGradientDescent(
      momentum: Float(plan.momentum), weightDecay: Float(plan.weightDecay),
      clipNorm: plan.clipNorm.map { Float($0) })
    evaluator = LossEvaluator(
      configuration: loss, classes: dataSet.classNames.count,
      maximumBatch: plan.batch * network.positions, k: source.headClasses)
    features =
      loss.requirements.features
      ? try source.cache.map { try FeatureStep(loss, $0, network, seed: UInt64(plan.seed)) } : nil
    parameters = network.parameters + (features?.projector?.parameters ?? [])
  }

  func trainOneEpoch(on batches: Prefetcher<TrainingBatch>) throws -> EpochMetrics {
    let clock = ContinuousClock()
    let start = clock.now
    var (loss, correct, seen, step) = (0.0, 0, 0, epochsDone * source.stepsPerEpoch)
    while step < (epochsDone + 1) * source.stepsPerEpoch, let batch = try batches.next() {
      if Interruption.isRequested {
        throw Interruption.problem(after: counted(epochsDone, "epoch"))
      }
      let logits = model.network.forward(model.inputBatch(of: batch.views))
      let gradient = model.network.logitsGradient(count: logits.count)
      let result = try evaluate(batch, logits, into: gradient, step: step)
      loss += result.loss * Double(batch.labels.count)
      correct += result.correct
      model.network.backward(gradient, featureGradient: result.featureGradient)
      optimizer.step(parameters, learningRate: schedule.learningRate(at: step))
      seen += batch.labels.count
      step += 1
      batches.recycle(batch)
    }
    let elapsed = (clock.now - start).inSeconds
    epochsDone += 1
    let rows = Double(max(seen, 1))
    return EpochMetrics(
      epoch: epochsDone, view: source.view(ofEpoch: epochsDone - 1), loss: loss / rows,
      trainAccuracy: Double(correct) / rows,
      testAccuracy: try test.map { try predictions(of: model, on: $0).accuracy },
      seconds: elapsed,
      acceptedErrors: source.acceptedErrors.isEmpty ? nil : source.acceptedErrors)
  }

  /// What a step came to: the mean loss over the rows that count, how many of them the student named, and
  /// the gradient at the features if a term of the loss reads them.
  private typealias StepResult = (loss: Double, correct: Int, featureGradient: Tensor?)

  /// Computes the loss and its gradients: at the logits, and at the features if a term reads them.
  private func evaluate(
    _ batch: TrainingBatch, _ logits: Tensor, into gradient: Tensor, step: Int
  ) throws -> StepResult {
    let epoch = epochsDone
    do {
      let found = try withCountingRows(batch.rows, of: logits, gradient: gradient) {
        logits, gradient -> (loss: Double, correct: Int) in
        // A batch may have no position that counts; its step has nothing to learn.
        if batch.labels.isEmpty { return (0, 0) }
        let report = try evaluator.evaluate(
          logits: logits, labels: batch.labels.span, partnerLabels: batch.partnerLabels.span,
          ownShares: batch.partnerLabels.isEmpty
            ? Span() : batch.views.ownShares.span.extracting(0..<batch.count),
          teacher: batch.teacher, epoch: epoch, gradient: &gradient)
        return (report.total, correctCount(logits, batch.labels))
      }
      let compared = try features?.evaluate(batch, step: step)
      return (found.loss + (compared?.loss ?? 0), found.correct, compared?.gradient)
    } catch let error as LossError {
      throw Problem(.corrupt, "epoch \(epochsDone + 1): \(error)")
    }
  }
}

extension TrainingRun {
  private var checkpointPath: String { options.folder + "/checkpoint.safetensors" }
  private var metricsPath: String { options.folder + "/metrics.jsonl" }
  private var modelPath: String { options.folder + "/model.safetensors" }

  /// Continues from the folder's checkpoint, if there is one of the same plan.
  func resume() throws {
    try Files.makeFolder(options.folder)
    guard Files.exists(checkpointPath) else { return }
    let checkpoint = try Checkpoint.read(checkpointPath)
    let differences = try plan.differences(from: checkpoint.plan)
    guard differences.isEmpty else {
      throw Problem(
        .corrupt,
        "\(options.folder) holds another run: \(differences.joined(separator: "; ")); choose another --out folder"
      )
    }
    try checkpoint.restore(model.network, features?.projector, from: checkpointPath)
    epochsDone = checkpoint.epochsDone
    history = try readMetrics().filter { $0.epoch <= checkpoint.epochsDone }
    options.log("resuming after epoch \(epochsDone)")
  }

  private func readMetrics() throws -> [EpochMetrics] {
    guard Files.exists(metricsPath) else { return [] }
    let text = String(decoding: try Files.read(metricsPath), as: UTF8.self)
    return try text.split(separator: "\n").map {
      try decode(EpochMetrics.self, from: String($0), source: metricsPath)
    }
  }

  /// Writes metrics, then the checkpoint that makes them final.
  func save(_ metrics: EpochMetrics) throws {
    history.append(metrics)
    let lines = try history.map { try canonicalJSON($0) + "\n" }
    try Files.writeAtomically(lines.joined(), to: metricsPath)
    try Checkpoint.write(
      model.network, features?.projector, plan: plan, epochsDone: epochsDone, to: checkpointPath)
  }

  /// Writes the finished model.
  func finish() throws { try model.save(to: modelPath) }
}

/// Reads the loss's text.
func lossConfiguration(_ text: String) throws -> LossConfiguration {
  do {
    return try LossConfiguration(parsing: text)
  } catch {
    throw Problem(.configuration, error.description)
  }
}
