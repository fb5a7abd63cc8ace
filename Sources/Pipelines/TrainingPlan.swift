import Basics
import DataSets
import Schemas

/// Everything that decides a training run; written into every checkpoint.
public struct TrainingPlan: Codable, Hashable, Sendable {
  /// The training data: a preset or a data set file.
  public var data: String
  /// The data that accuracy is measured on after each epoch.
  public var test: String?
  /// The cache to replay.
  public var cache: String?
  /// The augmentation recipe; only without a cache, which brings its own.
  public var recipe: String?
  /// The network's name.
  public var model: String
  /// The loss as text, "0.1*ce+0.9*kd@4".
  public var loss: String
  /// Passes over the training data.
  public var epochs: Int
  /// Samples per step.
  public var batch: Int
  /// The peak learning rate.
  public var learningRate: Double
  /// Epochs of linear warm-up.
  public var warmUpEpochs: Double
  /// Nesterov momentum.
  public var momentum: Double
  /// Weight decay of matrices and filters.
  public var weightDecay: Double
  /// The largest norm of all gradients together; absent for no limit.
  public var clipNorm: Double?
  /// Decides first weights, sample order and, without a cache, views.
  public var seed: Int
  /// Mean of the input, pixels on the scale 0...1.
  public var mean: Double
  /// Standard deviation of the input.
  public var deviation: Double
  /// The content of the training data; filled in when the run starts.
  public internal(set) var dataFingerprint: Digest?
  /// The content of the recipe, also one that the cache brings; filled in when the run starts.
  public internal(set) var recipeDigest: Digest?
  /// The content of the cache; filled in when the run starts.
  public internal(set) var cacheDigest: Digest?
  /// The library and kernels of matrix products, which decide the last bits of the weights; filled in
  /// when the run starts.
  public internal(set) var runtime: String?

  /// Reads a configuration file (`schemas/training.schema.json`); paths in it are relative to it.
  ///
  /// - Throws: `Problem` naming the file and every value that is wrong.
  public init(yamlAt path: String) throws {
    let file = try Schemas.load(yamlAt: path, as: .training)
    func resolved(_ key: String) -> String? {
      file[key]?.string.map { Files.path($0, relativeTo: path) }
    }
    data = file["data"]?.string.map { dataSetName($0, relativeTo: path) } ?? ""
    test = file["test"]?.string.map { dataSetName($0, relativeTo: path) }
    cache = resolved("cache")
    recipe = resolved("recipe")
    model = file["model"]?.string ?? ""
    loss = file["loss"]?.string ?? ""
    epochs = file["epochs"]?.integer ?? 0
    batch = file["batch"]?.integer ?? 128
    learningRate = file["learning-rate"]?.double ?? 0.05
    warmUpEpochs = file["warm-up-epochs"]?.double ?? 0.5
    momentum = file["momentum"]?.double ?? 0.9
    weightDecay = file["weight-decay"]?.double ?? 5e-4
    clipNorm = file["clip-norm"]?.double
    seed = file["seed"]?.integer ?? 1
    mean = file["normalise"]?["mean"]?.double ?? 0.5
    deviation = file["normalise"]?["deviation"]?.double ?? 0.25
  }

  /// What another plan says differently, one readable line each.
  ///
  /// Where data lies does not matter, what it holds does: names of files are not compared, their
  /// digests are.
  func differences(from other: TrainingPlan) throws -> [String] {
    let mine = try parseJSON(canonicalJSON(self).utf8, source: "plan").object ?? [:]
    let theirs = try parseJSON(canonicalJSON(other).utf8, source: "plan").object ?? [:]
    let places: Set = ["data", "test", "cache", "recipe"]
    return try Set(mine.keys).union(theirs.keys).subtracting(places).sorted().compactMap { key in
      guard mine[key] != theirs[key] else { return nil }
      let (old, new) = (try theirs[key].map(canonicalJSON), try mine[key].map(canonicalJSON))
      return "\(key): the checkpoint has \(old ?? "none"), this run has \(new ?? "none")"
    }
  }
}
