import Basics

/// What a derived cache keeps of another one; `nil` keeps what is there.
public struct Derivation: Sendable {
  /// Classes kept of every record, at most the source's k.
  public var k: Int?
  /// The first so many views.
  public var views: Int?
  /// Steps of a gap in one nat; must divide the source's.
  public var stepsPerNat: Int?
  /// The classes that remain, in any order; only of a source that keeps all (k = C).
  public var classes: [Int]?
  /// Leave out the features' norms and class means.
  public var dropsFeatures: Bool
  /// Leave out the order of the classes behind the head.
  public var dropsRanking: Bool

  /// Everything is optional; something must be given.
  public init(
    k: Int? = nil, views: Int? = nil, stepsPerNat: Int? = nil, classes: [Int]? = nil,
    dropsFeatures: Bool = false, dropsRanking: Bool = false
  ) {
    self.k = k
    self.views = views
    self.stepsPerNat = stepsPerNat
    self.classes = classes
    self.dropsFeatures = dropsFeatures
    self.dropsRanking = dropsRanking
  }

  /// The manifest of the derived cache, but for the digests of labels and calibration.
  ///
  /// - Throws: `Problem(.usage)` when the source does not have what is asked for.
  func manifest(of source: Manifest, _ origin: Origin) throws -> Manifest {
    var target = source
    target.derivedFrom = origin
    try setClasses(&target)
    target.encoding.k = min(target.encoding.k, target.encoding.classes)
    try setSize(&target)
    if dropsFeatures { target.encoding.featureWidth = nil }
    if dropsRanking { target.encoding.ranking = nil }
    guard source.encoding.subspaceTail == nil || target.encoding == source.encoding else {
      throw Problem(
        .usage,
        "the cache keeps full rows, and its certificate says what those lose, not what a smaller "
          + "record would: of such a cache only fewer --views can be kept")
    }
    guard target.encoding.featureWidth == nil || target.views == source.views else {
      throw Problem(
        .usage,
        "the cache keeps class means of features over all \(source.views) views together: of fewer "
          + "views they are not known; derive with --without-features")
    }
    var unchanged = target
    unchanged.derivedFrom = source.derivedFrom
    guard unchanged != source else {
      throw Problem(
        .usage,
        "nothing would change: give a smaller --k, fewer --views, coarser --steps-per-nat, fewer "
          + "--classes, --without-features or --without-ranking")
    }
    try target.validate()
    return target
  }

  private func setClasses(_ target: inout Manifest) throws {
    guard let classes else { return }
    let encoding = target.encoding
    guard encoding.k == encoding.classes else {
      throw Problem(
        .usage,
        "the cache keeps \(encoding.k) of \(encoding.classes) classes of a record: the others of a "
          + "subset are not known; a subset of classes needs a cache with all of them (k = C)")
    }
    guard encoding.largestStepsPerNat.isMultiple(of: encoding.stepsPerNat) else {
      throw Problem(
        .usage,
        "a subset of classes needs steps of the largest logit (\(encoding.largestStepsPerNat)) that "
          + "are a multiple of a gap's (\(encoding.stepsPerNat))")
    }
    guard let first = classes.min(), let last = classes.max(), first >= 0, last < encoding.classes,
      Set(classes).count == classes.count
    else {
      throw Problem(
        .usage, "the classes must be different ones of 0..<\(encoding.classes), at least one")
    }
    target.dataSet.classNames = classes.sorted().map { target.dataSet.classNames[$0] }
    target.encoding.classes = classes.count
  }

  private func setSize(_ target: inout Manifest) throws {
    if let k {
      guard (1...target.encoding.k).contains(k) else {
        throw Problem(
          .usage, "--k is \(k), the records have 1...\(target.encoding.k) classes to keep")
      }
      target.encoding.k = k
    }
    if let views {
      guard (1...target.views).contains(views) else {
        throw Problem(.usage, "--views is \(views), the cache has 1...\(target.views) to keep")
      }
      target.views = views
    }
    if let steps = stepsPerNat {
      let finer = target.encoding.stepsPerNat
      guard steps >= 1, finer.isMultiple(of: steps) else {
        throw Problem(
          .usage,
          "--steps-per-nat is \(steps), it must divide the cache's \(finer): rounding twice to steps "
            + "that do not fit would add to the error")
      }
      target.encoding.stepsPerNat = steps
    }
  }
}
