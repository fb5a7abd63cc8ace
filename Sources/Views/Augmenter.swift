public import Basics
public import DataSets

/// Makes views: `(data set, recipe, seed, sample, view)` fixes every byte.
///
/// It holds no state, so views can be made in any order, on any thread, on any machine, and made
/// again years later; docs/VIEWS.md says how, exactly enough to write it anew.
public struct Augmenter: Sendable {
  /// Where samples come from.
  public let dataSet: any DataSet
  /// What is done to them.
  public let recipe: Recipe
  /// Decides every random choice, together with sample and view.
  public let seed: UInt64

  /// Longest side of an image, in pixels; keeps all arithmetic inside 64 bits.
  public static let largestSide = 4096

  /// Joins a data set, a recipe and a seed.
  ///
  /// - Throws: `Problem(.configuration)` when the recipe cannot be applied to such samples.
  public init(dataSet: any DataSet, recipe: Recipe, seed: UInt64) throws {
    try checkFit(of: recipe, to: dataSet)
    if case .image(let height, let width, _) = dataSet.shape,
      max(height, width) > Augmenter.largestSide
    {
      throw Problem(
        .configuration,
        "\(dataSet.name) has images of \(dataSet.shape); sides up to \(Augmenter.largestSide) "
          + "can be augmented")
    }
    if dataSet.positions > 1, recipe.operations.contains(where: { $0.mixes || $0.movesColumns }) {
      throw Problem(
        .configuration,
        "\(dataSet.name) has a label for each of \(dataSet.positions) positions; resized-crop, pad-crop, "
          + "flip, affine, mixup and cutmix would leave them wrong: use a recipe without these")
    }
    guard dataSet.count <= Int(Int32.max) else {
      throw Problem(
        .configuration, "\(dataSet.name) has \(dataSet.count) samples, the limit is \(Int32.max)")
    }
    self.dataSet = dataSet
    self.recipe = recipe
    self.seed = seed
  }

  /// An empty batch of the right shape.
  public func makeBatch() -> ViewBatch { ViewBatch(shape: dataSet.shape) }

  /// Renders one view of each of some consecutive samples.
  ///
  /// - Precondition: samples are in 0..<dataSet.count, 0 <= view < 2^32, the batch has the data
  ///   set's shape.
  /// - Throws: `Problem` when a picture's file is gone, damaged or has changed.
  public func render(samples: Range<Int>, view: Int, into batch: inout ViewBatch) throws {
    try renderEach(samples, view: view, into: &batch)
  }

  /// Renders one view of each of some samples, in the order given.
  ///
  /// - Precondition: samples are in 0..<dataSet.count, 0 <= view < 2^32, the batch has the data
  ///   set's shape.
  /// - Throws: `Problem` when a picture's file is gone, damaged or has changed.
  public func render(samples: ArraySlice<Int>, view: Int, into batch: inout ViewBatch) throws {
    try renderEach(samples, view: view, into: &batch)
  }

  /// The digest of the exact tensors of some views: what a cache stores and a trainer rechecks.
  ///
  /// - Throws: `Problem` when a picture's file is gone, damaged or has changed.
  public func digest(samples: Range<Int>, view: Int) throws -> Digest {
    var builder = DigestBuilder()
    var batch = makeBatch()
    for start in stride(from: samples.lowerBound, to: samples.upperBound, by: 256) {
      try render(samples: start..<min(start + 256, samples.upperBound), view: view, into: &batch)
      batch.appendTensors(to: &builder)
    }
    return builder.finish()
  }

  private func renderEach(
    _ samples: some Collection<Int>, view: Int, into batch: inout ViewBatch
  ) throws {
    precondition(
      batch.shape == dataSet.shape, "a batch of \(batch.shape) for samples of \(dataSet.shape)")
    batch.resize(to: samples.count)
    for (index, sample) in samples.enumerated() {
      switch dataSet.shape {
      case .image, .text: try renderBytes(sample, view, at: index, in: &batch)
      case .features: copyFeatures(sample, at: index, in: &batch)
      }
    }
  }

  private func renderBytes(
    _ sample: Int, _ view: Int, at index: Int, in batch: inout ViewBatch
  ) throws {
    try render(sample, view, into: &batch.own, &batch.source)
    let (partner, share) = try mix(sample, view, &batch)
    batch.takeBytes(at: index, partner: partner, share: share)
  }

  /// Applies all operations but a mixing one.
  private func render(
    _ sample: Int, _ view: Int, into canvas: inout Canvas, _ source: inout SourcePicture
  ) throws {
    let crop = recipe.operations.first.flatMap(\.resizedCrop)
    if dataSet.picturesHaveOwnSizes || crop != nil {
      try dataSet.readPicture(of: sample, into: &source.picture)
      var draws = Draws(seed: seed, sample: sample, view: view, operation: 0)
      source.cut(crop, &draws, into: &canvas)
    } else {
      var pixels = canvas.image.mutableSpan
      dataSet.copyPixels(of: sample, into: &pixels)
    }
    for (index, operation) in recipe.operations.enumerated()
    where !operation.mixes && operation.resizedCrop == nil {
      var draws = Draws(seed: seed, sample: sample, view: view, operation: index)
      canvas.apply(operation, &draws)
    }
  }

  /// Applies the mixing operation, which is the last, if there is one and it happens.
  ///
  /// - Returns: the sample mixed in (or the sample itself) and the own share in 65536ths.
  private func mix(
    _ sample: Int, _ view: Int, _ batch: inout ViewBatch
  ) throws -> (partner: Int, share: Int) {
    guard let last = recipe.operations.last else { return (sample, 65536) }
    var draws = Draws(
      seed: seed, sample: sample, view: view, operation: recipe.operations.count - 1)
    switch last {
    case .mixup(let probability, let share) where draws.happens(probability):
      let partner = partner(of: sample, &draws)
      try render(partner, view, into: &batch.partner, &batch.source)
      return (partner, batch.own.mixup(batch.partner, share: share, &draws))
    case .cutmix(let probability, let area) where draws.happens(probability):
      let partner = partner(of: sample, &draws)
      try render(partner, view, into: &batch.partner, &batch.source)
      return (partner, batch.own.cutmix(batch.partner, area: area, &draws))
    default: return (sample, 65536)
    }
  }

  /// Any other sample, all equally likely; the sample itself when there is no other.
  private func partner(of sample: Int, _ draws: inout Draws) -> Int {
    let drawn = draws.below(max(1, dataSet.count - 1))
    return dataSet.count == 1 || drawn < sample ? drawn : drawn + 1
  }

  private func copyFeatures(_ sample: Int, at index: Int, in batch: inout ViewBatch) {
    let size = dataSet.shape.elementCount
    var all = batch.features.mutableSpan
    var features = all._mutatingExtracting(index * size..<(index + 1) * size)
    dataSet.copyFeatures(of: sample, into: &features)
    batch.partners[index] = Int32(sample)
    batch.ownShares[index] = 1
  }
}

/// Refuses operations on another kind of samples.
private func checkFit(of recipe: Recipe, to dataSet: any DataSet) throws {
  func problem(_ operations: String, _ advice: String) -> Problem {
    Problem(
      .configuration,
      "\(dataSet.name) has \(dataSet.shape), but the recipe has operations on \(operations); "
        + "use a recipe \(advice)")
  }
  let operations = recipe.operations
  switch dataSet.shape {
  case .image:
    if operations.contains(where: \.isForTexts) { throw problem("texts", "for images") }
  case .text:
    if !operations.allSatisfy(\.isForTexts) {
      throw problem("images", "of substring and lowercase")
    }
  case .features:
    if let first = operations.first {
      throw problem(first.isForTexts ? "texts" : "images", "without operations")
    }
  }
}
