import Basics
import JPEG
import PNG

/// A decoded picture of a size of its own; make one and use it again and again.
public struct Picture: Sendable {
  /// Rows.
  public internal(set) var height = 0
  /// Pixels in a row.
  public internal(set) var width = 0
  /// Numbers per pixel.
  public internal(set) var channels = 0
  /// [height, width, channels], rows from the top, channels together (HWC).
  public internal(set) var pixels: [UInt8] = []

  /// A picture without pixels.
  public init() {}

  /// Largest number of pixels that is decoded: 192 MiB of RGB, and what keeps crop boxes within 64 bits.
  public static let maximumPixels = 1 << 26
}

/// The formats that pictures are read from, told apart by a file's first bytes.
enum PictureFormat: String, CaseIterable {
  case jpeg
  case png

  /// `nil` when the bytes begin like neither.
  init?(_ file: [UInt8]) {
    if file.starts(with: [0xFF, 0xD8, 0xFF]) {
      self = .jpeg
    } else if file.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
      self = .png
    } else {
      return nil
    }
  }

  /// The library that decodes it, its version and its settings.
  var decoder: String {
    switch self {
    case .jpeg: jpegDecoder
    case .png: pngDecoder
    }
  }
}

extension Picture {
  /// Decodes a file; grey stays one channel, everything else becomes three.
  ///
  /// - Throws: `Problem`: `.noInput` when it cannot be read, `.corrupt` when it cannot be decoded.
  mutating func decode(contentsOf path: String) throws -> PictureFormat {
    let file = try Files.read(path)
    guard let format = PictureFormat(file) else {
      throw Problem(
        .corrupt,
        "\(path) begins like neither JPEG nor PNG: \(hexadecimal(file.prefix(8)))")
    }
    let decode =
      switch format {
      case .jpeg: decodeJPEG
      case .png: decodePNG
      }
    (height, width, channels) = try decode(file, Picture.maximumPixels, &pixels, path)
    return format
  }

  /// SHA-256 over the pixels.
  var digest: Digest { Digest(of: pixels) }

  /// Makes colours grey, by ITU-R BT.601 with weights in 65536ths, or grey three equal channels.
  ///
  /// - Precondition: both have one or three channels.
  mutating func convert(toChannels wanted: Int) {
    let count = height * width
    switch (channels, wanted) {
    case (3, 1):
      do {
        var bytes = pixels.mutableSpan
        for pixel in 0..<count {
          let (red, green) = (Int(bytes[3 * pixel]), Int(bytes[3 * pixel + 1]))
          let sum = 19595 * red + 38470 * green + 7471 * Int(bytes[3 * pixel + 2])
          bytes[pixel] = UInt8((sum + 32768) >> 16)
        }
      }
      pixels.removeLast(2 * count)
    case (1, 3):
      pixels.setCount(3 * count, filler: 0)
      var bytes = pixels.mutableSpan
      for pixel in (0..<count).reversed() {
        let value = bytes[pixel]
        for channel in 0..<3 { bytes[3 * pixel + channel] = value }
      }
    default: precondition(channels == wanted, "\(channels) channels cannot become \(wanted)")
    }
    channels = wanted
  }
}
