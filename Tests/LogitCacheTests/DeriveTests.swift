import Basics
import Foundation
import LogitCache
import Losses
import TestSupport
import Testing

/// What a derived cache should be, drawn from a seed.
private struct Case {
  var job: Job
  var derivation: Derivation

  init(seed: UInt64, takesSubset: Bool = false) {
    var generator = SeededGenerator(seed: seed)
    let classes = Int.random(in: 2...60, using: &generator)
    let k =
      takesSubset || Bool.random(using: &generator)
      ? classes : Int.random(in: 1...classes, using: &generator)
    job = Job(
      classes: classes, k: k, samples: Int.random(in: 1...30, using: &generator), views: 2,
      seed: seed)
    derivation = Derivation()
    var kept = k
    if takesSubset {
      let labels = Set((0..<job.manifest.dataSet.samples).map { Int(job.label(sample: $0)) })
      let more = (0..<classes).filter { _ in Bool.random(using: &generator) }
      derivation.classes = labels.union(more).shuffled(using: &generator)
      kept = derivation.classes!.count
    }
    let wants = Int.random(in: takesSubset ? 0...3 : 1...3, using: &generator)
    if wants & 1 != 0 { derivation.k = Int.random(in: 1...kept, using: &generator) }
    if wants & 2 != 0 { derivation.stepsPerNat = [16, 8, 4, 1].randomElement(using: &generator)! }
    if (derivation.k ?? k) == k, kept == classes || !takesSubset, derivation.stepsPerNat == nil {
      derivation.stepsPerNat = 8
    }
  }

  /// The teacher's row over the classes that remain, and the label among them.
  func row(view: Int, sample: Int) -> (row: [Float], label: Int) {
    let row = job.row(view: view, sample: sample)
    let label = Int(job.label(sample: sample))
    guard let classes = derivation.classes?.sorted() else { return (row, label) }
    return (classes.map { row[$0] }, classes.firstIndex(of: label)!)
  }
}

@Suite struct DeriveTests {
  private let folder = ScratchFolder()

  /// Writes the source, derives, and returns a reader of the derived cache.
  private func derive(_ test: Case, _ name: String = "derived") throws -> CacheReader {
    if !Files.exists(folder.file("source")) { try test.job.write(to: folder.file("source")) }
    let report = try deriveCache(
      from: folder.file("source"), into: folder.file(name), keeping: test.derivation)
    #expect(try verifyCache(path: folder.file(name)).cacheDigest == report.cacheDigest)
    return try CacheReader(path: folder.file(name))
  }

  @Test(arguments: UInt64(1)...40, [false, true])
  func `the certificate of a derived cache is an upper bound of its error on full rows`(
    seed: UInt64, takesSubset: Bool
  ) throws {
    let test = Case(seed: seed, takesSubset: takesSubset)
    let cache = try derive(test)
    try expectBound(cache, test, "seed \(seed)")
  }

  @Test(arguments: UInt64(1)...10)
  func `the bound holds through two derivations`(seed: UInt64) throws {
    var test = Case(seed: seed)
    test.derivation = Derivation(stepsPerNat: 16)
    _ = try derive(test)
    let k = test.job.manifest.encoding.k
    let second = Derivation(k: (k + 1) / 2, stepsPerNat: 4)
    _ = try deriveCache(
      from: folder.file("derived"), into: folder.file("second"), keeping: second)
    try expectBound(CacheReader(path: folder.file("second")), test, "seed \(seed)")
    guard k == test.job.classes else { return }
    var subset = Case(seed: seed, takesSubset: true)
    subset.job = test.job
    let labels = (0..<test.job.manifest.dataSet.samples).map { Int(test.job.label(sample: $0)) }
    subset.derivation = Derivation(classes: Array(Set(labels)))
    _ = try deriveCache(
      from: folder.file("derived"), into: folder.file("subset"), keeping: subset.derivation)
    try expectBound(CacheReader(path: folder.file("subset")), subset, "seed \(seed), subset")
  }

  private func expectBound(_ cache: CacheReader, _ test: Case, _ name: String) throws {
    try expectBounds(of: cache, name) { view, sample in test.row(view: view, sample: sample) }
    let certificate = try cache.certificate()
    #expect(certificate.topOneAgreements == certificate.records)
  }

  @Test(arguments: UInt64(1)...20)
  func `records are close to those that a teacher run with the smaller settings stores`(
    seed: UInt64
  ) throws {
    var test = Case(seed: seed)
    let k = test.job.manifest.encoding.k
    test.derivation = Derivation(k: (k + 1) / 2, views: 1)
    let derived = try derive(test)
    var direct = test.job
    direct.manifest.encoding.k = (k + 1) / 2
    direct.manifest.views = 1
    direct.manifest.calibration = Calibration.plain(direct.manifest.encoding).digest
    try direct.write(to: folder.file("direct"))
    let wanted = try CacheReader(path: folder.file("direct"))
    var (a, b) = (derived.makeBatch(), wanted.makeBatch())
    for key in derived.manifest.blockKeys {
      try derived.decode(view: 0, block: key.block, into: &a)
      try wanted.decode(view: 0, block: key.block, into: &b)
      #expect(a.classIDs == b.classIDs && a.gaps == b.gaps, "seed \(seed)")
      #expect(a.largestLogits == b.largestLogits && a.labels == b.labels, "seed \(seed)")
      #expect(a.labelGaps == b.labelGaps && a.labelRanks == b.labelRanks, "seed \(seed)")
      // Gaps are half a step off at most, so log-sums are, and ratios are rounded.
      for (x, y) in zip(a.logTailRatios, b.logTailRatios) {
        #expect(abs(x - y) <= 1.0 / 32 + 1.5 / 64 + 1e-4 * abs(y), "seed \(seed): \(x), \(y)")
      }
    }
  }

  @Test func `fewer views keep their blocks as they are`() throws {
    let job = Job(classes: 12, k: 5, samples: 50, views: 3)
    try job.write(to: folder.file("source"))
    _ = try deriveCache(
      from: folder.file("source"), into: folder.file("two"), keeping: Derivation(views: 2))
    let (source, two) = (
      try CacheReader(path: folder.file("source")), try CacheReader(path: folder.file("two"))
    )
    for key in two.manifest.blockKeys {
      #expect(try two.blockInfo(key) == source.blockInfo(key))
    }
    #expect(two.manifest.derivedFrom?.cacheDigest == source.cacheDigest)
    #expect(two.manifest.derivedFrom?.fingerprint == source.fingerprint)
  }

  @Test(arguments: UInt64(1)...4)
  func `a derivation cut short is continued to the same digest`(seed: UInt64) throws {
    struct Cut: Error {}
    let test = Case(seed: seed)
    let wanted = try derive(test).cacheDigest
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<3 {
      let last = Int.random(in: 1...8, using: &generator)
      _ = try? deriveCache(
        from: folder.file("source"), into: folder.file("cut"), keeping: test.derivation,
        commitBytes: 1
      ) { done, _ in if done >= last { throw Cut() } }
    }
    let report = try deriveCache(
      from: folder.file("source"), into: folder.file("cut"), keeping: test.derivation)
    #expect(report.cacheDigest == wanted, "seed \(seed)")
  }

  @Test func `features stay with their classes, or are left out`() throws {
    let job = Job(classes: 6, k: 6, samples: 20, views: 2, featureWidth: 3)
    try job.write(to: folder.file("source"))
    let means = try CacheReader(path: folder.file("source")).classMeans()
    func derived(_ derivation: Derivation, _ name: String) throws -> CacheReader {
      _ = try deriveCache(
        from: folder.file("source"), into: folder.file(name), keeping: derivation)
      _ = try verifyCache(path: folder.file(name))
      return try CacheReader(path: folder.file(name))
    }
    #expect(try derived(Derivation(k: 2), "k").classMeans() == means)
    let labels = Set((0..<20).map { Int(job.label(sample: $0)) }).sorted()
    let subset = try derived(Derivation(classes: labels), "subset")
    #expect(try subset.classMeans() == labels.flatMap { means[3 * $0..<3 * $0 + 3] })
    let found = problem { _ = try derived(Derivation(views: 1), "views") }
    #expect(found.kind == .usage && found.message.contains("--without-features"), "\(found)")
    let plain = try derived(Derivation(views: 1, dropsFeatures: true), "plain")
    #expect(plain.manifest.encoding.featureWidth == nil)
  }

  @Test func `what the source does not have is refused in words`() throws {
    try Job(classes: 12, k: 5, samples: 20, views: 2).write(to: folder.file("source"))
    for (derivation, text) in [
      (Derivation(k: 6), "1...5"), (Derivation(k: 0), "--k is 0"), (Derivation(views: 3), "1...2"),
      (Derivation(stepsPerNat: 12), "must divide the cache's 32"),
      (Derivation(stepsPerNat: 64), "must divide"),
      (Derivation(k: 5, views: 2), "nothing would change"),
      (Derivation(classes: [1, 2]), "needs a cache with all of them"),
    ] {
      let found = problem {
        _ = try deriveCache(
          from: folder.file("source"), into: folder.file("derived"), keeping: derivation)
      }
      #expect(found.kind == .usage, "\(found)")
      #expect(found.message.contains(text), "\(found)")
      #expect(!Files.exists(folder.file("derived")))
    }
  }

  @Test func `a label outside the subset and an unsealed source are refused`() throws {
    let job = Job(classes: 4, k: 4, samples: 20, views: 1)
    try job.write(to: folder.file("source"))
    let label = Int(job.label(sample: 0))
    let kept = (0..<4).filter { $0 != label }
    let found = problem {
      _ = try deriveCache(
        from: folder.file("source"), into: folder.file("derived"),
        keeping: Derivation(classes: kept))
    }
    #expect(found.kind == .usage)
    #expect(found.message.contains("sample 0 has the label 'class \(label)'"), "\(found)")
    #expect(!Files.exists(folder.file("derived")))
    for classes in [[0, 0], [-1], [4], []] {
      let found = problem {
        _ = try deriveCache(
          from: folder.file("source"), into: folder.file("derived"),
          keeping: Derivation(classes: classes))
      }
      #expect(found.message.contains("different ones of 0..<4"), "\(found)")
    }
    try job.write(to: folder.file("open"), seal: false)
    let open = problem {
      _ = try deriveCache(
        from: folder.file("open"), into: folder.file("derived"), keeping: Derivation(k: 1))
    }
    #expect(open.kind == .corrupt && open.message.contains("is not sealed"))
  }
}
