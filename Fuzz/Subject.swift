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
  /// Form and length (two bytes) of each plane, then their bytes; the header and the directory are put
  /// right, so that lengths add up.
  case planes
}

/// A cache of one block, and a sound content for that block.
final class Subject {
  let key = BlockKey(view: 0, block: 0)
  let sound: EncodedBlock
  private let manifest: Manifest
  /// Wraps values; decoding takes a new one each time.
  private let wrapper: BlockProbe
  private static let headerSize = 72
  private static let entrySize = 8

  init(_ shape: Shape) throws {
    manifest = shape.manifest
    wrapper = try BlockProbe(manifest)
    sound = try Subject.encode(shape, manifest)
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
    case .planes:
      entries.flatMap { entry in
        [sound.canonicalBytes[entry + 1]] + sound.canonicalBytes[entry + 4..<entry + 6]
      } + sound.canonicalBytes[(entries.last! + Subject.entrySize)...]
    }
  }

  /// Where the entries of the sound block's directory start.
  private var entries: [Int] {
    (0..<Int(sound.canonicalBytes[36])).map { Subject.headerSize + Subject.entrySize * $0 }
  }

  /// Canonical bytes with forms and lengths from the input; the last plane has what is left.
  private func canonicalBytes(ofPlanes input: [UInt8]) -> [UInt8] {
    var bytes = sound.canonicalBytes
    let content = input.dropFirst(3 * entries.count)
    var rest = content.count
    for (index, entry) in entries.enumerated() where input.count >= 3 * index + 3 {
      bytes[entry + 1] = input[3 * index]
      let wanted = Int(input[3 * index + 1]) | Int(input[3 * index + 2]) << 8
      let length = index == entries.count - 1 ? rest : min(rest, wanted)
      rest -= length
      for byte in 0..<4 {
        bytes[entry + 4 + byte] = UInt8(truncatingIfNeeded: length >> (8 * byte))
      }
    }
    return Array(bytes.prefix(entries.last! + Subject.entrySize) + content)
  }

  /// The stored value that an input means.
  func value(_ input: [UInt8], _ mode: Mode) throws -> [UInt8] {
    switch mode {
    case .stored: BlockProbe.withChecksum(input)
    case .canonical: try value(ofCanonical: input)
    case .afterHeader:
      try value(ofCanonical: sound.canonicalBytes.prefix(Subject.headerSize) + input)
    case .planes: try value(ofCanonical: canonicalBytes(ofPlanes: input))
    }
  }

  /// The stored value of a block with these canonical bytes.
  func value(ofCanonical bytes: [UInt8]) throws -> [UInt8] {
    try wrapper.storedValue(ofCanonical: bytes)
  }

  /// Decodes a value; `nil` when it is refused, which must be with the right kind of error.
  ///
  /// In memory of its own: in buffers that a longer block has left, the address sanitizer would not
  /// see a read past the end.
  func decode(_ value: [UInt8]) throws -> (content: BlockProbe.Content, batch: TeacherBatch)? {
    var batch = TeacherBatch(
      classes: manifest.encoding.classes, k: manifest.encoding.k,
      tailTemperatures: manifest.encoding.tailTemperatures.map { Float($0.value) }, count: 0,
      featureNorms: manifest.encoding.featureWidth != nil)
    do {
      return (try BlockProbe(manifest).decode(value, as: key, into: &batch), batch)
    } catch let problem as Problem {
      precondition(problem.kind == .corrupt, "refused as \(problem.kind): \(problem)")
      return nil
    }
  }
}
