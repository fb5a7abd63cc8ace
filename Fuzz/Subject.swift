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

  static let all = [
    Shape(classes: 1, k: 1, rows: 1),
    Shape(classes: 2, k: 1, rows: 3),
    Shape(classes: 4, k: 2, rows: 3),
    Shape(classes: 5, k: 5, rows: 7),
    Shape(classes: 12, k: 5, rows: 8, featureWidth: 2),
    Shape(classes: 10, k: 9, rows: 2, temperatures: [1]),
    Shape(classes: 256, k: 3, rows: 6),
    Shape(classes: 257, k: 4, rows: 5, temperatures: [Temperature(1, over: 4)!, 1000]),
    Shape(classes: 1000, k: 10, rows: 16),
    Shape(classes: 70_000, k: 2, rows: 4, temperatures: [1, 2, 3, 4, 5, 6, 7, 8]),
  ]

  var manifest: Manifest {
    Manifest(
      dataSet: DataSetIdentity(
        name: "fuzz", fingerprint: Digest(of: "fuzz"), samples: rows,
        classNames: (0..<classes).map { "\($0)" }),
      recipe: RecipeIdentity(digest: Digest(of: "none"), content: .object([:])), seed: 1, views: 1,
      teacher: .object([:]),
      encoding: Encoding(
        classes: classes, k: k, temperatures: temperatures, featureWidth: featureWidth,
        blockRows: rows))
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
}

/// A cache of one block, and a sound content for that block.
final class Subject {
  let key = BlockKey(view: 0, block: 0)
  let sound: EncodedBlock
  let probe: BlockProbe
  private(set) var batch: TeacherBatch
  private static let headerSize = 72

  init(_ shape: Shape) throws {
    let manifest = shape.manifest
    probe = try BlockProbe(manifest)
    sound = try Subject.encode(shape, manifest)
    let tails = manifest.encoding.tailTemperatures.map { Float($0.value) }
    batch = TeacherBatch(
      classes: shape.classes, k: shape.k, tailTemperatures: tails, count: 0,
      featureNorms: shape.featureWidth != nil)
  }

  /// Rows of several kinds: spread, sharp, tied; labels inside the head and outside.
  private static func encode(_ shape: Shape, _ manifest: Manifest) throws -> EncodedBlock {
    var random = SplitMix64(seed: UInt64(shape.classes * 31 + shape.k))
    let logits = (0..<shape.rows * shape.classes).map { place in
      let scale: Float = [4, 4, 60, 0][place / shape.classes % 4]
      return Float(random.next() >> 40) / Float(1 << 24) * scale
    }
    let labels = (0..<shape.rows).map { _ in Int32(random.next() % UInt64(shape.classes)) }
    let features = (0..<shape.rows * (shape.featureWidth ?? 0)).map { _ in
      Float(random.next() >> 40) / Float(1 << 22)
    }
    return try BlockEncoder(manifest: manifest).encode(
      logits: logits.span, labels: labels, view: 0, block: 0, firstSample: 0,
      viewDigest: Digest(of: "fuzz"), features: features.span)
  }

  /// What follows the first two bytes of the input that means the sound block.
  func soundInput(_ mode: Mode) -> [UInt8] {
    switch mode {
    case .stored: Array(sound.storedValue.dropFirst(4))
    case .canonical: sound.canonicalBytes
    case .afterHeader: Array(sound.canonicalBytes.dropFirst(Subject.headerSize))
    }
  }

  /// The stored value that an input means.
  func value(_ input: [UInt8], _ mode: Mode) throws -> [UInt8] {
    switch mode {
    case .stored: BlockProbe.withChecksum(input)
    case .canonical: try probe.storedValue(ofCanonical: input)
    case .afterHeader:
      try probe.storedValue(
        ofCanonical: sound.canonicalBytes.prefix(Subject.headerSize) + input)
    }
  }

  /// Decodes a value; `nil` when it is refused, which must be with the right kind of error.
  func decode(_ value: [UInt8]) throws -> BlockProbe.Content? {
    do {
      return try probe.decode(value, as: key, into: &batch)
    } catch let problem as Problem {
      precondition(problem.kind == .corrupt, "refused as \(problem.kind): \(problem)")
      return nil
    }
  }
}
