import Arrays
import Basics
import LogitCache
import Losses
import Teachers
import Views

/// The views that imported rows belong to.
struct ImportedViews: Sendable {
  /// `nil` when nobody knows them.
  let augmenter: Augmenter?

  /// The digest of the tensors that the teacher saw, or that of unknown ones.
  func digest(_ samples: Range<Int>, view: Int) throws -> Digest {
    try augmenter?.digest(samples: samples, view: view) ?? .unknownInputs
  }
}

/// Full rows that lie in a file.
struct ImportedRows: FullRows {
  private let values: ArrayFile
  private let featureFile: ArrayFile?
  private let layout: ImportLayout
  private let views: ImportedViews
  private let conversion: LogitConversion
  private let classes: Int
  private let featureWidth: Int
  private let positions: Positions?
  private let allLabels: [Int32]
  private(set) var logits: [Float]
  private(set) var features: [Float]
  private(set) var labels: [Int32] = []
  private(set) var places: RowPlaces?

  /// - Parameter labels: of every sample, or of all their positions.
  init(
    _ values: ArrayFile, _ kind: OutputKind, features: ArrayFile?, _ layout: ImportLayout,
    _ views: ImportedViews, _ encoding: Encoding, labels: [Int32]
  ) {
    allLabels = labels
    self.values = values
    featureFile = features
    self.layout = layout
    self.views = views
    conversion = LogitConversion(kind, source: "it", setting: "--kind")
    classes = encoding.classes
    featureWidth = encoding.featureWidth ?? 0
    positions = encoding.positions
    let rows = encoding.blockRows * (encoding.positions?.maximum ?? 1)
    logits = Array(repeating: 0, count: rows * classes)
    self.features = Array(repeating: 0, count: encoding.blockRows * featureWidth)
  }

  mutating func fill(_ samples: Range<Int>, view: Int) throws -> Digest {
    let part = try ImportPart(samples, view: view, of: layout, labels: allLabels, positions)
    (labels, places) = (part.labels, part.places)
    try part.read(values, width: classes, into: &logits)
    let (classes, conversion) = (classes, conversion)
    try logits.withUnsafeMutableBufferPointer { logits in
      for row in 0..<part.count {
        let values = logits[row * classes..<(row + 1) * classes]
        do {
          try conversion.convert(UnsafeMutableBufferPointer(rebasing: values))
        } catch let problem as Problem {
          let place = RecordPlace(
            row: row, firstSample: samples.lowerBound, view: view, part.places)
          throw Problem(problem.kind, "\(place): \(problem.message)")
        }
      }
    }
    if let featureFile {
      try part.read(featureFile, width: featureWidth, into: &features)
    }
    return try views.digest(samples, view: view)
  }
}

/// The open files of sparse rows.
struct SparseArrays: Sendable {
  let ids: ArrayFile
  let values: ArrayFile
  let logSumExp: ArrayFile
  let labelLogits: ArrayFile?
  let labelRanks: ArrayFile?
  /// C, when it was given.
  let classes: Int?
  /// Ids of a row.
  var width: Int { ids.shape[ids.shape.count - 1] }

  static func open(
    _ files: ImportJob.SparseFiles, viewsFirst: Bool, _ positions: ImportJob.Positions?
  ) throws -> (SparseArrays, ImportLayout) {
    let ids = try ArrayFile(files.ids)
    let layout = try ImportLayout(of: ids, viewsFirst: viewsFirst, positions)
    try ids.demand(isIndex: true)
    func open(_ name: String, _ rowAxes: [Int], isIndex: Bool) throws -> ArrayFile {
      try layout.open(name, rowAxes: rowAxes, isIndex: isIndex, beside: ids)
    }
    let logSumExp = try open(files.logSumExp, [], isIndex: false)
    guard logSumExp.significantBits >= 24 else {
      throw Problem(
        .corrupt,
        "\(files.logSumExp) holds \(logSumExp.typeName), too coarse to say what is outside the ids: float32 or "
          + "float64 is expected")
    }
    let arrays = SparseArrays(
      ids: ids, values: try open(files.values, [ids.shape[ids.shape.count - 1]], isIndex: false),
      logSumExp: logSumExp,
      labelLogits: try files.labelLogits.map { try open($0, [], isIndex: false) },
      labelRanks: try files.labelRanks.map { try open($0, [], isIndex: true) },
      classes: files.classes)
    return (arrays, layout)
  }

  /// The files by what they are.
  var named: [(name: String, file: ArrayFile)] {
    [("ids", ids), ("values", values), ("logSumExp", logSumExp)]
      + (labelLogits.map { [("labelLogits", $0)] } ?? [])
      + (labelRanks.map { [("labelRanks", $0)] } ?? [])
  }
}

/// Records of sparse rows.
struct SparseBlocks: BlockSource {
  private let arrays: SparseArrays
  private let layout: ImportLayout
  private let views: ImportedViews
  private let manifest: Manifest
  private let labels: [Int32]
  private var meter: SparseMeter

  init(
    _ arrays: SparseArrays, _ layout: ImportLayout, _ views: ImportedViews, _ manifest: Manifest,
    labels: [Int32]
  ) {
    self.arrays = arrays
    self.layout = layout
    self.views = views
    self.manifest = manifest
    self.labels = labels
    meter = SparseMeter(manifest)
  }

  mutating func measure(
    _ key: BlockKey, _ encoder: BlockEncoder, learning: (index: Int, count: Int)?
  ) throws -> MeasuredBlock {
    let samples = manifest.samples(of: key)
    let part = try ImportPart(
      samples, view: key.view, of: layout, labels: labels, manifest.encoding.positions)
    return try meter.measure(
      read(part), labels: part.labels, places: part.places, key,
      viewDigest: try views.digest(samples, view: key.view))
  }

  private func read(_ part: ImportPart) throws -> SparseRows {
    func floats(_ file: ArrayFile, width: Int) throws -> [Float] {
      var values = [Float](repeating: 0, count: part.count * width)
      try part.read(file, width: width, into: &values)
      return values
    }
    func integers(_ file: ArrayFile, width: Int) throws -> [Int] {
      try part.collect(width: width) { try file.integers($0) }
    }
    return SparseRows(
      width: arrays.width, ids: try integers(arrays.ids, width: arrays.width),
      logits: try floats(arrays.values, width: arrays.width),
      logSumExps: try part.collect(width: 1) { try arrays.logSumExp.doubles($0) },
      // A sum of many terms is a few units in the last place off.
      rounding: Double(sign: .plus, exponent: 4 - arrays.logSumExp.significantBits, significand: 1),
      labelLogits: try arrays.labelLogits.map { try floats($0, width: 1) } ?? [],
      labelRanks: try arrays.labelRanks.map { try integers($0, width: 1) } ?? [])
  }
}

/// Records whose errors name the file that they come from.
struct NamedBlocks<Source: BlockSource>: BlockSource {
  let name: String
  var source: Source

  mutating func measure(
    _ key: BlockKey, _ encoder: BlockEncoder, learning: (index: Int, count: Int)?
  ) throws -> MeasuredBlock {
    do {
      return try source.measure(key, encoder, learning: learning)
    } catch let problem as Problem where problem.kind == .corrupt {
      throw Problem(.corrupt, "\(name): \(problem.message)")
    }
  }
}
