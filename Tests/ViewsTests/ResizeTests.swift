import Basics
import DataSets
import Foundation
import TestSupport
import Testing
import Views

/// The resize of docs/VIEWS.md with real numbers and no rounding in between.
private func plainResize(
  _ picture: [UInt8], _ size: ImageSize, _ part: Rectangle, to target: ImageSize
) -> [Double] {
  func weights(_ old: Int, _ new: Int) -> [[Double]] {
    let scale = Double(old) / Double(new)
    return (0..<new).map { place in
      let raw = (0..<old).map { x in
        max(0, 1 - abs(Double(x) + 0.5 - (Double(place) + 0.5) * scale) / max(1, scale))
      }
      let sum = raw.reduce(0, +)
      return raw.map { $0 / sum }
    }
  }
  let (rows, columns) = (weights(part.height, target.height), weights(part.width, target.width))
  var result: [Double] = []
  for y in 0..<target.height {
    for x in 0..<target.width {
      for channel in 0..<size.channels {
        var sum = 0.0
        for (j, row) in rows[y].enumerated() where row > 0 {
          for (i, column) in columns[x].enumerated() where column > 0 {
            let place = (part.top + j) * size.width + part.left + i
            sum += row * column * Double(picture[place * size.channels + channel])
          }
        }
        result.append(sum)
      }
    }
  }
  return result
}

private func resized(
  _ picture: [UInt8], _ size: ImageSize, _ part: Rectangle? = nil, to target: ImageSize
) -> [UInt8] {
  var resizer = Resizer()
  var image = [UInt8](repeating: 1, count: target.elementCount)
  let whole = Rectangle(top: 0, left: 0, height: size.height, width: size.width)
  resizer.resize(picture, size, part ?? whole, to: target, into: &image)
  return image
}

private func crop(
  _ area: ClosedRange<Double> = 0.08...1, _ ratio: ClosedRange<Double> = 0.75...4.0 / 3
) throws -> Views.Operation.ResizedCrop {
  let text =
    "[\(area.lowerBound), \(area.upperBound)], ratio: [\(ratio.lowerBound), \(ratio.upperBound)]"
  return try #require(
    try recipe("{version: 1, operations: [{op: resized-crop, area: \(text)}]}")
      .operations[0].resizedCrop)
}

private func draws(_ sample: Int) -> Draws { Draws(seed: 5, sample: sample, view: 0, operation: 0) }

@Suite struct ResizeTests {
  @Test(arguments: 0..<60 as Range<UInt64>)
  func `resizing is within one level of the same in real numbers`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    func side(_ most: Int) -> Int { Int.random(in: 1...most, using: &random) }
    let channels = [1, 3, 2][Int(seed) % 3]
    let size = ImageSize(height: side(90), width: side(90), channels: channels)
    let target = ImageSize(height: side(40), width: side(40), channels: channels)
    let (height, width) = (side(size.height), side(size.width))
    let part = Rectangle(
      top: Int.random(in: 0...size.height - height, using: &random),
      left: Int.random(in: 0...size.width - width, using: &random), height: height, width: width)
    // The hardest picture: nothing but black and white.
    let picture = (0..<size.elementCount).map { _ in
      Bool.random(using: &random) ? 255 : 0 as UInt8
    }
    let image = resized(picture, size, part, to: target)
    for (value, wanted) in zip(image, plainResize(picture, size, part, to: target)) {
      #expect(abs(Double(value) - wanted) <= 1.05, "seed \(seed): \(part) of \(size) to \(target)")
    }
  }

  @Test(arguments: [1, 2, 7, 30])
  func `a picture of the right size stays, a part is cut out`(side: Int) throws {
    let size = ImageSize(height: side, width: side + 1, channels: 3)
    let images = try testImages(side, side + 1, 3, count: 1)
    var picture = Picture()
    try images.readPicture(of: 0, into: &picture)
    #expect(resized(picture.pixels, size, to: size) == picture.pixels)
    let part = Rectangle(
      top: side / 3, left: side / 2, height: (side + 1) / 2, width: (side + 1) / 2)
    let cut = (0..<part.height).flatMap { y in
      let start = ((part.top + y) * (side + 1) + part.left) * 3
      return picture.pixels[start..<start + part.width * 3]
    }
    let target = ImageSize(height: part.height, width: part.width, channels: 3)
    #expect(resized(picture.pixels, size, part, to: target) == Array(cut))
  }

  @Test(arguments: [0, 1, 127, 254, 255] as [UInt8])
  func `flat pictures stay flat in any size`(value: UInt8) {
    for (old, new) in [(1, 9), (9, 1), (500, 224), (1000, 3), (7, 8), (4097, 4096)] {
      let size = ImageSize(height: old, width: 3, channels: 1)
      let target = ImageSize(height: new, width: 5, channels: 1)
      let flat = [UInt8](repeating: value, count: size.elementCount)
      #expect(resized(flat, size, to: target).allSatisfy { $0 == value }, "\(old) to \(new)")
    }
  }

  @Test(arguments: [(1, 1), (1, 4096), (4096, 1), (65_500, 1), (65_500, 4096), (3, 2), (375, 224)])
  func `weights add up to one, are even-handed and reach as far as they should`(
    old: Int, new: Int
  ) {
    var weights = ResizeWeights()
    weights.fill(from: old, to: new)
    #expect(weights.count == new)
    let most = 2 * max(1, Double(old) / Double(new)) + 1
    for place in 0..<new {
      let taps = weights.taps(of: place)
      #expect(weights.weights[taps].reduce(0, +) == 65536)
      #expect(taps.count >= 1 && Double(taps.count) <= most)
      #expect(weights.first[place] >= 0 && weights.first[place] + taps.count <= old)
      let mirror = weights.taps(of: new - 1 - place)
      for (a, b) in zip(weights.weights[taps], weights.weights[mirror].reversed()) {
        #expect(a.distance(to: b).magnitude <= 1, "place \(place)")
      }
    }
  }

  @Test(arguments: 0..<40 as Range<UInt64>)
  func `random parts lie inside the picture and within their limits`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let size = ImageSize(
      height: Int.random(in: 1...600, using: &random),
      width: Int.random(in: 1...600, using: &random), channels: 1)
    let limits = try crop()
    for sample in 0..<50 {
      var draws = draws(sample)
      let part = Rectangle(limits, size, &draws)
      #expect(part.height >= 1 && part.width >= 1 && part.top >= 0 && part.left >= 0)
      #expect(part.top + part.height <= size.height && part.left + part.width <= size.width)
      // Half a pixel of rounding on either side.
      let (h, w) = (Double(part.height), Double(part.width))
      #expect((w - 0.51) / (h + 0.51) <= 4.0 / 3 + 1e-3, "seed \(seed): \(part) of \(size)")
      #expect((w + 0.51) / (h - 0.51) >= 0.75 - 1e-3 || h == 1, "seed \(seed): \(part) of \(size)")
    }
  }

  @Test func `random parts are spread as area, logarithm of the ratio and place say`() throws {
    let size = ImageSize(height: 400, width: 400, channels: 1)
    let limits = try crop(0.1...0.3, 0.5...2)
    var (areas, logarithms, centres) = ([Double](), [Double](), [Double]())
    for sample in 0..<4000 {
      var draws = draws(sample)
      let part = Rectangle(limits, size, &draws)
      areas.append(Double(part.height * part.width) / 160_000)
      logarithms.append(log2(Double(part.width) / Double(part.height)))
      centres.append(Double(part.left) / Double(size.width - part.width))
    }
    // Six standard errors of a mean of uniform numbers of width w: 6 w / sqrt(12 n).
    for (values, middle, width) in [(areas, 0.2, 0.2), (logarithms, 0, 2), (centres, 0.5, 1)] {
      let mean = values.reduce(0, +) / 4000
      let spread = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 4000
      #expect(abs(mean - middle) < 6 * width / 219)
      #expect(abs(spread - width * width / 12) < 0.1 * width * width / 12)
    }
  }

  @Test func `a picture that no part fits into gives its middle`() throws {
    let limits = try crop(0.9...1)
    for (height, width, wanted) in [
      (10, 100, Rectangle(top: 0, left: 43, height: 10, width: 13)),
      (100, 10, Rectangle(top: 43, left: 0, height: 13, width: 10)),
      (1, 1, Rectangle(top: 0, left: 0, height: 1, width: 1)),
    ] {
      var draws = draws(1)
      let size = ImageSize(height: height, width: width, channels: 1)
      #expect(Rectangle(limits, size, &draws) == wanted)
    }
  }

  @Test func `without a crop the largest middle part of the view's proportions is taken`() {
    for (height, width, target, wanted) in [
      (375, 500, (224, 224), Rectangle(top: 0, left: 62, height: 375, width: 375)),
      (500, 375, (224, 224), Rectangle(top: 62, left: 0, height: 375, width: 375)),
      (100, 100, (10, 20), Rectangle(top: 25, left: 0, height: 50, width: 100)),
      (3, 4096, (1, 4096), Rectangle(top: 1, left: 0, height: 1, width: 4096)),
      (9, 1, (1, 9), Rectangle(top: 4, left: 0, height: 1, width: 1)),
    ] {
      let size = ImageSize(height: height, width: width, channels: 1)
      let view = ImageSize(height: target.0, width: target.1, channels: 1)
      #expect(Rectangle(centredIn: size, proportionsOf: view) == wanted)
    }
  }

  @Test func `logarithms and powers are those of real numbers`() {
    for value in [1, 2, 8192, 49152, 65535, 65536, 87381, 131_072, 524_288, 1 << 26, 1 << 31] {
      let wanted = log2(Double(value) / 65536) * 65536
      #expect(abs(Double(binaryLogarithm(value)) - wanted) <= 2, "\(value)")
    }
    for exponent in stride(from: -196_608, through: 196_608, by: 977) {
      let wanted = exp2(Double(exponent) / 65536) * 65536
      #expect(abs(Double(binaryPower(exponent)) - wanted) <= 0.51 + wanted * 1e-8, "\(exponent)")
    }
    #expect(binaryPower(0) == 65536 && binaryPower(-65536) == 32768)
    #expect(binaryLogarithm(65536) == 0 && binaryLogarithm(32768) == -65536)
  }

  @Test func `a crop comes first or not at all`() throws {
    let problem = try #require(throws: Problem.self) {
      try recipe("{version: 1, operations: [{op: flip}, {op: resized-crop}]}")
    }
    #expect(problem.message.contains("operations[1] crops the picture"), "\(problem)")
  }
}
