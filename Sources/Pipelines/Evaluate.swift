import Basics
import DataSets
import LogitCache
import Losses
import Networks
import Teachers
import Views

/// What a model says about a whole data set, without augmentation.
struct Predictions {
  /// The most confident class of each label, [samples, the data set's positions].
  var classes: [Int32]
  /// Share of labels that it is.
  var accuracy: Double
}

/// Samples of one evaluation pass.
private let evaluationBatch = 256

/// Names the class of every sample, or of every position of it.
///
/// Where a sample has one label and the model several distributions, the class with the largest mean of their
/// log-probabilities.
func predictions(of model: Model, on dataSet: any DataSet) throws -> Predictions {
  let augmenter = try Augmenter(dataSet: dataSet, recipe: .identity, seed: 0)
  let (network, labels) = (model.network, dataSet.labels)
  var views = ViewBatch(shape: dataSet.shape)
  var result = Predictions(classes: [], accuracy: 0)
  for start in stride(from: 0, to: dataSet.count, by: evaluationBatch) {
    try augmenter.render(
      samples: start..<min(start + evaluationBatch, dataSet.count), view: 0, into: &views)
    network.infer(model.inputBatch(of: views)).withValues { logits in
      if dataSet.positions == network.positions {
        for row in 0..<views.count * network.positions {
          result.classes.append(largest(logits, row, network.classes))
        }
      } else {
        for sample in 0..<views.count {
          result.classes.append(largestMean(logits, sample, network.positions, network.classes))
        }
      }
    }
  }
  let correct = zip(result.classes, labels).count { $0 == $1 }
  result.accuracy = Double(correct) / Double(labels.count { $0 >= 0 })
  return result
}

/// How many rows of logits name their label.
func correctCount(_ logits: Span<Float>, _ labels: [Int32]) -> Int {
  let classes = logits.count / labels.count
  return labels.indices.count { largest(logits, $0, classes) == labels[$0] }
}

/// The class with the largest mean log-probability over a sample's positions; the lower one of equals.
///
/// A logit and its log-probability differ by the same number for all classes of a position, so the
/// largest sum of logits is the largest mean of log-probabilities.
private func largestMean(
  _ logits: Span<Float>, _ sample: Int, _ positions: Int, _ classes: Int
) -> Int32 {
  var (best, highest) = (0, -Double.infinity)
  for c in 0..<classes {
    var sum = 0.0
    for row in sample * positions..<(sample + 1) * positions {
      sum += Double(logits[row * classes + c])
    }
    if sum > highest { (best, highest) = (c, sum) }
  }
  return Int32(best)
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
  /// Their positions that have a label; absent when a sample has one label.
  public var positions: Int?
  /// Share of labels that the model names: of samples, or of their positions.
  public var accuracy: Double
  /// Share of labels for which model and teacher name the same class, when a cache was given.
  public var agreement: Double?
  /// Share of labels that the teacher names, when a cache was given.
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
  try model.demandFit(dataSet, model: modelPath)
  let (labels, predictions) = (dataSet.labels, try predictions(of: model, on: dataSet))
  let labelled = labels.count { $0 >= 0 }
  var result = Evaluation(
    samples: dataSet.count, positions: dataSet.positions > 1 ? labelled : nil,
    accuracy: predictions.accuracy)
  if let cachePath {
    let teacher = try teacherClasses(in: cachePath, of: dataSet)
    func share(_ count: Int) -> Double { Double(count) / Double(labelled) }
    result.agreement = share(zip(predictions.classes, teacher).count { $0 == $1 })
    result.teacherAccuracy = share(zip(labels, teacher).count { $0 == $1 && $0 >= 0 })
  }
  return result
}

extension Model {
  /// Refuses a data set that the network cannot be measured on.
  ///
  /// - Throws: `Problem(.corrupt)` naming `model` and what differs.
  func demandFit(_ dataSet: any DataSet, model: String) throws {
    try network.architecture.demandReading(dataSet.shape, of: dataSet.name)
    guard network.inputShape == LayerShape(dataSet.shape),
      network.classes == dataSet.classNames.count
    else {
      throw Problem(
        .corrupt,
        "model \(model) takes \(network.inputShape) inputs and names "
          + "\(counted(network.classes, "class", "classes")); "
          + "\(dataSet.name) has \(LayerShape(dataSet.shape)) inputs and "
          + counted(dataSet.classNames.count, "class", "classes")
      )
    }
    guard dataSet.positions == 1 || dataSet.positions == network.positions else {
      throw Problem(
        .corrupt,
        "model \(model) gives \(network.positions) distributions for a sample; \(dataSet.name) has "
          + "\(counted(dataSet.positions, "label")) for each")
    }
  }
}

/// The teacher's first choice for every label of view 0; -1 where it has no record.
private func teacherClasses(in path: String, of dataSet: any DataSet) throws -> [Int32] {
  let cache = try CacheReader(path: path)
  let augmenter = try matchingAugmenter(for: cache, dataSet)
  guard augmenter.recipe == .identity else {
    throw Problem(
      .corrupt,
      "\(path) holds augmented views, a model is evaluated on samples as they are: give a cache made without a recipe"
    )
  }
  guard cache.manifest.encoding.positions?.labels != .sample else {
    throw Problem(
      .corrupt,
      "\(path) has records at several positions of a sample that has one label: there is no one "
        + "answer of the teacher to compare with; evaluate without the cache")
  }
  let positions = dataSet.positions
  var classes = [Int32](repeating: -1, count: dataSet.count * positions)
  var block = cache.makeBatch()
  for number in 0..<cache.manifest.blocksPerView {
    try cache.decode(view: 0, block: number, into: &block)
    let samples = cache.manifest.samples(of: BlockKey(view: 0, block: number))
    for (index, sample) in samples.enumerated() {
      for row in block.rows(ofSample: index) {
        let position = block.places.map { Int($0.positions[row]) } ?? 0
        classes[sample * positions + position] = block.classIDs[row * block.k]
      }
    }
  }
  return classes
}
