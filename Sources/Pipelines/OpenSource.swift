import Basics
import DataSets
import LogitCache
import Losses
import Views

/// Opens what the plan trains on and refuses what cannot be right before the first step.
///
/// - Parameter positions: T, the distributions that the student gives for a sample.
func openSource(
  _ plan: TrainingPlan, _ dataSet: any DataSet, _ loss: LossConfiguration, positions: Int,
  _ options: TrainingOptions
) throws -> BatchSource {
  let needs = loss.requirements
  guard let path = plan.cache else {
    guard !needs.teacher && !needs.features else {
      throw Problem(
        .usage, "loss '\(plan.loss)' compares with a teacher: name a cache with --cache")
    }
    let recipe = try plan.recipe.map { try Recipe(contentsOf: $0) } ?? Recipe.identity
    let augmenter = try Augmenter(dataSet: dataSet, recipe: recipe, seed: UInt64(plan.seed))
    try demandPositions(positions, plan, augmenter, nil, needs)
    return BatchSource(
      dataSet: dataSet, positions: positions, augmenter: augmenter,
      cache: nil, needsTeacher: false, fullRows: .none, ranking: false, batchSize: plan.batch,
      seed: UInt64(plan.seed), decodedBytes: 0)
  }
  guard plan.recipe == nil else {
    throw Problem(.usage, "a cache brings its own recipe: leave out the recipe or the cache")
  }
  let cache = try CacheReader(path: path)
  guard cache.isSealed else {
    throw Problem(
      .corrupt, "\(path) is not complete; run the same precompute command again to finish it")
  }
  let augmenter = try matchingAugmenter(for: cache, dataSet)
  try demandPositions(positions, plan, augmenter, cache, needs)
  guard !needs.features || cache.manifest.encoding.featureWidth != nil else {
    throw Problem(
      .corrupt,
      "loss '\(plan.loss)' compares features, and \(path) keeps none: precompute again with "
        + "--features, into another folder")
  }
  let accepted = try demandCoverage(of: loss, by: cache, options)
  for error in accepted { options.log("accepted error: \(error)") }
  try options.checkedViews.run(cache, augmenter)
  // Which positions count is known to the records alone where the labels are the samples'.
  let placesDecide = positions > 1 && cache.manifest.encoding.positions?.labels == .sample
  return BatchSource(
    dataSet: dataSet, positions: positions, augmenter: augmenter, cache: cache,
    needsTeacher: needs.teacher || needs.features || placesDecide,
    fullRows: BatchSource.RebuiltRows(needs, cache),
    ranking: needs.ranking && cache.manifest.encoding.ranking != nil, batchSize: plan.batch,
    seed: UInt64(plan.seed), decodedBytes: options.decodedBytes, acceptedErrors: accepted)
}

/// Refuses positions of the student that recipe, loss or cache do not go with.
private func demandPositions(
  _ positions: Int, _ plan: TrainingPlan, _ augmenter: Augmenter, _ cache: CacheReader?,
  _ needs: LossRequirements
) throws {
  let student = "student '\(plan.model)' gives \(positions) distributions for a sample"
  if let cache, positions > 1 || needs.teacher || needs.features {
    let recorded = cache.manifest.encoding.positions?.maximum ?? 1
    guard recorded == positions || recorded == 1 && !needs.teacher && !needs.features else {
      throw Problem(
        .corrupt,
        "\(student), but \(cache.path) has records at \(counted(recorded, "position")) of a view: they must "
          + "be as many; use another --model")
    }
  }
  guard positions > 1 else { return }
  guard !augmenter.recipe.operations.contains(where: \.mixes) else {
    throw Problem(
      .configuration,
      "\(student), and the recipe mixes samples: no position of a mixed view has both labels; "
        + "use a recipe without mixup and cutmix")
  }
  guard !needs.features else {
    throw Problem(
      .configuration,
      "\(student), and loss '\(plan.loss)' compares one feature of each: use a loss of logits")
  }
}
