import Basics
internal import CJPEG

/// What decodes JPEG files, and how: "libjpeg-turbo 2.1.5, islow, fancy upsampling".
///
/// The version is that of the headers that the program was built with; the library does not tell its
/// own.
public var jpegDecoder: String {
  let version = Int(LIBJPEG_TURBO_VERSION_NUMBER)
  return "libjpeg-turbo \(version / 1_000_000).\(version / 1000 % 1000).\(version % 1000), "
    + "islow, fancy upsampling"
}

/// Decodes a JPEG file as 8-bit grey or RGB, rows from the top, channels together (HWC).
///
/// Orientation tags and colour profiles do not count. Four inks become RGB by `red = (cyan * black +
/// 127) / 255`, values as Adobe's programs store them: 255 is no ink.
/// - Parameters:
///   - maximumPixels: a larger picture is refused before anything is allocated for it.
///   - pixels: replaced; its memory is used again.
///   - source: the path, for errors.
/// - Throws: `Problem(.corrupt)` with libjpeg's words, also where it would only warn that data is
///   missing or damaged.
public func decodeJPEG(
  _ file: [UInt8], maximumPixels: Int, into pixels: inout [UInt8], source: String
) throws -> (height: Int, width: Int, channels: Int) {
  let reader = jpeg_reader_new()!
  defer { jpeg_reader_free(reader) }
  func refusal() -> Problem {
    Problem(.corrupt, "cannot decode \(source): \(String(cString: jpeg_reader_words(reader)))")
  }
  return try file.withUnsafeBufferPointer { file in
    guard jpeg_reader_open(reader, file.baseAddress, file.count) == 0 else { throw refusal() }
    let (height, width) = (
      Int(reader.pointee.decoder.image_height), Int(reader.pointee.decoder.image_width)
    )
    guard height * width <= maximumPixels else {
      throw Problem(
        .corrupt,
        "\(source) has \(height) x \(width) pixels, at most \(maximumPixels) in all are decoded")
    }
    let (colours, channels) = output(for: reader.pointee.decoder.jpeg_color_space)
    pixels.setCount(height * width * channels, filler: 0)
    let code = pixels.withUnsafeMutableBufferPointer {
      jpeg_reader_read(reader, colours, $0.baseAddress, width * channels)
    }
    guard code == 0 else { throw refusal() }
    guard channels == 4 else { return (height, width, channels) }
    mixInks(&pixels)
    return (height, width, 3)
  }
}

private func output(for stored: J_COLOR_SPACE) -> (J_COLOR_SPACE, channels: Int) {
  switch stored {
  case JCS_GRAYSCALE: (JCS_GRAYSCALE, 1)
  case JCS_CMYK, JCS_YCCK: (JCS_CMYK, 4)
  default: (JCS_RGB, 3)
  }
}

/// Replaces cyan, magenta, yellow and black by red, green and blue.
private func mixInks(_ pixels: inout [UInt8]) {
  let count = pixels.count / 4
  do {
    var bytes = pixels.mutableSpan
    for pixel in 0..<count {
      let black = Int(bytes[4 * pixel + 3])
      for ink in 0..<3 {
        bytes[3 * pixel + ink] = UInt8((Int(bytes[4 * pixel + ink]) * black + 127) / 255)
      }
    }
  }
  pixels.removeLast(count)
}
