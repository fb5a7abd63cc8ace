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
  private var begun: BegunBlock?

  /// A block of which not all rows are measured yet.
  private struct BegunBlock {
    let key: BlockKey
    let firstSample: Int
    /// How many first classes of each row to learn from; nil unless for calibration.
    let depth: Int?
    /// How many rows are measured.
    var rows = 0
    var certificate: Certificate
    var classSums: [UInt32: ClassSum] = [:]
  }

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
    columns = RecordColumns(manifest.encoding, axes: calibration.axes)
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
    let key = BlockKey(view: view, block: block)
    begin(key, rows: labels.count, places: places, forCalibration: forCalibration)
    precondition(
      begun?.firstSample == firstSample, "\(key) does not begin with sample \(firstSample)")
    try add(logits: logits, labels: labels, features: features)
    if !forCalibration { encodeTail(logits) }
    return finish(
      viewDigest: viewDigest, keptRows: evenRows(logits, keptRows, of: labels.count))
  }

  /// Begins a block whose rows come in parts: `add` takes them in, `finish` gives what `measure` would.
  ///
  /// - Parameter rows: of the whole block.
  package func begin(
    _ key: BlockKey, rows: Int, places: RowPlaces? = nil, forCalibration: Bool
  ) {
    let depth = forCalibration ? Calibration.depth(manifest.encoding) : manifest.encoding.k
    let selected = manifest.encoding.ranking == nil ? depth : manifest.encoding.classes
    if selection.ids.count != selected { selection = HeadSelection(k: selected) }
    firstClasses.removeAll(keepingCapacity: true)
    precondition(manifest.contains(key), "\(key) is not part of the cache")
    let samples = manifest.samples(of: key)
    precondition(
      places != nil || samples.count == rows, "\(key) has samples \(samples), got \(rows) rows")
    precondition(
      (places == nil) == (manifest.encoding.positions == nil),
      "\(key) has \(places == nil ? "no places" : "places"), the manifest says otherwise")
    if let positions = manifest.encoding.positions {
      places?.demand(samples: samples.count, rows: rows, positions)
    }
    columns.resize(to: rows)
    columns.places = places
    begun = BegunBlock(
      key: key, firstSample: samples.lowerBound, depth: forCalibration ? depth : nil,
      certificate: Certificate(temperatures: manifest.encoding.temperatures))
  }

  /// Takes in the next rows of the block that `begin` began.
  ///
  /// With a subspace tail they are all rows of the block.
  /// - Parameters, errors: as of `measure`. When it throws, no block is begun.
  package func add(
    logits: Span<Float>, labels: [Int32], features: Span<Float> = Span()
  ) throws {
    guard var block = begun else { preconditionFailure("rows for no block") }
    begun = nil
    let classes = manifest.encoding.classes
    precondition(
      logits.count == labels.count * classes,
      "\(logits.count) logits for \(labels.count) rows of \(classes) classes")
    precondition(
      block.rows + labels.count <= columns.rows
        && (tailEncoder == nil || labels.count == columns.rows),
      "\(labels.count) rows after \(block.rows) of \(columns.rows)")
    try logits.withUnsafeBufferPointer { logits in
      for index in 0..<labels.count {
        let values = UnsafeBufferPointer(rebasing: logits[index * classes..<(index + 1) * classes])
        let row = block.rows + index
        try BlockEncoder.check(
          values, label: labels[index],
          RecordPlace(
            row: row, firstSample: block.firstSample, view: block.key.view, columns.places))
        encode(values, label: Int(labels[index]), row: row, into: &block.certificate)
        if let depth = block.depth { firstClasses += selection.ids.prefix(depth) }
      }
    }
    try encode(features: features, labels: labels, &block)
    block.rows += labels.count
    begun = block
  }

  /// Fills the subspace tail's columns, when there is one.
  private func encodeTail(_ logits: Span<Float>) {
    guard var block = begun else { preconditionFailure("rows for no block") }
    logits.withUnsafeBufferPointer {
      tailEncoder?.encode($0, into: &columns, measuring: &block.certificate)
    }
    begun = block
  }

  /// The block that `begin` began, with all its rows.
  package func finish(viewDigest: Digest, keptRows: [Float] = []) -> MeasuredBlock {
    guard let block = begun else { preconditionFailure("no block to finish") }
    begun = nil
    precondition(block.rows == columns.rows, "\(block.rows) rows of \(columns.rows)")
    let header = BlockHeader(
      key: block.key, firstSample: block.firstSample, rows: block.rows, viewDigest: viewDigest)
    return MeasuredBlock(
      header: header, columns: columns, certificate: block.certificate,
      classSums: block.classSums, firstClasses: firstClasses, keptRows: keptRows)
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

  /// Fills the column of norms, and adds the features to the sums by class.
  private func encode(
    features: Span<Float>, labels: [Int32], _ block: inout BegunBlock
  ) throws {
    let width = manifest.encoding.featureWidth ?? 0
    precondition(
      features.count == labels.count * width,
      "\(features.count) features for \(labels.count) rows of \(width)")
    if width == 0 { return }
    try features.withUnsafeBufferPointer { features in
      for index in 0..<labels.count {
        let row = block.rows + index
        let feature = UnsafeBufferPointer(rebasing: features[index * width..<(index + 1) * width])
        if let place = firstUnusable(in: feature, beyond: Limits.feature) {
          throw Problem(
            .corrupt,
            "teacher gave \(feature[place]) for sample \(block.firstSample + row), view "
              + "\(block.key.view), feature \(place): features must be finite and within "
              + "±\(Int(Limits.feature)); check the teacher on this sample")
        }
        columns.featureNorms[row] = FeatureNorm.code(of: feature)
        block.classSums[UInt32(labels[index]), default: ClassSum(width: width)].add(feature)
      }
    }
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
