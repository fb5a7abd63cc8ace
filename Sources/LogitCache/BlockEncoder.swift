public import Basics
import Compression
public import Losses

/// A block ready to be stored.
public struct EncodedBlock: Sendable {
  /// Which block this is.
  public let key: BlockKey
  /// How many records it holds.
  public let rows: Int
  /// How many samples these belong to.
  let samples: Int
  /// The bytes that define the block's content, before compression.
  public let canonicalBytes: [UInt8]
  /// SHA-256 of the canonical bytes.
  public let digest: Digest
  /// Digest of the exact inputs that the teacher saw.
  public let viewDigest: Digest
  /// The value stored in the cache: checksum, length, zstd frame.
  public let storedValue: [UInt8]
  /// Bytes of each plane, before and after compression.
  public let planes: [PlaneSize]
  /// The records' measured errors.
  public let certificate: Certificate
  /// Sums of the features of each class that occurs; empty without features.
  let classSums: [UInt32: ClassSum]
}

/// A block that waits for a calibration: what a cache keeps of the teacher's rows, as integers.
public struct MeasuredBlock: Sendable {
  /// Which block this is.
  public var key: BlockKey { header.key }
  let header: BlockHeader
  let columns: RecordColumns
  /// The records' measured errors.
  public let certificate: Certificate
  let classSums: [UInt32: ClassSum]
  /// First classes of each row, best first [rows, k or more]; empty unless for calibration.
  let firstClasses: [UInt32]
  /// Some of the teacher's rows, to learn axes from [kept rows, C].
  let keptRows: [Float]
}

/// How large one plane of a block, or of a cache, is.
public struct PlaneSize: Equatable, Sendable {
  /// What it holds: "header", "positionCounts", "positionGaps", "ids", "gaps", "largest", "labelRanks", "labelGaps", "featureNorms",
  /// "ranking", "coefficients" and "offsets" of a subspace tail, "tail0" (at the first planned temperature),
  /// "tail1", ...
  public var name: String { PlaneID.name(id) }
  /// Bytes before compression.
  public internal(set) var canonicalBytes: Int
  /// Bytes after compression.
  public internal(set) var storedBytes: Int
  let id: UInt8
}

/// Turns a block of teacher rows into stored bytes; the same rows give the same bytes on every
/// machine (those of a subspace tail: with the same OpenBLAS and core type).
///
/// Keeps its working memory between blocks; use one encoder per thread.
public final class BlockEncoder {
  private let manifest: Manifest
  private var codec: BlockCodec
  private let compressor: ZstdCompressor
  private var columns: RecordColumns
  private var selection: HeadSelection
  private var firstClasses: [UInt32] = []
  private var meter: RowMeter
  /// Keeps full rows; nil without a subspace tail.
  private var tailEncoder: SubspaceEncoder?

  /// An encoder for blocks of one cache.
  ///
  /// - Parameter calibration: what the manifest names; nothing learned when left out.
  /// - Throws: `Problem(.configuration)` when the manifest is out of range.
  public init(manifest: Manifest, calibration: Calibration? = nil) throws {
    try manifest.validate()
    self.manifest = manifest
    let calibration = calibration ?? .plain(manifest.encoding)
    codec = BlockCodec(manifest, calibration)
    tailEncoder = calibration.axes.map { SubspaceEncoder($0, manifest.encoding) }
    compressor = try ZstdCompressor(level: manifest.encoding.zstdLevel)
    columns = RecordColumns(manifest.encoding, axes: calibration.axes?.count)
    selection = HeadSelection(k: manifest.encoding.k)
    meter = RowMeter(manifest.encoding)
  }

  /// Encodes one block.
  ///
  /// - Parameters:
  ///   - logits: the teacher's rows, row-major [rows, C], natural-log units.
  ///   - labels: the true label of every row [rows], 0..<C.
  ///   - places: the sample of the block and the position that each row is of, when the encoding has
  ///     positions; where these have labels, exactly those that do.
  ///   - view: the view all rows belong to.
  ///   - block: the block of that view; it decides which samples the rows are.
  ///   - firstSample: the sample of row 0, as a check: `block * blockRows`.
  ///   - viewDigest: digest of the exact inputs that the teacher saw.
  ///   - features: the teacher's features, row-major [rows, D], when the encoding keeps them.
  /// - Throws: `Problem(.corrupt)` naming sample, view and class when a logit is NaN, infinite or
  ///   beyond 2^18 in magnitude (a feature: 2^15), or when a label is out of range.
  /// - Precondition: counts fit the block's place in the data set.
  public func encode(
    logits: Span<Float>, labels: [Int32], places: RowPlaces? = nil, view: Int, block: Int,
    firstSample: Int, viewDigest: Digest, features: Span<Float> = Span()
  ) throws -> EncodedBlock {
    try pack(
      measure(
        logits: logits, labels: labels, places: places, view: view, block: block,
        firstSample: firstSample,
        viewDigest: viewDigest, features: features))
  }

  /// The first half of `encode`: takes what a cache keeps from the rows, and measures it.
  ///
  /// - Parameters:
  ///   - forCalibration: keep what `Calibration.learn` needs too. A subspace tail has no axes then, so
  ///     such a block cannot be packed; without one it can, by an encoder with the calibration.
  ///   - keptRows: how many full rows to keep with it, spread over the block (`Calibration.keptRows`).
  public func measure(
    logits: Span<Float>, labels: [Int32], places: RowPlaces? = nil, view: Int, block: Int,
    firstSample: Int, viewDigest: Digest, features: Span<Float> = Span(),
    forCalibration: Bool = false, keptRows: Int = 0
  ) throws -> MeasuredBlock {
    let depth = forCalibration ? Calibration.depth(manifest.encoding) : manifest.encoding.k
    let selected = manifest.encoding.ranking == nil ? depth : manifest.encoding.classes
    if selection.ids.count != selected { selection = HeadSelection(k: selected) }
    firstClasses.removeAll(keepingCapacity: true)
    let key = BlockKey(view: view, block: block)
    let samples = manifest.samples(of: key)
    let classes = manifest.encoding.classes
    precondition(manifest.contains(key), "\(key) is not part of the cache")
    precondition(
      samples.lowerBound == firstSample && (places != nil || samples.count == labels.count),
      "\(key) has samples \(samples), got \(labels.count) labels from sample \(firstSample)")
    precondition(
      (places == nil) == (manifest.encoding.positions == nil),
      "\(key) has \(places == nil ? "no places" : "places"), the manifest says otherwise")
    if let positions = manifest.encoding.positions {
      places?.demand(samples: samples.count, rows: labels.count, positions)
    }
    precondition(
      logits.count == labels.count * classes,
      "\(logits.count) logits for \(labels.count) rows of \(classes) classes")
    columns.resize(to: labels.count)
    columns.places = places
    var certificate = Certificate(temperatures: manifest.encoding.temperatures)
    try logits.withUnsafeBufferPointer { logits in
      for row in 0..<labels.count {
        let values = UnsafeBufferPointer(rebasing: logits[row * classes..<(row + 1) * classes])
        try BlockEncoder.check(
          values, label: labels[row],
          RecordPlace(row: row, firstSample: firstSample, view: view, places))
        encode(values, label: Int(labels[row]), row: row, into: &certificate)
        if forCalibration { firstClasses += selection.ids.prefix(depth) }
      }
    }
    if !forCalibration {
      logits.withUnsafeBufferPointer {
        tailEncoder?.encode($0, into: &columns, measuring: &certificate)
      }
    }
    let sums = try encode(features: features, labels: labels, firstSample, view)
    let header = BlockHeader(
      key: key, firstSample: firstSample, rows: labels.count, viewDigest: viewDigest)
    return MeasuredBlock(
      header: header, columns: columns, certificate: certificate, classSums: sums,
      firstClasses: firstClasses, keptRows: evenRows(logits, keptRows, of: labels.count))
  }

  /// `count` rows, or all there are, at even distances.
  private func evenRows(_ logits: Span<Float>, _ count: Int, of rows: Int) -> [Float] {
    let classes = manifest.encoding.classes
    let kept = min(count, rows)
    var result: [Float] = []
    result.reserveCapacity(kept * classes)
    logits.withUnsafeBufferPointer { logits in
      for index in 0..<kept {
        let row = index * rows / kept
        result += logits[row * classes..<(row + 1) * classes]
      }
    }
    return result
  }

  /// Fills the column of norms; returns the features' sums by class.
  private func encode(
    features: Span<Float>, labels: [Int32], _ firstSample: Int, _ view: Int
  ) throws -> [UInt32: ClassSum] {
    let width = manifest.encoding.featureWidth ?? 0
    precondition(
      features.count == labels.count * width,
      "\(features.count) features for \(labels.count) rows of \(width)")
    if width == 0 { return [:] }
    var sums: [UInt32: ClassSum] = [:]
    try features.withUnsafeBufferPointer { features in
      for row in 0..<labels.count {
        let feature = UnsafeBufferPointer(rebasing: features[row * width..<(row + 1) * width])
        if let index = firstUnusable(in: feature, beyond: Limits.feature) {
          throw Problem(
            .corrupt,
            "teacher gave \(feature[index]) for sample \(firstSample + row), view \(view), feature "
              + "\(index): features must be finite and within ±\(Int(Limits.feature)); check the "
              + "teacher on this sample")
        }
        columns.featureNorms[row] = FeatureNorm.code(of: feature)
        sums[UInt32(labels[row]), default: ClassSum(width: width)].add(feature)
      }
    }
    return sums
  }

  /// Refuses a row that cannot be recorded, by the place where it comes from.
  package static func check(
    _ row: UnsafeBufferPointer<Float>, label: Int32, _ place: @autoclosure () -> RecordPlace
  ) throws {
    if let id = firstUnusable(in: row, beyond: Limits.magnitude) {
      let value = row[id]
      let what = value.isNaN ? "NaN" : value.isInfinite ? "infinity" : "\(value)"
      throw Problem(
        .corrupt,
        "teacher gave \(what) for \(place()), class \(id): logits must be finite "
          + "and within ±\(Int(Limits.magnitude)); check the teacher on this sample")
    }
    guard (0..<row.count).contains(Int(label)) else {
      throw Problem(
        .corrupt,
        "sample \(place().sample) has label \(label), the teacher has \(counted(row.count, "class", "classes"))"
      )
    }
  }

  /// Fills one row of the columns and measures it.
  private func encode(
    _ values: UnsafeBufferPointer<Float>, label: Int, row: Int, into certificate: inout Certificate
  ) {
    let encoding = manifest.encoding
    selection.select(from: values)
    let quantiser = Quantiser(encoding, largest: values[Int(selection.ids[0])])
    columns.largest[row] = quantiser.largest
    columns.labels[row] = UInt32(label)
    columns.labelLevels[row] = quantiser.level(of: values[label])
    var labelRank: Int?
    for rank in 0..<encoding.k {
      let id = selection.ids[rank]
      if id == UInt32(label) { labelRank = rank }
      columns.ids[rank * columns.rows + row] = id
      columns.levels[rank * columns.rows + row] = quantiser.level(of: values[Int(id)])
    }
    if columns.hasRanking {
      for rank in encoding.k..<encoding.classes {
        columns.ranking[(rank - encoding.k) * columns.rows + row] = selection.ids[rank]
      }
    }
    columns.labelRanks[row] = UInt32(labelRank ?? rank(of: label, in: values))
    measure(values, quantiser, label: label, labelInHead: labelRank != nil, row, &certificate)
  }

  private func measure(
    _ values: UnsafeBufferPointer<Float>, _ quantiser: Quantiser, label: Int, labelInHead: Bool,
    _ row: Int, _ certificate: inout Certificate
  ) {
    let encoding = manifest.encoding
    let largest = Double(values[Int(selection.ids[0])])
    let record = RowMeter.Record(
      storedLargest: quantiser.storedLargest, labelGap: largest - Double(values[label]),
      labelInHead: labelInHead, labelRank: Int(columns.labelRanks[row]))
    meter.load(values, head: selection.ids.prefix(encoding.k)) {
      columns.levels[$0 * columns.rows + row]
    }
    if columns.hasRanking {
      meter.loadRanking(
        selection.ids.suffix(from: encoding.k), head: selection.ids.prefix(encoding.k))
    }
    meter.measure(record, into: &certificate)
    for index in 0..<columns.temperatures {
      columns.tails[index * columns.rows + row] = meter.ratios[index]
    }
    certificate.topOneAgreements += meter.headIsLargest ? 1 : 0
    certificate.orderAgreements += meter.isOrdered(selection.ids.prefix(encoding.k)) ? 1 : 0
  }

  /// The second half of `encode`: writes a measured block with this encoder's calibration.
  public func pack(_ block: MeasuredBlock) throws -> EncodedBlock {
    let header = block.header
    let (bytes, pieces) = codec.encode(block.columns, header)
    let frame = try compressor.compress(bytes, pieces: pieces.map(\.length))
    return EncodedBlock(
      key: header.key, rows: header.rows, samples: manifest.samples(of: header.key).count,
      canonicalBytes: bytes, digest: Digest(of: bytes),
      viewDigest: header.viewDigest,
      storedValue: StoredBlock.wrap(frame.bytes, canonicalLength: bytes.count),
      planes: planeSizes(pieces, frame.pieceSizes), certificate: block.certificate,
      classSums: block.classSums)
  }

  /// Sums the pieces of each plane, keeping the order of the planes.
  private func planeSizes(
    _ pieces: [(plane: UInt8, length: Int)], _ stored: [Int]
  ) -> [PlaneSize] {
    zip(pieces, stored).reduce(into: []) { sizes, piece in
      let (plane, length) = piece.0
      if sizes.last?.id == plane {
        sizes[sizes.count - 1].canonicalBytes += length
        sizes[sizes.count - 1].storedBytes += piece.1
      } else {
        sizes.append(PlaneSize(canonicalBytes: length, storedBytes: piece.1, id: plane))
      }
    }
  }
}

/// Rounds the logits of one row to steps.
struct Quantiser {
  /// The largest logit in its steps.
  let largest: Int32
  /// The largest logit as stored, in nats.
  let storedLargest: Double
  private let exactLargest: Double
  private let stepsPerNat: Double

  init(_ encoding: Encoding, largest: Float) {
    let steps = Double(encoding.largestStepsPerNat)
    let rounded = (Double(largest) * steps).rounded(.toNearestOrEven)
    self.largest = Int32(rounded)
    storedLargest = rounded / steps
    exactLargest = Double(largest)
    stepsPerNat = Double(encoding.stepsPerNat)
  }

  /// The gap of a logit to the largest one, both before rounding.
  @inline(__always)
  func level(of logit: Float) -> UInt32 {
    UInt32(((exactLargest - Double(logit)) * stepsPerNat).rounded(.toNearestOrEven))
  }
}
