import Basics
internal import CFreeType

/// A drawn character: how much of each pixel of its box the ink covers.
public struct Glyph: Sendable {
  /// Rows of the box that the ink just fits in.
  public let height: Int
  /// Pixels in a row.
  public let width: Int
  /// [height, width], row after row from the top: 0 no ink, 255 all ink.
  public let coverage: [UInt8]
}

/// A face of a font file that draws characters in one size.
///
/// Outlines only, without hinting, in 256 greys: neither a screen nor a locale nor a font's own
/// bitmaps play a part, so the same file and the same FreeType give the same bytes everywhere.
/// Not thread-safe.
public final class Font {
  /// The file that it was read from.
  public let path: String
  /// Which face of the file, from 0.
  public let face: Int
  /// SHA-256 of the file.
  public let digest: Digest

  private let bytes: FontBytes
  private let library: Library
  private let handle: FT_Face

  /// FreeType's version, "2.12.1".
  public static func version() throws -> String { try Library().version }

  /// Reads a font file; FreeType knows TrueType, OpenType, collections of these and others.
  ///
  /// - Parameters:
  ///   - face: which face of a collection, from 0.
  ///   - pixelsPerEm: the height and width of the em square in pixels, 1...65535.
  /// - Throws: `Problem`: `.noInput` when the file cannot be read, `.corrupt` when it is no font, has
  ///   no such face, or its outlines cannot be drawn in any size or found by Unicode character.
  public init(contentsOf path: String, face: Int, pixelsPerEm: Int) throws {
    precondition((1...65535).contains(pixelsPerEm), "an em of \(pixelsPerEm) pixels")
    self.path = path
    self.face = face
    let file = try Files.read(path)
    digest = Digest(of: file)
    bytes = FontBytes(file)
    library = try Library()
    var opened: FT_Face?
    try check(
      FT_New_Memory_Face(library.handle, bytes.base, bytes.count, face, &opened),
      "cannot open face \(face) of \(path)")
    handle = opened!
    try check(
      FT_Select_Charmap(handle, FT_ENCODING_UNICODE),
      "cannot find characters in face \(face) of \(path)")
    try check(
      FT_Set_Pixel_Sizes(handle, 0, FT_UInt(pixelsPerEm)),
      "cannot draw face \(face) of \(path) with \(pixelsPerEm) pixels")
  }

  deinit { FT_Done_Face(handle) }

  /// Draws a character; `nil` when the font has none or it leaves no ink.
  ///
  /// - Throws: `Problem(.corrupt)` when the font's outline is damaged.
  public func draw(_ character: Unicode.Scalar) throws -> Glyph? {
    let index = FT_Get_Char_Index(handle, FT_ULong(character.value))
    guard index != 0 else { return nil }
    let flags = FT_LOAD_RENDER | FT_LOAD_NO_HINTING | FT_LOAD_NO_BITMAP
    try check(
      FT_Load_Glyph(handle, index, FT_Int32(flags)),
      "cannot draw '\(character)' with face \(face) of \(path)")
    let bitmap = handle.pointee.glyph.pointee.bitmap
    let (height, width, pitch) = (Int(bitmap.rows), Int(bitmap.width), Int(bitmap.pitch))
    guard height > 0, width > 0, let rows = bitmap.buffer else { return nil }
    precondition(
      Int(bitmap.pixel_mode) == Int(FT_PIXEL_MODE_GRAY.rawValue) && pitch >= width,
      "a bitmap of mode \(bitmap.pixel_mode), width \(width) and pitch \(pitch)")
    var coverage: [UInt8] = []
    coverage.reserveCapacity(height * width)
    for row in 0..<height {
      coverage += UnsafeBufferPointer(start: rows + row * pitch, count: width)
    }
    guard coverage.contains(where: { $0 > 0 }) else { return nil }
    return Glyph(height: height, width: width, coverage: coverage)
  }
}

/// A font file at one place in memory, where FreeType reads it for as long as the face lives.
private final class FontBytes {
  let base: UnsafeMutablePointer<UInt8>
  let count: Int

  init(_ bytes: [UInt8]) {
    count = bytes.count
    base = .allocate(capacity: max(1, count))
    bytes.withUnsafeBufferPointer { source in
      if let start = source.baseAddress { base.initialize(from: start, count: count) }
    }
  }

  deinit { base.deallocate() }
}

/// An instance of FreeType.
private final class Library {
  let handle: FT_Library

  init() throws {
    var made: FT_Library?
    try check(FT_Init_FreeType(&made), "cannot start FreeType")
    handle = made!
  }

  deinit { FT_Done_FreeType(handle) }

  var version: String {
    var (major, minor, patch): (FT_Int, FT_Int, FT_Int) = (0, 0, 0)
    FT_Library_Version(handle, &major, &minor, &patch)
    return "\(major).\(minor).\(patch)"
  }
}

/// Checks the result of a FreeType call; `doing` says what could not be done.
private func check(_ code: FT_Error, _ doing: @autoclosure () -> String) throws {
  guard code != 0 else { return }
  let words = FT_Error_String(code).map { String(cString: $0) + ", " } ?? ""
  throw Problem(.corrupt, "\(doing()): \(words)FreeType code \(code)")
}
