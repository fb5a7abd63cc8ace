import Basics
import DataSets
import LogitCache
import Losses
import Networks
import Teachers
import Views

/// What a model says about a whole data set, without augmentation.
struct Predictions {
  /// The most confident class of each sample.
  var classes: [Int32]
  /// Share of samples whose label it is.
  var accuracy: Double
}

/// Samples of one evaluation pass.
private let evaluationBatch = 256

/// Names the class of every sample.
func predictions(of model: Model, on dataSet: any DataSet) throws -> Predictions {
  let augmenter = try Augmenter(dataSet: dataSet, recipe: .identity, seed: 0)
  var views = ViewBatch(shape: dataSet.shape)
  var result = Predictions(classes: [], accuracy: 0)
  for start in stride(from: 0, to: dataSet.count, by: evaluationBatch) {
    try augmenter.render(
      samples: start..<min(start + evaluationBatch, dataSet.count), view: 0, into: &views)
    model.network.infer(model.inputBatch(of: views)).withValues { logits in
      for row in 0..<views.count {
        result.classes.append(largest(logits, row, model.network.classes))
      }
    }
  }
  let correct = zip(result.classes, dataSet.labels).count { $0 == $1 }
  result.accuracy = Double(correct) / Double(dataSet.count)
  return result
}

/// How many rows of logits name their label.
func correctCount(_ logits: Tensor, _ labels: [Int32]) -> Int {
  logits.withValues { values in
    let classes = values.count / labels.count
    return labels.indices.count { largest(values, $0, classes) == labels[$0] }
  }
}

/// The index of the largest logit of a row; the lower one of equals.
private func largest(_ logits: Span<Float>, _ row: Int, _ classes: Int) -> Int32 {
  var best = 0
  for c in 1..<classes where logits[row * classes + c] > logits[row * classes + best] { best = c }
  return Int32(best)
}

/// How good a model is.
public struct Evaluation: Codable, Sendable {
  /// Samples looked at.
  public var samples: Int
  /// Share of samples whose label the model names.
  public var accuracy: Double
  /// Share of samples for which model and teacher name the same class, when a cache was given.
  public var agreement: Double?
  /// Share of samples whose label the teacher names, when a cache was given.
  public var teacherAccuracy: Double?
}

/// Measures a saved model on a data set, and against the teacher's records of it.
///
/// - Parameter cachePath: a cache of the same data set, made with the identity recipe so that model and
///   teacher see the same pictures; its view 0 is compared.
/// - Throws: `Problem` when files are missing or do not belong together.
public func evaluate(modelPath: String, data: String, cachePath: String?) throws -> Evaluation {
  let dataSet = try openDataSetWithProgress(data)
  let model = try Model.load(from: modelPath)
  guard model.network.inputShape == LayerShape(dataSet.shape),
    model.network.classes == dataSet.classNames.count
  else {
    throw Problem(
      .corrupt,
      "model \(modelPath) takes \(model.network.inputShape) inputs and names \(model.network.classes) classes; "
        + "\(dataSet.name) has \(LayerShape(dataSet.shape)) inputs and \(dataSet.classNames.count) classes"
    )
  }
  let predictions = try predictions(of: model, on: dataSet)
  var result = Evaluation(samples: dataSet.count, accuracy: predictions.accuracy)
  if let cachePath {
    let teacher = try teacherClasses(in: cachePath, of: dataSet)
    result.agreement = share(zip(predictions.classes, teacher).count { $0 == $1 }, of: dataSet)
    result.teacherAccuracy = share(zip(dataSet.labels, teacher).count { $0 == $1 }, of: dataSet)
  }
  return result
}

private func share(_ count: Int, of dataSet: any DataSet) -> Double {
  Double(count) / Double(dataSet.count)
}

/// The teacher's first choice for every sample of view 0.
private func teacherClasses(in path: String, of dataSet: any DataSet) throws -> [Int32] {
  let cache = try CacheReader(path: path)
  let augmenter = try matchingAugmenter(for: cache, dataSet)
  guard augmenter.recipe == .identity else {
    throw Problem(
      .corrupt,
      "\(path) holds augmented views, a model is evaluated on plain pictures: give a cache made with the identity recipe"
    )
  }
  var classes: [Int32] = []
  var block = cache.makeBatch()
  for number in 0..<cache.manifest.blocksPerView {
    try cache.decode(view: 0, block: number, into: &block)
    for row in 0..<block.count { classes.append(block.classIDs[row * block.k]) }
  }
  return classes
}
