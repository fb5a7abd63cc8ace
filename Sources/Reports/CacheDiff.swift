import Basics
public import LogitCache
import Losses

/// How far two caches of the same views are apart: the content of `diff --json`
/// (`schemas/diff.schema.json`).
public struct CacheDiff: Codable, Sendable {
  /// One of the two.
  public struct Side: Codable, Sendable {
    var path: String
    var fingerprint: Digest
    var cacheDigest: Digest?
    var k: Int
    var views: Int
  }

  /// The distances at a temperature.
  public struct AtTemperature: Codable, Sendable {
    var temperature: Int
    /// KL(A || B) in nats.
    var divergence: ErrorSummary
    var totalVariation: ErrorSummary
  }

  /// Kendall's tau over the classes that both heads name.
  public struct RankCorrelation: Codable, Sendable {
    /// Records whose heads share two classes or more.
    var records: Int
    var mean: Double
    var meanSharedClasses: Double
  }

  /// The records of one label; distances at T = 1.
  public struct ClassRow: Codable, Sendable {
    var name: String
    var records: Int
    var topOneAgreement: Double
    var meanDivergence: Double
    var meanTotalVariation: Double
  }

  /// Records that only one of the two has.
  public struct Unmatched: Codable, Sendable {
    var a = 0
    var b = 0
  }

  /// One record; distances at T = 1.
  public struct SampleRow: Codable, Sendable {
    var sample: Int
    var view: Int
    /// Absent where a view has one record.
    var position: Int?
    var label: String
    var firstOfA: String
    var firstOfB: String
    var divergence: Double
    var totalVariation: Double
  }

  /// The cache that is compared.
  public var a: Side
  /// The cache that it is compared with.
  public var b: Side
  /// What differs in the settings, one line each.
  public var differences: [String]
  /// Records that both hold.
  public var records: Int
  /// Of these, records whose probabilities differ at T = 1, 2 or 4.
  public var differingRecords: Int
  /// Records at positions of compared views at which the other has none; absent without positions.
  public var unmatched: Unmatched?
  /// Share of records whose first classes are the same.
  public var topOneAgreement: Double
  /// Distances at T = 1, 2 and 4.
  public var atTemperature: [AtTemperature]
  /// How well the orders of the heads agree; absent when no two heads share two classes.
  public var rankCorrelation: RankCorrelation?
  /// The labels with the largest mean divergence, largest first, of those with records that differ.
  public var worstClasses: [ClassRow]
  /// The records with the largest divergence, largest first, of those that differ.
  public var worstSamples: [SampleRow]
}

extension CacheDiff {
  /// Compares every record that both caches hold, block by block: memory does not grow with the records.
  ///
  /// The caches may differ in teacher, k, steps, block size and number of views: the views that both have
  /// are compared.
  /// - Parameters:
  ///   - worst: how many classes and records to name.
  ///   - progress: called with the records compared and the records to look at.
  /// - Throws: `Problem(.corrupt)` with the reasons when the same record is not the same picture in both
  ///   (data set, classes, recipe, seed), or naming a damaged block.
  public init(
    _ a: CacheReader, _ b: CacheReader, worst: Int = 10,
    progress: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }
  ) throws {
    try demandSameViews(a, b)
    var comparison = CacheComparison(a.manifest, worst: worst)
    try comparison.run(a, b, progress)
    self = comparison.report(
      a: Side(a), b: Side(b),
      differences: try b.manifest.differences(from: a.manifest, calling: "A", "B"))
  }
}

extension CacheDiff.Side {
  fileprivate init(_ cache: CacheReader) {
    path = cache.path
    fingerprint = cache.fingerprint
    cacheDigest = cache.cacheDigest
    k = cache.manifest.encoding.k
    views = cache.manifest.views
  }
}

private func demandSameViews(_ a: CacheReader, _ b: CacheReader) throws {
  let (one, other) = (a.manifest, b.manifest)
  var reasons: [String] = []
  func demand(_ isSame: Bool, _ what: String) { if !isSame { reasons.append(what) } }
  demand(
    one.dataSet.fingerprint == other.dataSet.fingerprint
      && one.dataSet.samples == other.dataSet.samples,
    "data set: \(one.dataSet.name) (\(one.dataSet.fingerprint.short)) and \(other.dataSet.name) "
      + "(\(other.dataSet.fingerprint.short))")
  demand(
    one.dataSet.classNames == other.dataSet.classNames,
    "classes: \(one.encoding.classes) and \(other.encoding.classes), or other names")
  demand(
    one.recipe.digest == other.recipe.digest,
    "recipe: \(one.recipe.digest.short) and \(other.recipe.digest.short)")
  func text(_ manifest: Manifest) -> String {
    manifest.encoding.positions.map { "\($0.maximum) with labels of the \($0.labels.rawValue)" }
      ?? "one record per view"
  }
  demand(
    one.encoding.positions == other.encoding.positions,
    "positions: \(text(one)) and \(text(other))")
  demand(one.seed == other.seed, "seed: \(one.seed) and \(other.seed)")
  guard reasons.isEmpty else {
    throw Manifest.mismatch(
      "\(a.path) and \(b.path) cannot be compared: the same sample and view are not the same picture "
        + "in both.", reasons, "Compare caches of the same data, recipe and seed.")
  }
}

/// The sums behind a `CacheDiff`.
private struct CacheComparison {
  private static let temperatures = [1, 2, 4]
  private let names: [String]
  private let worst: Int
  private var record: RecordComparison
  private var records = 0
  private var differing = 0
  private var unmatched: CacheDiff.Unmatched?
  private var agreements = 0
  private var divergences = Self.temperatures.map { _ in ErrorStatistic() }
  private var variations = Self.temperatures.map { _ in ErrorStatistic() }
  private var ranked = (records: 0, tau: 0.0, shared: 0)
  private var classes: [ClassSums]
  private var samples: [(row: CacheDiff.SampleRow, divergence: Double)] = []

  private struct ClassSums {
    var records = 0
    var differing = 0
    var agreements = 0
    var divergence = 0.0
    var variation = 0.0
  }

  init(_ manifest: Manifest, worst: Int) {
    names = manifest.dataSet.classNames
    self.worst = worst
    record = RecordComparison(classes: names.count)
    classes = Array(repeating: ClassSums(), count: names.count)
    unmatched = manifest.encoding.positions.map { _ in CacheDiff.Unmatched() }
  }

  mutating func run(
    _ a: CacheReader, _ b: CacheReader, _ progress: (Int, Int) throws -> Void
  ) throws {
    let (blocksA, blocksB) = (try a.blocks, try b.blocks)
    let (rowsA, rowsB) = (a.manifest.encoding.blockRows, b.manifest.encoding.blockRows)
    var (batchA, batchB) = (a.makeBatch(), b.makeBatch())
    let views = min(a.manifest.views, b.manifest.views)
    let total = views * a.manifest.dataSet.samples
    for view in 0..<views {
      var heldB = -1
      for block in 0..<a.manifest.blocksPerView {
        let key = BlockKey(view: view, block: block)
        guard blocksA.contains(a.manifest.position(of: key)) else { continue }
        try a.decode(view: view, block: block, into: &batchA)
        for (index, sample) in a.manifest.samples(of: key).enumerated() {
          let other = BlockKey(view: view, block: sample / rowsB)
          if other.block != heldB {
            guard blocksB.contains(b.manifest.position(of: other)) else { continue }
            try b.decode(view: view, block: other.block, into: &batchB)
            heldB = other.block
          }
          add(batchA, index, batchB, sample % rowsB, sample: sample, view: view)
        }
        try progress(view * a.manifest.dataSet.samples + (block + 1) * rowsA, total)
      }
    }
  }

  /// Adds the records of a sample: sample `indexA` of one block and `indexB` of the other.
  private mutating func add(
    _ batchA: TeacherBatch, _ indexA: Int, _ batchB: TeacherBatch, _ indexB: Int, sample: Int,
    view: Int
  ) {
    guard let placesA = batchA.places, let placesB = batchB.places else {
      return add(batchA, row: indexA, batchB, row: indexB, sample, view, position: nil)
    }
    var matched = 0
    for rowA in placesA.rows(of: indexA) {
      let position = Int(placesA.positions[rowA])
      guard let rowB = placesB.row(of: indexB, position: position) else { continue }
      add(batchA, row: rowA, batchB, row: rowB, sample, view, position: position)
      matched += 1
    }
    unmatched?.a += placesA.rows(of: indexA).count - matched
    unmatched?.b += placesB.rows(of: indexB).count - matched
  }

  private mutating func add(
    _ batchA: TeacherBatch, row rowA: Int, _ batchB: TeacherBatch, row rowB: Int, _ sample: Int,
    _ view: Int, position: Int?
  ) {
    record.load(batchA, rowA, batchB, rowB)
    let distances = Self.temperatures.map {
      record.measure(batchA, rowA, batchB, rowB, temperature: Double($0))
    }
    for (t, distance) in distances.enumerated() {
      divergences[t].add(distance.divergence)
      variations[t].add(distance.totalVariation)
    }
    if let (tau, shared) = record.rankCorrelation() {
      ranked = (ranked.records + 1, ranked.tau + tau, ranked.shared + shared)
    }
    let label = Int(batchA.labels[rowA])
    let agrees = record.agreesOnFirst ? 1 : 0
    records += 1
    agreements += agrees
    classes[label].records += 1
    classes[label].agreements += agrees
    classes[label].divergence += distances[0].divergence
    classes[label].variation += distances[0].totalVariation
    guard distances.contains(where: { $0.divergence != 0 || $0.totalVariation != 0 }) else {
      return
    }
    differing += 1
    classes[label].differing += 1
    let names = names
    let first = (batchA.classIDs[rowA * batchA.k], batchB.classIDs[rowB * batchB.k])
    keepIfWorse(distances[0].divergence) {
      CacheDiff.SampleRow(
        sample: sample, view: view, position: position, label: names[label],
        firstOfA: names[Int(first.0)],
        firstOfB: names[Int(first.1)], divergence: distances[0].divergence,
        totalVariation: distances[0].totalVariation)
    }
  }

  /// Of equal records the earlier one stays ahead.
  private mutating func keepIfWorse(_ divergence: Double, _ row: () -> CacheDiff.SampleRow) {
    if samples.count == worst, divergence <= samples.last?.divergence ?? .infinity { return }
    let place = samples.firstIndex { $0.divergence < divergence } ?? samples.count
    samples.insert((row(), divergence), at: place)
    if samples.count > worst { samples.removeLast() }
  }

  func report(a: CacheDiff.Side, b: CacheDiff.Side, differences: [String]) -> CacheDiff {
    CacheDiff(
      a: a, b: b, differences: differences, records: records, differingRecords: differing,
      unmatched: unmatched,
      topOneAgreement: Double(agreements) / Double(max(records, 1)),
      atTemperature: Self.temperatures.indices.map {
        CacheDiff.AtTemperature(
          temperature: Self.temperatures[$0], divergence: .init(divergences[$0]),
          totalVariation: .init(variations[$0]))
      },
      rankCorrelation: ranked.records == 0
        ? nil
        : CacheDiff.RankCorrelation(
          records: ranked.records, mean: ranked.tau / Double(ranked.records),
          meanSharedClasses: Double(ranked.shared) / Double(ranked.records)),
      worstClasses: worstClasses, worstSamples: samples.map(\.row))
  }

  private var worstClasses: [CacheDiff.ClassRow] {
    func mean(_ label: Int) -> Double {
      classes[label].divergence / Double(classes[label].records)
    }
    let present = classes.indices.filter { classes[$0].differing > 0 }
    return present.sorted { (mean($0), $1) > (mean($1), $0) }.prefix(worst).map { label in
      let (sums, count) = (classes[label], Double(classes[label].records))
      return CacheDiff.ClassRow(
        name: names[label], records: sums.records,
        topOneAgreement: Double(sums.agreements) / count, meanDivergence: sums.divergence / count,
        meanTotalVariation: sums.variation / count)
    }
  }
}
