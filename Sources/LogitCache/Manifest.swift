public import Basics

/// Which data set a cache belongs to.
public struct DataSetIdentity: Codable, Hashable, Sendable {
  /// A name for people.
  public var name: String
  /// Digest of the data set's content.
  public var fingerprint: Digest
  /// n, the number of samples.
  public var samples: Int
  /// Digest of the labels as UInt32, in sample order; where positions have labels, M for each sample.
  public var labels: Digest
  /// A name for each of the C classes.
  public var classNames: [String]

  /// Describes a data set.
  ///
  /// - Parameters:
  ///   - labels: one for each sample, in 0..<C; or [samples, positions], -1 where a position has none.
  ///   - positions: the labels of each sample.
  public init(
    name: String, fingerprint: Digest, labels: [Int32], positions: Int = 1, classNames: [String]
  ) {
    precondition(
      labels.count.isMultiple(of: positions), "\(labels.count) labels of \(positions) positions")
    self.name = name
    self.fingerprint = fingerprint
    samples = labels.count / positions
    self.labels = LabelTable.digest(labels)
    self.classNames = classNames
  }
}

/// Which augmentation made the views.
public struct RecipeIdentity: Codable, Hashable, Sendable {
  /// Digest of the recipe's canonical JSON.
  public var digest: Digest
  /// The recipe itself.
  public var content: JSONValue

  /// A recipe with a digest that its own module computed.
  public init(digest: Digest, content: JSONValue) {
    self.digest = digest
    self.content = content
  }
}

/// What a cache is: everything that decides its records.
///
/// Written as canonical JSON: sorted keys, no spaces, no floating-point numbers.
public struct Manifest: Codable, Hashable, Sendable {
  /// The version of the format (docs/FORMAT.md); 1.
  public var formatVersion: Int
  /// The data set.
  public var dataSet: DataSetIdentity
  /// The augmentation recipe.
  public var recipe: RecipeIdentity
  /// The seed of the views, below 2^63.
  public var seed: UInt64
  /// V, the number of views of every sample.
  public var views: Int
  /// The teacher's identity: weights, preprocessing, runtime, core type.
  public var teacher: JSONValue
  /// How records are stored.
  public var encoding: Encoding
  /// Digest of what the cache learned before its first block (`Calibration`).
  public var calibration: Digest
  /// The cache that this one was derived from without the teacher; absent when a teacher ran.
  public var derivedFrom: Origin?

  /// Describes a cache that learned nothing yet.
  public init(
    dataSet: DataSetIdentity, recipe: RecipeIdentity, seed: UInt64, views: Int, teacher: JSONValue,
    encoding: Encoding
  ) {
    formatVersion = Manifest.currentVersion
    self.dataSet = dataSet
    self.recipe = recipe
    self.seed = seed
    self.views = views
    self.teacher = teacher
    self.encoding = encoding
    calibration = Calibration.plain(encoding).digest
  }

  /// The format version that this library writes, and the only one it reads.
  public static let currentVersion = 1

  /// Digest of everything that decides the records: the canonical JSON with `zstdLevel` 0.
  ///
  /// Two runs belong to the same cache exactly when their fingerprints are equal.
  /// - Throws: `Problem(.configuration)` when a value is out of range or a number is fractional.
  public var fingerprint: Digest {
    get throws {
      try validate()
      return Digest(of: try canonicalJSON(identity))
    }
  }

  /// n x V, the number of views of all samples.
  public var viewedSamples: Int { dataSet.samples * views }

  /// n x V, the number of records of a complete cache; with M positions n x V x M, the most there can be.
  public var records: Int { viewedSamples * (encoding.positions?.maximum ?? 1) }

  /// Blocks of one view.
  public var blocksPerView: Int {
    (dataSet.samples + encoding.blockRows - 1) / encoding.blockRows
  }

  /// The number of blocks of a complete cache.
  public var blockCount: Int { blocksPerView * views }

  /// The place of a block in key order, 0..<`blockCount`.
  public func position(of key: BlockKey) -> Int { key.view * blocksPerView + key.block }

  /// The block at a place in key order.
  public func blockKey(at position: Int) -> BlockKey {
    let (view, block) = position.quotientAndRemainder(dividingBy: blocksPerView)
    return BlockKey(view: view, block: block)
  }

  /// Every block of a complete cache, in key order.
  public var blockKeys: [BlockKey] {
    (0..<blockCount).map { blockKey(at: $0) }
  }

  /// The samples of a block.
  public func samples(of key: BlockKey) -> Range<Int> {
    let first = key.block * encoding.blockRows
    return first..<min(first + encoding.blockRows, dataSet.samples)
  }

  /// How many records a block can have: one for each sample, unless there are positions.
  func rows(of key: BlockKey) -> ClosedRange<Int> {
    let samples = samples(of: key).count
    guard let positions = encoding.positions else { return samples...samples }
    return 0...samples * positions.maximum
  }

  /// Whether a complete cache has this block.
  func contains(_ key: BlockKey) -> Bool {
    (0..<views).contains(key.view) && (0..<blocksPerView).contains(key.block)
  }

  /// The manifest with what does not decide records set to 0.
  private var identity: Manifest {
    var identity = self
    identity.encoding.zstdLevel = 0
    return identity
  }

  /// The manifest without what is learned from the teacher.
  func learningNothing() -> Manifest {
    var manifest = self
    manifest.calibration = Calibration.plain(encoding).digest
    return manifest
  }

  /// What differs from the manifest of a cache, one readable line each.
  ///
  /// For example `seed: the cache has 1, this run has 2`. Empty exactly when the fingerprints are
  /// equal. What was learned follows from all the rest, so it is told only when nothing else differs.
  /// - Parameters:
  ///   - otherName: what the lines call the owner of `other`.
  ///   - name: what they call the owner of this manifest.
  public func differences(
    from other: Manifest, calling otherName: String = "the cache", _ name: String = "this run"
  ) throws -> [String] {
    if identity == other.identity { return [] }
    let mine = try identity.json.leaves()
    let theirs = try other.identity.json.leaves()
    let paths = Set(mine.keys).union(theirs.keys).filter { mine[$0] != theirs[$0] }
    let told = paths == ["calibration"] ? paths : paths.subtracting(["calibration"])
    return told.sorted().map { path in
      "\(path): \(otherName) has \(theirs[path] ?? "nothing"), \(name) has "
        + (mine[path] ?? "nothing")
    }
  }

  /// The refusal to take caches together that do not belong together.
  ///
  /// - Parameter differences: what `differences` says.
  package static func mismatch(
    _ what: String, _ differences: [String], _ advice: String
  ) -> Problem {
    Problem(
      .corrupt,
      what + " What differs:\n" + differences.map { "  \($0)\n" }.joined() + advice)
  }

  private var json: JSONValue {
    get throws { try parseJSON(try canonicalJSON(self).utf8, source: "the manifest") }
  }

  /// - Throws: `Problem(.configuration)` naming the field that is out of range.
  public func validate() throws {
    guard formatVersion == Manifest.currentVersion else {
      throw Problem(
        .corrupt,
        "format version \(formatVersion) is not known; this program reads version "
          + "\(Manifest.currentVersion)")
    }
    try encoding.validate()
    guard (1...Limits.samples).contains(dataSet.samples), (1...Limits.views).contains(views),
      blocksPerView <= Int(UInt32.max)
    else {
      throw Problem(
        .configuration,
        "\(counted(dataSet.samples, "sample")) x \(counted(views, "view")) cannot be cached")
    }
    // Divided, not multiplied: samples x views may be more than an Int holds.
    guard encoding.featureWidth == nil || dataSet.samples <= Limits.recordsWithFeatures / views
    else {
      throw Problem(
        .configuration,
        "\(dataSet.samples) samples x \(views) views are too many for sums of features, at most "
          + "\(Limits.recordsWithFeatures) records fit; precompute fewer views, or no features")
    }
    try validateCount()
    guard dataSet.classNames.count == encoding.classes else {
      throw Problem(
        .configuration,
        "the data set names \(counted(dataSet.classNames.count, "class", "classes")), the teacher has "
          + "\(encoding.classes)")
    }
    guard seed <= UInt64(Int.max) else {
      throw Problem(.configuration, "seed \(seed) is too large, it must be below 2^63")
    }
    for (value, name) in [(teacher, "teacher"), (recipe.content, "recipe")] {
      if let path = value.placeOfFraction(at: name) {
        throw Problem(
          .configuration, "\(path) is a fractional number; write it as text, such as \"1/32\"")
      }
    }
  }

  /// - Throws: `Problem(.configuration)` when the records cannot be counted.
  private func validateCount() throws {
    let positions = encoding.positions?.maximum ?? 1
    guard dataSet.samples <= Limits.records / views / positions else {
      throw Problem(
        .configuration,
        "\(dataSet.samples) samples x \(views) views"
          + (positions == 1 ? "" : " x \(positions) positions")
          + " are more than the \(Limits.records) records "
          + "that fit")
    }
  }
}

extension Limits {
  /// n x V, or n x V x M; keeps every count of records and blocks far inside an Int.
  static let records = 1 << 48
}
