import Basics
import Compression

/// An IDX file of unsigned bytes: the format of MNIST and its relatives.
///
/// `0 0 type rank`, then `rank` big-endian 32-bit lengths, then the elements, last axis fastest.
/// Source: yann.lecun.com/exdb/mnist, "The IDX file format".
struct IDXFile {
  var dimensions: [Int]
  var bytes: [UInt8]

  /// Reads a file, plain or packed with gzip.
  ///
  /// - Parameters:
  ///   - ranks: how many axes the caller can use.
  ///   - meaning: what the caller expects in it, for errors: "images".
  init(path: String, ranks: ClosedRange<Int>, meaning: String) throws {
    let file = try Files.read(path)
    let packed = Gzip.isGzip(file)
    let longestHeader = 4 + 4 * ranks.upperBound
    let start =
      packed
      ? try Gzip.prefix(of: file, count: longestHeader, source: path)
      : Array(file.prefix(longestHeader))
    dimensions = try IDXFile.parseHeader(start, path: path, ranks: ranks, meaning: meaning)
    let headerSize = 4 + 4 * dimensions.count
    let size = try IDXFile.size(of: dimensions, path: path)
    let content =
      packed ? try Gzip.unpack(file, count: headerSize + size, source: path) : file
    guard content.count == headerSize + size else {
      throw Problem(
        .corrupt,
        "\(path) has \(counted(content.count, "byte")), but its header (lengths \(dimensions)) asks for "
          + "\(headerSize + size)")
    }
    bytes = Array(content[headerSize...])
  }

  private static func parseHeader(
    _ start: [UInt8], path: String, ranks: ClosedRange<Int>, meaning: String
  ) throws -> [Int] {
    guard start.count >= 4, start[0] == 0, start[1] == 0 else {
      throw Problem(
        .corrupt,
        "\(path) is not an IDX file: it begins with \(hexadecimal(start.prefix(4))), expected "
          + "0000 08 and the number of axes")
    }
    guard start[2] == 8 else {
      throw Problem(
        .corrupt, "\(path) has elements of IDX type \(start[2]); only unsigned bytes (8) are read")
    }
    let rank = Int(start[3])
    guard ranks.contains(rank) else {
      throw Problem(
        .corrupt,
        "\(path) has \(counted(rank, "axis", "axes")), which is not what \(meaning) have (\(ranks.lowerBound)"
          + (ranks.count == 1 ? ")" : " to \(ranks.upperBound))"))
    }
    guard start.count >= 4 + 4 * rank else {
      throw Problem(
        .corrupt, "\(path) is cut off in its header, after \(counted(start.count, "byte"))")
    }
    return (0..<rank).map { axis in
      start[4 + 4 * axis..<8 + 4 * axis].reduce(0) { $0 << 8 | Int($1) }
    }
  }

  private static func size(of dimensions: [Int], path: String) throws -> Int {
    var size = 1
    for length in dimensions {
      let (product, overflow) = size.multipliedReportingOverflow(by: length)
      guard !overflow, product < Int.max / 2 else {
        throw Problem(.corrupt, "\(path) claims the lengths \(dimensions), more than can be held")
      }
      size = product
    }
    return size
  }
}

/// A data set from a pair of IDX files: images [n, h, w] or [n, h, w, c], labels [n].
func readIDXDataSet(
  name: String, imagesPath: String, labelsPath: String, classNames: [String]
) throws -> InMemoryDataSet {
  let images = try IDXFile(path: imagesPath, ranks: 3...4, meaning: "images")
  let labels = try IDXFile(path: labelsPath, ranks: 1...1, meaning: "labels")
  try checkCounts(
    samples: images.dimensions[0], of: imagesPath, labels: labels.bytes.count, of: labelsPath)
  return try InMemoryDataSet(
    name: name, shape: imageShape(images.dimensions), classNames: classNames,
    labels: labels.bytes.map(Int32.init), elements: .pixels(images.bytes))
}

/// The shape of one image of an array [n, h, w] or [n, h, w, c].
func imageShape(_ dimensions: [Int]) -> SampleShape {
  .image(
    height: dimensions[1], width: dimensions[2],
    channels: dimensions.count == 4 ? dimensions[3] : 1)
}

/// Refuses files that do not belong together.
func checkCounts(
  samples: Int, of samplesPath: String, labels: Int, of labelsPath: String
) throws {
  guard samples == labels else {
    throw Problem(
      .corrupt,
      "\(samplesPath) holds \(counted(samples, "sample")), but \(labelsPath) holds "
        + "\(counted(labels, "label")): they do not belong together")
  }
}
