import Basics
import LogitCache
import Losses
import Testing

/// Hand-made zstd frames (RFC 8878).
let zstdMagic: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD]

/// A frame whose header claims a content size, in eight bytes and as a single segment.
func zstdFrame(claiming size: Int, blocks: [[UInt8]]) -> [UInt8] {
  zstdMagic + [0b1110_0000] + littleEndian(size, bytes: 8) + blocks.flatMap { $0 }
}

/// A block that holds bytes as they are.
func rawBlock(_ bytes: [UInt8], isLast: Bool = true) -> [UInt8] {
  littleEndian(bytes.count << 3 | (isLast ? 1 : 0), bytes: 3) + bytes
}

/// A block that stands for one byte, `count` times.
func repeatBlock(_ byte: UInt8, count: Int, isLast: Bool = true) -> [UInt8] {
  littleEndian(count << 3 | 1 << 1 | (isLast ? 1 : 0), bytes: 3) + [byte]
}

/// The lowest bytes of an integer, low ones first.
func littleEndian(_ value: Int, bytes: Int) -> [UInt8] {
  (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}

/// Integers of `width` bits, low bits first; the last byte is filled with `fill` bits.
func packBits(_ values: [Int], width: Int, fill: Int = 0) -> [UInt8] {
  var bits = values.flatMap { value in (0..<width).map { value >> $0 & 1 } }
  while bits.count % 8 != 0 { bits.append(fill) }
  return stride(from: 0, to: bits.count, by: 8).map { start in
    (0..<8).reduce(0) { $0 | UInt8(bits[start + $1]) << UInt8($1) }
  }
}

/// A plane of a block, or one group of it.
struct PlanePart: Equatable {
  var form: UInt8
  var width: UInt8 = 0
  var bytes: [UInt8]

  /// Integers in form 16.
  static func plain(_ values: [Int], width: Int = 32) -> PlanePart {
    PlanePart(form: 16, width: UInt8(width), bytes: packBits(values, width: width))
  }

  /// Integers in form 0, by the definition of its buckets.
  static func buckets(_ values: [Int]) -> PlanePart {
    var (names, rest): ([UInt8], [Int]) = ([], [])
    for value in values {
      let name = (0..<128).last { start(ofBucket: $0) <= value }!
      names.append(UInt8(name))
      let more = value - start(ofBucket: name)
      if name >= 16 { rest += (0..<name / 4 - 2).map { more >> $0 & 1 } }
    }
    return PlanePart(form: 0, bytes: names + packBits(rest, width: 1))
  }

  private static func start(ofBucket name: Int) -> Int {
    name < 16 ? name : (4 + name % 4) << (name / 4 - 2)
  }

  /// Integers in form 1, 2 or 4.
  static func codes(_ values: [Int], bits: Int) -> PlanePart {
    let escape = 1 << bits - 1
    let escapes = values.filter { $0 >= escape }.map { $0 - escape }
    return PlanePart(
      form: UInt8(bits),
      bytes: packBits(values.map { min($0, escape) }, width: bits) + buckets(escapes).bytes)
  }

  /// Puts a smallest integer before the others.
  func from(smallest: Int) -> PlanePart {
    PlanePart(form: form, width: width, bytes: littleEndian(smallest, bytes: 4) + bytes)
  }
}

/// Canonical bytes taken apart; put together again, every length is right (docs/FORMAT.md, "Block").
struct BlockParts {
  var header: [UInt8]
  /// Plane and group of each entry of the directory.
  let places: [[UInt8]]
  var parts: [PlanePart] = []

  init(_ canonical: [UInt8]) {
    header = Array(canonical[..<72])
    let entries = (0..<Int(canonical[36])).map { Array(canonical[72 + 8 * $0..<80 + 8 * $0]) }
    places = entries.map { Array($0[..<2]) }
    var start = 72 + 8 * entries.count
    for entry in entries {
      let length = entry[4...].reversed().reduce(0) { $0 << 8 | Int($1) }
      parts.append(
        PlanePart(
          form: entry[2], width: entry[3], bytes: Array(canonical[start..<start + length])))
      start += length
    }
  }

  var canonical: [UInt8] {
    let directory = zip(places, parts).flatMap { place, part in
      place + [part.form, part.width] + littleEndian(part.bytes.count, bytes: 4)
    }
    return header + directory + parts.flatMap(\.bytes)
  }

  /// The same block with another plane.
  func with(_ plane: UInt8, group: UInt8 = 0, _ part: PlanePart) -> BlockParts {
    var changed = self
    changed.parts[places.firstIndex(of: [plane, group])!] = part
    return changed
  }
}

/// A calibration, sound or not, as table `meta` has it (docs/FORMAT.md, "Calibration").
struct CalibrationParts {
  var magic = Array("LGCC".utf8)
  var version = 1
  var key = 0
  var prefix: [Int] = []
  var keys: [Int] = []
  var lists: [[Int]] = []
  /// What no temperature at all, and so no coefficient, differs from by default: nothing learned.
  var coefficients: [[Int]] = [[0, 0, 0], [0, 0, 0, 4096], [0, 0, 0, 0, 4096]]
  /// The numbers that the header gives, when they are not those of the lists.
  var temperatures: Int?
  var counts: [Int]?
  var fill = 0

  /// The stored form with ids of `width` bits.
  func bytes(width: Int) -> [UInt8] {
    let counts = counts ?? [prefix.count, lists.first?.count ?? 0, keys.count]
    let header =
      magic + littleEndian(version, bytes: 2)
      + [UInt8(key), UInt8(temperatures ?? coefficients.count)]
    return header + counts.flatMap { littleEndian($0, bytes: 4) }
      + packBits(prefix + keys + lists.joined(), width: width, fill: fill)
      + coefficients.joined().flatMap { littleEndian($0, bytes: 4) }
  }

  /// One of 12 classes for each kind of key, with lists of three classes.
  static func learned(key: Int) -> CalibrationParts {
    guard key > 0 else { return CalibrationParts(prefix: [7, 3, 11]) }
    return CalibrationParts(
      key: key, prefix: [7, 3, 11, 0], keys: [0, 2, 5, 6, 9, 11],
      lists: [[0, 4, 7], [2, 11, 3], [1, 8, 5], [6, 9, 10], [9, 2, 0], [3, 11, 1]],
      coefficients: [[12, -300, 70], [-5, 20, 9, 4000], [3, 0, -2, 100, 3800]])
  }
}

/// The first block of a job, and what readers say of others in its place.
struct SoundBlock {
  private static let key = BlockKey(view: 0, block: 0)
  private let job: Job
  private let probe: BlockProbe
  let encoded: EncodedBlock

  init(_ job: Job) throws {
    self.job = job
    probe = try BlockProbe(job.manifest, job.calibration)
    encoded = try job.encode(Self.key, with: job.encoder())
  }

  var parts: BlockParts { BlockParts(encoded.canonicalBytes) }

  /// Reads a stored value, or the sound one.
  func decode(_ value: [UInt8]? = nil) throws -> (content: BlockProbe.Content, batch: TeacherBatch)
  {
    let encoding = job.manifest.encoding
    var batch = TeacherBatch(
      classes: encoding.classes, k: encoding.k,
      tailTemperatures: encoding.tailTemperatures.map { Float($0.value) }, count: 0,
      featureNorms: encoding.featureWidth != nil)
    let labels = job.blockLabels(Self.key)
    let content = try probe.decode(
      value ?? encoded.storedValue, as: Self.key, labels: labels, into: &batch)
    return (content, batch)
  }

  func decode(canonical: [UInt8]) throws -> (content: BlockProbe.Content, batch: TeacherBatch) {
    try decode(try probe.storedValue(ofCanonical: canonical))
  }

  func expectRefusal(
    _ value: [UInt8], _ texts: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) {
    expectCorrupt(
      [problem { _ = try decode(value) }], ["\(Self.key) is damaged: "] + texts,
      sourceLocation: sourceLocation)
  }

  func expectRefusal(
    canonical: [UInt8], _ texts: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) {
    expectCorrupt(
      [problem { _ = try decode(canonical: canonical) }], ["\(Self.key) is damaged: "] + texts,
      sourceLocation: sourceLocation)
  }
}
