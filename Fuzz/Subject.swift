import Basics
import LogitCache
import Losses

/// The shape of a small cache; the first byte of an input chooses one.
///
/// Add new ones at the end: the committed corpus names shapes by their place.
struct Shape {
  var classes: Int
  var k: Int
  var rows: Int
  var temperatures: [Temperature] = [1, 2, 4]
  var featureWidth: Int?
  var habit: Habit?
  var tail: SubspaceTail?
  var ranking: Ranking?
  /// `rows` are samples then.
  var positions: Positions?

  /// What decides which classes come together; without one nothing is learned.
  enum Habit: String {
    case label = "labels"
    case firstClass = "first classes"
  }

  static let all = [
    Shape(classes: 1, k: 1, rows: 1),
    Shape(classes: 2, k: 1, rows: 3),
    Shape(classes: 4, k: 2, rows: 3),
    Shape(classes: 5, k: 5, rows: 7),
    Shape(classes: 12, k: 5, rows: 8, featureWidth: 2),
    Shape(classes: 10, k: 9, rows: 2, temperatures: [1]),
    Shape(classes: 256, k: 3, rows: 6),
    Shape(classes: 257, k: 4, rows: 5, temperatures: [Temperature(1, over: 4)!, 100]),
    Shape(classes: 1000, k: 10, rows: 16),
    Shape(classes: 70_000, k: 2, rows: 4, temperatures: [1, 2, 3, 4, 5, 6, 7, 8]),
    Shape(classes: 40, k: 6, rows: 21, habit: .label),
    Shape(classes: 40, k: 6, rows: 21, habit: .firstClass),
    Shape(classes: 33, k: 33, rows: 17, featureWidth: 1, habit: .label),
    Shape(
      classes: 30, k: 3, rows: 9, tail: SubspaceTail(stepSixteenths: 8, maximumAxes: 6)),
    Shape(classes: 20, k: 3, rows: 7, ranking: .full),
    Shape(classes: 40, k: 6, rows: 21, habit: .firstClass, ranking: .full),
    Shape(classes: 9, k: 3, rows: 7, positions: Positions(maximum: 5, labels: .sample)),
    Shape(classes: 9, k: 3, rows: 7, positions: Positions(maximum: 5, labels: .position)),
    Shape(
      classes: 40, k: 6, rows: 21, habit: .label,
      positions: Positions(maximum: 3, labels: .sample)),
  ]

  /// Whether a calibration is learned.
  var learns: Bool { habit != nil || tail != nil }

  var key: BlockKey { BlockKey(view: 0, block: 0) }

  /// Some samples have records at all positions, some at none.
  var places: RowPlaces? {
    guard let positions else { return nil }
    var random = SplitMix64(seed: UInt64(classes + 1))
    var places = RowPlaces()
    for sample in 0..<rows {
      let bits = sample % 5 == 0 ? .max : sample % 5 == 1 ? 0 : random.next()
      places.append(sampleAt: (0..<Int32(positions.maximum)).filter { bits >> $0 & 1 == 1 })
    }
    return places
  }

  var labels: BlockLabels {
    var random = SplitMix64(seed: UInt64(classes))
    let ownPlaces = positions?.labels == .position ? places : nil
    return BlockLabels(
      (0..<(ownPlaces?.rows ?? rows)).map { _ in UInt32(random.next() % UInt64(classes)) },
      places: ownPlaces)
  }

  /// The label of each record.
  private var recordLabels: [UInt32] {
    guard positions?.labels == .sample, let places else { return labels.values }
    return places.forEachRow(labels.values)
  }

  /// One block a view; so many views that what is learned pays.
  ///
  /// With a habit `rows` is odd: every sample is then an even row of some views and an odd one of others, of which
  /// one half is learned from and the other measured.
  var manifest: Manifest {
    Manifest(
      dataSet: DataSetIdentity(
        name: "fuzz", fingerprint: Digest(of: "fuzz"), labels: [Int32](repeating: 0, count: rows),
        classNames: (0..<classes).map { "\($0)" }),
      recipe: RecipeIdentity(digest: Digest(of: "none"), content: .object([:])), seed: 1,
      views: learns ? 1 << 16 : 1, teacher: .object([:]),
      encoding: Encoding(
        classes: classes, k: k, temperatures: temperatures, featureWidth: featureWidth,
        subspaceTail: tail, ranking: ranking, positions: positions, blockRows: rows))
  }

  /// What the teacher says of a view, and a cache keeps of it.
  func measure(
    view: Int, _ calibration: Calibration? = nil, forCalibration: Bool = false
  ) throws -> MeasuredBlock {
    var random = SplitMix64(seed: UInt64(classes * 31 + k + view << 32))
    let labels = recordLabels
    let logits = labels.enumerated().flatMap { row($0, label: $1, &random) }
    let features = (0..<rows * (featureWidth ?? 0)).map { _ in random.number(below: 1024) }
    return try BlockEncoder(manifest: manifest, calibration: calibration).measure(
      logits: logits.span, labels: labels.map { Int32($0) }, places: places, view: view, block: 0,
      firstSample: 0, viewDigest: Digest(of: "fuzz"), features: features.span,
      forCalibration: forCalibration,
      keptRows: forCalibration && tail != nil ? rows : 0)
  }

  /// Without a habit rows of several kinds: spread, sharp, tied.
  private func row(_ index: Int, label: UInt32, _ random: inout SplitMix64) -> [Float] {
    guard let habit else {
      let scale: Float = [4, 4, 60, 0][index % 4]
      return (0..<classes).map { _ in random.number(below: scale) }
    }
    let first = habit == .label ? UInt64(label) : random.next() % UInt64(classes)
    var company = SplitMix64(seed: first)
    var row = (0..<classes).map { _ in company.number(below: 8) + random.number(below: 1) }
    row[Int(first)] += 10
    return row
  }
}

extension SplitMix64 {
  /// A multiple of `limit` / 2^24, from 0 to below `limit`.
  fileprivate mutating func number(below limit: Float) -> Float {
    Float(next() >> 40) / Float(1 << 24) * limit
  }
}

/// How the rest of an input is read; the second byte chooses.
enum Mode: UInt8, CaseIterable {
  /// The stored value after its checksum: length and zstd frame.
  case stored
  /// Canonical bytes.
  case canonical
  /// Canonical bytes after the header, which is put right.
  case afterHeader
  /// Form, width and length (two bytes) of each entry of the directory, then the planes' bytes; the header and
  /// the directory are put right, so that lengths add up.
  case planes
  /// The labels of the sound block's samples.
  case labels
  /// A calibration, with which the sound block's records are written.
  case calibration
}

/// A cache of one block, and a sound content for that block.
final class Subject {
  private let shape: Shape
  private let manifest: Manifest
  private let calibration: Calibration
  private let sound: EncodedBlock
  /// Wraps values; decoding takes a new one each time.
  private let wrapper: BlockProbe
  private static let headerSize = 72
  private static let entrySize = 8
  /// Bytes of an input for each entry.
  private static let fieldSize = 4

  init(_ shape: Shape) throws {
    self.shape = shape
    var manifest = shape.manifest
    calibration = try Subject.learn(shape)
    manifest.calibration = calibration.digest
    self.manifest = manifest
    wrapper = try BlockProbe(manifest)
    sound = try Subject.encode(shape, manifest, calibration)
  }

  private static func encode(
    _ shape: Shape, _ manifest: Manifest, _ calibration: Calibration
  ) throws -> EncodedBlock {
    try BlockEncoder(manifest: manifest, calibration: calibration)
      .pack(shape.measure(view: 0, calibration))
  }

  private static func learn(_ shape: Shape) throws -> Calibration {
    guard shape.learns else { return .plain(shape.manifest.encoding) }
    let measured = try (0..<32).map { try shape.measure(view: $0, forCalibration: true) }
    let calibration = try Calibration.learn(measured, shape.manifest)
    let summary = calibration.summary
    precondition(
      shape.habit.map { summary.hasSuffix($0.rawValue) } ?? summary.contains(", 6 axes ("),
      "learned \(summary)")
    return calibration
  }

  /// What follows the first two bytes of the input that means the sound block.
  func soundInput(_ mode: Mode) -> [UInt8] {
    switch mode {
    case .stored: Array(sound.storedValue.dropFirst(4))
    case .canonical: sound.canonicalBytes
    case .afterHeader: Array(sound.canonicalBytes.dropFirst(Subject.headerSize))
    case .planes:
      entries.flatMap { entry in
        sound.canonicalBytes[entry + 2..<entry + 2 + Subject.fieldSize]
      } + sound.canonicalBytes[(entries.last! + Subject.entrySize)...]
    case .labels: wrapper.packLabels(shape.labels)
    case .calibration: calibration.bytes
    }
  }

  /// Where the entries of the sound block's directory start.
  private var entries: [Int] {
    (0..<Int(sound.canonicalBytes[36])).map { Subject.headerSize + Subject.entrySize * $0 }
  }

  /// Canonical bytes with forms, widths and lengths from the input; the last plane has what is left.
  private func canonicalBytes(ofPlanes input: [UInt8]) -> [UInt8] {
    var bytes = sound.canonicalBytes
    let content = input.dropFirst(Subject.fieldSize * entries.count)
    var rest = content.count
    for (index, entry) in entries.enumerated() {
      let fields = Array(input.dropFirst(Subject.fieldSize * index).prefix(Subject.fieldSize))
      guard fields.count == Subject.fieldSize else { break }
      bytes.replaceSubrange(entry + 2..<entry + 4, with: fields[..<2])
      let wanted = Int(fields[2]) | Int(fields[3]) << 8
      let length = index == entries.count - 1 ? rest : min(rest, wanted)
      rest -= length
      for byte in 0..<4 {
        bytes[entry + 4 + byte] = UInt8(truncatingIfNeeded: length >> (8 * byte))
      }
    }
    return Array(bytes.prefix(entries.last! + Subject.entrySize) + content)
  }

  /// The sound block.
  var soundQuestion: Question {
    Question(value: sound.storedValue, labels: shape.labels, calibration: calibration)
  }

  /// What an input means: a stored value, and what it is decoded with.
  ///
  /// - Returns: `nil` for labels or a calibration that are refused.
  func question(_ input: [UInt8], _ mode: Mode) throws -> Question? {
    var question = soundQuestion
    switch mode {
    case .stored: question.value = BlockProbe.withChecksum(input)
    case .canonical: question.value = try value(ofCanonical: input)
    case .afterHeader:
      question.value = try value(
        ofCanonical: sound.canonicalBytes.prefix(Subject.headerSize) + input)
    case .planes: question.value = try value(ofCanonical: canonicalBytes(ofPlanes: input))
    case .labels:
      let read = try unlessCorrupt { try wrapper.unpackLabels(input, samples: shape.rows) }
      guard let read else { return nil }
      // Lists of places have forms to choose from; `verify` wants the smallest.
      precondition(
        read.places != nil || wrapper.packLabels(read) == input,
        "labels are not stored in one way")
      question.labels = read
    case .calibration:
      let read = try unlessCorrupt { try Calibration(input, manifest.encoding) }
      guard let read else { return nil }
      precondition(read.bytes == input, "a calibration is not stored in one way")
      question.calibration = read
      question.value = try Subject.encode(shape, manifest, read).storedValue
    }
    return question
  }

  /// The stored value of a block with these canonical bytes.
  func value(ofCanonical bytes: [UInt8]) throws -> [UInt8] {
    try wrapper.storedValue(ofCanonical: bytes)
  }

  /// Decodes a value; `nil` when it is refused, which must be with the right kind of error.
  ///
  /// In memory of its own: in buffers that a longer block has left, the address sanitizer would not
  /// see a read past the end.
  func decode(
    _ question: Question
  ) throws -> (content: BlockProbe.Content, batch: TeacherBatch)? {
    var batch = TeacherBatch(
      classes: manifest.encoding.classes, k: manifest.encoding.k,
      tailTemperatures: manifest.encoding.tailTemperatures.map { Float($0.value) }, count: 0,
      featureNorms: manifest.encoding.featureWidth != nil, axes: question.calibration.axes?.count,
      ranking: manifest.encoding.ranking != nil)
    let content = try unlessCorrupt {
      try BlockProbe(manifest, question.calibration).decode(
        question.value, as: shape.key, labels: question.labels, into: &batch)
    }
    return content.map { ($0, batch) }
  }

  /// `nil` when a value is refused as damaged; no other refusal is right.
  private func unlessCorrupt<Result>(_ read: () throws -> Result) throws -> Result? {
    do {
      return try read()
    } catch let problem as Problem {
      precondition(problem.kind == .corrupt, "refused as \(problem.kind): \(problem)")
      return nil
    }
  }
}

/// A stored value, and what it is decoded with.
struct Question {
  var value: [UInt8]
  var labels: BlockLabels
  var calibration: Calibration
}
