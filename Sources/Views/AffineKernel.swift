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
  var position = 0
  for y in 0..<size.height {
    // Adding 128 here rounds every place of the row to the nearest 256th.
    var placeX = map.startX + map.xy * y + 128
    var placeY = map.startY + map.yy * y + 128
    for _ in 0..<size.width {
      let taps = Taps(placeX, placeY, size)
      for channel in 0..<size.channels {
        destination[unchecked: position] =
          taps.isInside ? taps.inside(source, channel) : taps.onEdge(source, channel, size, fill)
        position &+= 1
      }
      placeX &+= map.xx
      placeY &+= map.yx
    }
  }
}

/// The four pixels around a place, and their weights.
private struct Taps {
  let (column, row): (Int, Int)
  let (right, below): (Int32, Int32)
  let (stepRight, stepDown): (Int, Int)
  let first: Int
  let isInside: Bool

  @inline(__always)
  init(_ placeX: Int, _ placeY: Int, _ size: ImageSize) {
    (column, row) = (placeX >> 16, placeY >> 16)
    right = Int32(truncatingIfNeeded: (placeX >> 8) & 255)
    below = Int32(truncatingIfNeeded: (placeY >> 8) & 255)
    (stepRight, stepDown) = (size.channels, size.rowSize)
    first = row &* size.rowSize &+ column &* size.channels
    isInside =
      UInt(bitPattern: column) < UInt(bitPattern: size.width &- 1)
      && UInt(bitPattern: row) < UInt(bitPattern: size.height &- 1)
  }

  @inline(__always)
  func inside(_ source: Span<UInt8>, _ channel: Int) -> UInt8 {
    let at = first &+ channel
    return blended(
      source[unchecked: at], source[unchecked: at &+ stepRight],
      source[unchecked: at &+ stepDown], source[unchecked: at &+ stepDown &+ stepRight])
  }

  /// Some of the four lie outside.
  func onEdge(_ source: Span<UInt8>, _ channel: Int, _ size: ImageSize, _ fill: UInt8) -> UInt8 {
    func pixel(_ row: Int, _ column: Int) -> UInt8 {
      guard row >= 0, row < size.height, column >= 0, column < size.width else { return fill }
      return source[unchecked: row * size.rowSize + column * size.channels + channel]
    }
    return blended(
      pixel(row, column), pixel(row, column + 1), pixel(row + 1, column),
      pixel(row + 1, column + 1))
  }

  @inline(__always)
  private func blended(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) -> UInt8 {
    let top = Int32(a) &* (256 &- right) &+ Int32(b) &* right
    let bottom = Int32(c) &* (256 &- right) &+ Int32(d) &* right
    return UInt8(truncatingIfNeeded: (top &* (256 &- below) &+ bottom &* below &+ 32768) >> 16)
  }
}
