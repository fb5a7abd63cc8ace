import Basics
import DataSets
import LogitCache
import Views

/// How much of a cache's views a trainer recomputes before it trusts the pairing.
public enum ViewCheck: Hashable, Sendable {
  /// This many blocks, spread evenly over views and samples.
  case blocks(Int)
  /// Every block.
  case all

  /// Recomputes views and compares their digests with the cache's.
  ///
  /// - Throws: `Problem(.corrupt)` naming the first block whose views differ.
  func run(_ cache: CacheReader, _ augmenter: Augmenter) throws {
    let total = cache.manifest.blockCount
    let count = if case .blocks(let count) = self { min(count, total) } else { total }
    for index in 0..<count {
      if Interruption.isRequested { throw Interruption.problem(after: "no epoch") }
      let key = cache.manifest.blockKey(at: index * total / count)
      let samples = cache.manifest.samples(of: key)
      guard let stored = try cache.blockInfo(key) else {
        throw Problem(
          .corrupt,
          "\(cache.path) has no \(key): it is not complete; run precompute again to finish it")
      }
      guard try augmenter.digest(samples: samples, view: key.view) == stored.viewDigest else {
        throw Problem(
          .corrupt,
          "\(cache.path): \(key) (samples \(samples.lowerBound)..<\(samples.upperBound)) was made from other pixels than this program renders; "
            + "the data set's decoder or the view code has changed: precompute the cache again")
      }
    }
  }
}

/// The augmenter that renders a cache's views from a data set.
///
/// - Throws: `Problem(.corrupt)` when the cache belongs to another data set.
public func matchingAugmenter(for cache: CacheReader, _ dataSet: any DataSet) throws -> Augmenter {
  let (manifest, path) = (cache.manifest, cache.path)
  guard manifest.recipe.isKnown else {
    throw Problem(
      .corrupt,
      "\(path) was imported without its data set: nobody knows which views its records belong to; import "
        + "the rows again with --data, and --recipe if the views were augmented, into another folder"
    )
  }
  guard manifest.dataSet.fingerprint == dataSet.fingerprint else {
    throw Problem(
      .corrupt,
      "\(path) belongs to data set '\(manifest.dataSet.name)' (fingerprint \(manifest.dataSet.fingerprint.short)), "
        + "not to '\(dataSet.name)' (fingerprint \(dataSet.fingerprint.short))")
  }
  guard manifest.encoding.classes == dataSet.classNames.count else {
    throw Problem(
      .corrupt,
      "\(path) was derived for \(manifest.encoding.classes) of the \(dataSet.classNames.count) classes of "
        + "'\(dataSet.name)': its class numbers are its own; use a cache with all classes")
  }
  let recipe = try Recipe(manifest.recipe.content, source: "\(path), recipe")
  return try Augmenter(dataSet: dataSet, recipe: recipe, seed: manifest.seed)
}
