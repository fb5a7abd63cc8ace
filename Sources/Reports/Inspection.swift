public import Basics
public import LogitCache

/// What a cache is and what its teacher said: the content of `inspect --json`
/// (`schemas/inspect.schema.json`).
public struct Inspection: Codable, Sendable {
  /// Mean and quantiles of a number over all records.
  public struct Summary: Codable, Sendable {
    var mean: Double
    var p1: Double
    var p10: Double
    var p50: Double
    var p90: Double
    var p99: Double
  }

  /// Bytes of one plane of all blocks.
  public struct Plane: Codable, Sendable {
    var plane: String
    var canonicalBytes: Int
    var storedBytes: Int
    var bytesPerRecord: Double
  }

  /// The teacher against the labels of one class.
  public struct ClassRow: Codable, Sendable {
    var name: String
    var records: Int
    var accuracy: Double
    var meanLabelProbability: Double
    /// The class most often named instead, if any.
    var mostConfusedWith: String?
  }

  /// What the cache keeps of the teacher's features.
  public struct FeatureReport: Codable, Sendable {
    var width: Int
    var norm: Summary
  }

  /// What the cache keeps to rebuild full rows.
  public struct SubspaceReport: Codable, Sendable {
    /// Of a coefficient, in nats.
    var step: Double
    var axes: Int
    /// Axes, from the first on, whose coefficients go through a trellis.
    var trellisAxes: Int
    /// Of the axes, once for the cache.
    var axesBytes: Int
    /// Of coefficients and offsets.
    var bytesPerRecord: Double
  }

  /// What the cache keeps of the order of the classes behind the head.
  public struct RankingReport: Codable, Sendable {
    /// "full".
    var kept: String
    /// Of the ranks behind the head.
    var bytesPerRecord: Double
  }

  /// At how many positions a view has records.
  public struct PositionsReport: Codable, Sendable {
    /// M.
    var maximum: Int
    /// "sample" or "position": whose labels records have.
    var labels: String
    /// Records of a view.
    var mean: Double
    var min: Int
    var max: Int
    /// Stored bytes of a view's blocks, checksums included.
    var bytesPerView: Double
  }

  /// The mass outside the head at a temperature.
  public struct TailMass: Codable, Sendable {
    var temperature: String
    var mean: Double
    var max: Double
  }

  /// The certificate at a temperature.
  public struct ErrorsAtTemperature: Codable, Sendable {
    var temperature: String
    var totalVariation: ErrorSummary
    var kdGradientError: ErrorSummary
    var pldDroppedWeight: ErrorSummary
    var distAngle: ErrorSummary
  }

  /// The writer's measurements of stored records against full teacher rows.
  public struct CertificateReport: Codable, Sendable {
    var records: Int
    var atTemperature: [ErrorsAtTemperature]
    var mseMissingEnergy: ErrorSummary
    var topOneAgreement: Double
    var orderAgreement: Double
  }

  /// The data set the cache belongs to.
  public struct DataSetReport: Codable, Sendable {
    var name: String
    var fingerprint: Digest
    var samples: Int
  }

  /// Whether the cache is complete and closed.
  public var sealed: Bool
  /// The identity of the content; only when sealed.
  public var cacheDigest: Digest?
  /// The identity of everything that decides the records.
  public var fingerprint: Digest
  /// Records held.
  public var records: Int
  /// Blocks still to be made; 0 when sealed.
  public var missingBlocks: Int
  /// Size of the store on disk.
  public var bytes: Int
  /// Stored bytes of the records' blocks, checksums included, per record.
  public var bytesPerRecord: Double
  /// C.
  public var classes: Int
  /// k.
  public var k: Int
  /// V.
  public var views: Int
  /// The seed of the views.
  public var seed: UInt64
  /// Samples in a block.
  public var blockRows: Int
  /// The data set.
  public var dataSet: DataSetReport
  /// The teacher's identity.
  public var teacher: JSONValue
  /// The cache that this one was derived from; absent when a teacher ran.
  public var derivedFrom: Origin?
  /// The recipe, with every default written out.
  public var recipe: JSONValue
  /// Size by plane.
  public var planes: [Plane]
  /// Share of records whose label is the teacher's first choice.
  public var teacherTop1: Double
  /// Share of records whose label is among the teacher's first five.
  public var teacherTop5: Double
  /// Entropy of the teacher at T = 1, in nats, the tail taken as uniform.
  public var entropy: Summary
  /// Probability of the teacher's first choice at T = 1.
  public var confidence: Summary
  /// Mean probability at T = 1 of the first class, the first two, and so on to all k together.
  public var cumulativeMass: [Double]
  /// Mass outside the head at the planned temperatures; empty when k = C.
  public var tailMass: [TailMass]
  /// Width and norms of the teacher's features; absent when the cache keeps none.
  public var features: FeatureReport?
  /// Axes, step and size of the subspace tail; absent when the cache has none.
  public var subspaceTail: SubspaceReport?
  /// What is kept of the order of the classes behind the head; absent when nothing is.
  public var ranking: RankingReport?
  /// At how many positions views have records; absent when they have one record each.
  public var positions: PositionsReport?
  /// Share of (sample, view > 0), or of their positions that view 0 has too, whose first choice is that of view 0; absent with one view.
  public var viewAgreement: Double?
  /// One row per class.
  public var perClass: [ClassRow]
  /// The certificate.
  public var certificate: CertificateReport
}

extension Inspection {
  /// Reads a whole cache, sealed or not.
  ///
  /// - Parameter progress: called with blocks read and blocks in all.
  /// - Throws: `Problem` naming the cache, or the block that is damaged.
  public init(of cache: CacheReader, progress: (Int, Int) -> Void = { _, _ in }) throws {
    let manifest = cache.manifest
    let encoding = manifest.encoding
    let keys = try cache.storedBlocks()
    var statistics = TeacherStatistics(manifest)
    var block = cache.makeBatch()
    // Views of the same samples together, so that their first choices can be compared.
    for (done, key) in keys.sorted(by: { ($0.block, $0.view) < ($1.block, $1.view) }).enumerated() {
      try cache.decode(view: key.view, block: key.block, into: &block)
      statistics.add(block, view: key.view, number: key.block)
      progress(done + 1, keys.count)
    }
    let records = statistics.records
    let sizes = try cache.sizeByPlane()
    var blockBytes = 0
    try cache.forEachBlock { _, info in blockBytes += info.storedBytes }
    func perRecord(_ bytes: Int) -> Double { records > 0 ? Double(bytes) / Double(records) : 0 }

    sealed = cache.isSealed
    cacheDigest = cache.cacheDigest
    fingerprint = cache.fingerprint
    self.records = records
    missingBlocks = manifest.blockCount - keys.count
    bytes = cache.fileBytes
    bytesPerRecord = perRecord(blockBytes)
    classes = encoding.classes
    k = encoding.k
    views = manifest.views
    seed = manifest.seed
    blockRows = encoding.blockRows
    dataSet = DataSetReport(
      name: manifest.dataSet.name, fingerprint: manifest.dataSet.fingerprint,
      samples: manifest.dataSet.samples)
    teacher = manifest.teacher
    derivedFrom = manifest.derivedFrom
    recipe = manifest.recipe.content
    planes = sizes.map {
      Plane(
        plane: $0.name, canonicalBytes: $0.canonicalBytes, storedBytes: $0.storedBytes,
        bytesPerRecord: perRecord($0.storedBytes))
    }
    teacherTop1 = statistics.share(statistics.correctTop1)
    teacherTop5 = statistics.share(statistics.correctTop5)
    entropy = statistics.entropy.summary
    confidence = statistics.confidence.summary
    cumulativeMass = statistics.cumulativeMass
    tailMass = statistics.tailMass
    features = encoding.featureWidth.map {
      FeatureReport(width: $0, norm: statistics.featureNorms)
    }
    subspaceTail = cache.axes.map { axes in
      let bytes = sizes.filter { ["coefficients", "offsets"].contains($0.name) }
        .reduce(0) { $0 + $1.storedBytes }
      return SubspaceReport(
        step: Double(encoding.subspaceTail?.step ?? 0), axes: axes.count,
        trellisAxes: axes.trellisAxes,
        axesBytes: axes.byteCount, bytesPerRecord: perRecord(bytes))
    }
    ranking = encoding.ranking.map { kept in
      let bytes = sizes.filter { $0.name == "ranking" }.reduce(0) { $0 + $1.storedBytes }
      return RankingReport(kept: kept.rawValue, bytesPerRecord: perRecord(bytes))
    }
    positions = encoding.positions.map { positions in
      let (least, most, views) = statistics.positions
      return PositionsReport(
        maximum: positions.maximum, labels: positions.labels.rawValue,
        mean: Double(records) / Double(Swift.max(views, 1)), min: views == 0 ? 0 : least, max: most,
        bytesPerView: Double(blockBytes) / Double(Swift.max(views, 1)))
    }
    viewAgreement = statistics.viewAgreement
    perClass = statistics.perClass
    certificate = CertificateReport(try cache.certificate())
  }
}

extension Inspection.CertificateReport {
  init(_ certificate: Certificate) {
    func share(_ count: Int) -> Double {
      certificate.records > 0 ? Double(count) / Double(certificate.records) : 0
    }
    records = certificate.records
    atTemperature = certificate.atTemperature.map {
      Inspection.ErrorsAtTemperature(
        temperature: $0.temperature.description, totalVariation: .init($0.totalVariation),
        kdGradientError: .init($0.kdGradientError), pldDroppedWeight: .init($0.pldDroppedWeight),
        distAngle: .init($0.distAngle))
    }
    mseMissingEnergy = .init(certificate.mseMissingEnergy)
    topOneAgreement = share(certificate.topOneAgreements)
    orderAgreement = share(certificate.orderAgreements)
  }
}
