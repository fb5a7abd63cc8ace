/// An affine map from places in the view to places in the sample, both in 65536ths of a pixel.
///
/// Pixel (x, y) of the view comes from `(startX + xx * x + xy * y, startY + yx * x + yy * y)`.
package struct AffineMap: Hashable, Sendable {
  package var startX: Int
  package var startY: Int
  package var xx: Int
  package var xy: Int
  package var yx: Int
  package var yy: Int

  /// The inverse of: shear along x, scale, rotate, all about the centre, then move.
  ///
  /// - Parameters:
  ///   - angle: in 2^-24 turns, clockwise as seen (y points down).
  ///   - right: the move along x, in 65536ths of a pixel.
  ///   - down: the move along y, in 65536ths of a pixel.
  ///   - scale: in 65536ths.
  ///   - shear: the angle whose tangent is the shear, in 2^-24 turns, at most an eighth of a turn.
  ///   - size: of the image.
  package init(angle: Int, right: Int, down: Int, scale: Int, shear: Int, size: ImageSize) {
    let (sine30, cosine30) = sineAndCosine(turns: angle << 8)
    let (sine, cosine) = ((sine30 + 8192) >> 14, (cosine30 + 8192) >> 14)
    let tangent = tangent(turns: shear << 8)
    let inverse = ((1 << 32) + scale / 2) / scale
    xx = product(inverse, cosine + product(tangent, sine))
    xy = product(inverse, sine - product(tangent, cosine))
    yx = product(inverse, -sine)
    yy = product(inverse, cosine)
    let (centerX, centerY) = ((size.width - 1) << 15, (size.height - 1) << 15)
    startX = centerX + ((xx * (-centerX - right) + xy * (-centerY - down) + 32768) >> 16)
    startY = centerY + ((yx * (-centerX - right) + yy * (-centerY - down) + 32768) >> 16)
  }
}

/// The product of two numbers in 65536ths, rounded to the nearest, halves up.
private func product(_ left: Int, _ right: Int) -> Int { (left * right + 32768) >> 16 }

/// The tangent of at most an eighth of a turn, in 65536ths; odd in its angle.
private func tangent(turns: Int) -> Int {
  let (sine, cosine) = sineAndCosine(turns: abs(turns))
  let tangent = ((sine << 16) + cosine / 2) / cosine
  return turns < 0 ? -tangent : tangent
}

/// Samples an image through a map, bilinearly, with `fill` outside.
///
/// Places are rounded to 256ths of a pixel, the four neighbours' weights are products of 256ths,
/// and their sum is rounded to the nearest, halves up.
package func warp(
  _ source: [UInt8], _ size: ImageSize, _ map: AffineMap, fill: UInt8,
  into destination: inout [UInt8]
) {
  check(source, destination, size)
  let source = source.span
  var destination = destination.mutableSpan
  for y in 0..<size.height {
    let row = Row(map, y, size)
    let inside = row.inside
    for x in 0..<inside.lowerBound { row.sampleEdge(source, x, fill, into: &destination) }
    // A channel count known to the compiler unrolls the loop over channels.
    switch size.channels {
    case 1: row.sample(source, inside, channels: 1, into: &destination)
    case 3: row.sample(source, inside, channels: 3, into: &destination)
    default: row.sample(source, inside, channels: size.channels, into: &destination)
    }
    for x in inside.upperBound..<size.width {
      row.sampleEdge(source, x, fill, into: &destination)
    }
  }
}

/// A row of the view, and the places in the sample that its pixels come from.
private struct Row {
  let size: ImageSize
  /// The place of pixel 0 and the step to the next, in 65536ths of a pixel.
  let (startX, startY, stepX, stepY): (Int, Int, Int, Int)
  /// Where the row begins in the view's bytes.
  let first: Int

  init(_ map: AffineMap, _ y: Int, _ size: ImageSize) {
    self.size = size
    // Adding 128 here rounds every place of the row to the nearest 256th.
    (startX, startY) = (map.startX + map.xy * y + 128, map.startY + map.yy * y + 128)
    (stepX, stepY) = (map.xx, map.yx)
    first = y * size.rowSize
  }

  /// The pixels whose four neighbours all lie in the sample: an interval, as places lie on a line.
  var inside: Range<Int> {
    var begin = 0
    while begin < size.width, !isInside(begin) { begin += 1 }
    var end = size.width
    while end > begin, !isInside(end - 1) { end -= 1 }
    return begin..<end
  }

  @inline(__always)
  private func isInside(_ x: Int) -> Bool {
    let (column, row) = ((startX &+ stepX &* x) >> 16, (startY &+ stepY &* x) >> 16)
    return column >= 0 && column < size.width &- 1 && row >= 0 && row < size.height &- 1
  }

  /// Samples pixels that are inside.
  @inline(__always)
  func sample(
    _ source: Span<UInt8>, _ pixels: Range<Int>, channels: Int,
    into destination: inout MutableSpan<UInt8>
  ) {
    let below = size.width &* channels
    var placeX = startX &+ stepX &* pixels.lowerBound
    var placeY = startY &+ stepY &* pixels.lowerBound
    var position = first &+ pixels.lowerBound &* channels
    for _ in pixels {
      let corner = (placeY >> 16) &* below &+ (placeX >> 16) &* channels
      for channel in 0..<channels {
        let tap = corner &+ channel
        destination[unchecked: position] = blended(
          source[unchecked: tap], source[unchecked: tap &+ channels],
          source[unchecked: tap &+ below], source[unchecked: tap &+ below &+ channels],
          placeX, placeY)
        position &+= 1
      }
      placeX &+= stepX
      placeY &+= stepY
    }
  }

  /// Samples a pixel of whose neighbours some lie outside.
  func sampleEdge(
    _ source: Span<UInt8>, _ x: Int, _ fill: UInt8, into destination: inout MutableSpan<UInt8>
  ) {
    let (placeX, placeY) = (startX &+ stepX &* x, startY &+ stepY &* x)
    let (column, row) = (placeX >> 16, placeY >> 16)
    for channel in 0..<size.channels {
      func pixel(_ row: Int, _ column: Int) -> UInt8 {
        guard row >= 0, row < size.height, column >= 0, column < size.width else { return fill }
        return source[unchecked: row &* size.rowSize &+ column &* size.channels &+ channel]
      }
      destination[unchecked: first + x * size.channels + channel] = blended(
        pixel(row, column), pixel(row, column + 1), pixel(row + 1, column),
        pixel(row + 1, column + 1), placeX, placeY)
    }
  }
}

/// Blends top left, top right, bottom left and bottom right by a place's 256ths.
@inline(__always)
private func blended(
  _ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, _ placeX: Int, _ placeY: Int
) -> UInt8 {
  let right = Int32(truncatingIfNeeded: (placeX >> 8) & 255)
  let below = Int32(truncatingIfNeeded: (placeY >> 8) & 255)
  // a * (256 - right) + b * right, with one multiplication; likewise below.
  let top = Int32(a) << 8 &+ (Int32(b) &- Int32(a)) &* right
  let bottom = Int32(c) << 8 &+ (Int32(d) &- Int32(c)) &* right
  return UInt8(truncatingIfNeeded: (top << 8 &+ (bottom &- top) &* below &+ 32768) >> 16)
}
