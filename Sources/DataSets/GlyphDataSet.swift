import Basics
import FreeType

/// Characters drawn from fonts, as a description of `kind: glyphs` asks for them.
///
/// Samples are font after font, in each the characters in their order; the label is the character's
/// place. So two descriptions with the same characters and other fonts have the same classes.
struct GlyphDescription {
  /// A face of a font file.
  struct Face {
    var path: String
    var index: Int
  }

  let path: String
  let name: String
  let characters: [Unicode.Scalar]
  let faces: [Face]
  /// Height and width of a picture in pixels.
  let side: Int
  /// Height and width of the font's em square in pixels.
  let em: Int
  /// Whether characters that a font lacks are left out; otherwise they are an error.
  let skipsMissing: Bool

  /// Reads a document that fits `schemas/dataset.schema.json`; `path` is where it was read from.
  init(_ value: JSONValue, path: String) throws {
    self.path = path
    name = value["name"]!.string!
    characters = try selected(
      characterSet(value["characters"]!, source: path), without: value["without"]?.string ?? "",
      first: value["firstCharacters"]?.integer, source: path)
    faces = value["fonts"]!.array!.map {
      Face(
        path: Files.path($0["file"]!.string!, relativeTo: path), index: $0["face"]?.integer ?? 0)
    }
    side = value["size"]?.integer ?? 48
    em = value["em"]?.integer ?? max(1, side * 5 / 6)
    skipsMissing = value["missing"]?.string == "skip"
  }

  /// Draws everything: dark ink on white, the ink's box in the middle of the picture.
  ///
  /// - Throws: `Problem`: `.noInput` and `.corrupt` for font files, `.configuration` when a font lacks
  ///   characters that may not be skipped.
  func draw() throws -> InMemoryDataSet {
    var (pixels, labels, origins): ([UInt8], [Int32], [JSONValue]) = ([], [], [])
    pixels.reserveCapacity(faces.count * characters.count * side * side)
    for face in faces {
      let font = try Font(contentsOf: face.path, face: face.index, pixelsPerEm: em)
      var missing: [Unicode.Scalar] = []
      for (label, character) in characters.enumerated() {
        guard let glyph = try font.draw(character) else {
          missing.append(character)
          continue
        }
        labels.append(Int32(label))
        append(glyph, to: &pixels)
      }
      guard missing.isEmpty || skipsMissing else { throw lack(of: missing, in: face) }
      origins.append(
        .object(["digest": .string("\(font.digest)"), "face": .integer(face.index)]))
    }
    return try InMemoryDataSet(
      name: name, shape: .image(height: side, width: side, channels: 1),
      classNames: characters.map { String($0) }, labels: labels, elements: .pixels(pixels),
      origin: try origin(fonts: origins))
  }

  /// What the pictures were made by, as canonical JSON; part of the fingerprint.
  private func origin(fonts: [JSONValue]) throws -> String {
    try canonicalJSON(
      .object([
        "em": .integer(em), "fonts": .array(fonts),
        "missing": .string(skipsMissing ? "skip" : "refuse"),
        "renderer": .string("FreeType \(try Font.version()), outlines, no hinting, 256 greys"),
      ]) as JSONValue)
  }

  /// Adds a picture: white, less the ink of a glyph whose box stands in the middle.
  ///
  /// Odd room goes to the right and to the bottom; ink beyond the picture is cut off.
  private func append(_ glyph: Glyph, to pixels: inout [UInt8]) {
    let first = pixels.count
    pixels.append(contentsOf: repeatElement(255, count: side * side))
    // An arithmetic shift rounds down for glyphs larger than the picture too.
    let (top, left) = ((side - glyph.height) >> 1, (side - glyph.width) >> 1)
    for y in max(0, top)..<min(side, top + glyph.height) {
      for x in max(0, left)..<min(side, left + glyph.width) {
        pixels[first + y * side + x] = 255 - glyph.coverage[(y - top) * glyph.width + x - left]
      }
    }
  }

  private func lack(of missing: [Unicode.Scalar], in face: Face) -> Problem {
    let shown = missing.prefix(10).map { String($0) }.joined(separator: ", ")
    return Problem(
      .configuration,
      "\(path): face \(face.index) of \(face.path) lacks \(missing.count) of "
        + "\(characters.count) characters: \(shown)\(missing.count > 10 ? ", ..." : ""); "
        + "leave them out of every font with 'without', or of those that lack them with "
        + "'missing: skip'")
  }
}
