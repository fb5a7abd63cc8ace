import Basics
internal import CPNG

/// What decodes PNG files: "libpng 1.6.39".
public var pngDecoder: String { "libpng \(String(cString: png_get_libpng_ver(nil)))" }

/// Decodes a PNG file as 8-bit grey or RGB, rows from the top, channels together (HWC).
///
/// Fewer bits are stretched to 0...255, of 16 bits the upper eight are taken, palettes become RGB, and
/// alpha is left out. Gamma and colour profiles do not count.
/// - Parameters:
///   - maximumPixels: a larger picture is refused before anything is allocated for it.
///   - pixels: replaced; its memory is used again.
///   - source: the path, for errors.
/// - Throws: `Problem(.corrupt)` with libpng's words.
public func decodePNG(
  _ file: [UInt8], maximumPixels: Int, into pixels: inout [UInt8], source: String
) throws -> (height: Int, width: Int, channels: Int) {
  try file.withUnsafeBufferPointer { file in
    let reader = png_reader_new(file.baseAddress, file.count)!
    defer { png_reader_free(reader) }
    func refusal() -> Problem {
      Problem(.corrupt, "cannot decode \(source): \(String(cString: png_reader_words(reader)))")
    }
    guard png_reader_open(reader) == 0 else { throw refusal() }
    let (decoder, info) = (reader.pointee.decoder, reader.pointee.info)
    let height = Int(png_get_image_height(decoder, info))
    let width = Int(png_get_image_width(decoder, info))
    guard height * width <= maximumPixels else {
      throw Problem(
        .corrupt,
        "\(source) has \(height) x \(width) pixels, at most \(maximumPixels) in all are decoded")
    }
    let hasColour = Int32(png_get_color_type(decoder, info)) & PNG_COLOR_MASK_COLOR != 0
    let channels = hasColour ? 3 : 1
    pixels.setCount(height * width * channels, filler: 0)
    let code = pixels.withUnsafeMutableBufferPointer {
      png_reader_read(reader, $0.baseAddress, width * channels)
    }
    guard code == 0 else { throw refusal() }
    return (height, width, channels)
  }
}
