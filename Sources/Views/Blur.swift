/// How a box weighs the neighbours of a pixel along a line, in 65536ths that sum to 65536.
package struct BoxWeights: Hashable, Sendable {
  /// Neighbours on each side that lie in the box as a whole; the next one lies in it in part.
  package let reach: Int
  /// The weight of the pixel itself.
  package let centre: UInt32
  /// The weight of each neighbour that lies in the box as a whole.
  package let inner: UInt32
  /// The weight of the neighbour beyond these, on each side.
  package let outer: UInt32

  /// Largest radius, in pixels.
  package static let largestRadius = 8

  /// A box from `radius` before a pixel's centre half to `radius` after it: 2 radius + 1 pixels wide.
  ///
  /// - Parameter radius: in 65536ths of a pixel.
  package init(radius: Int) {
    precondition(
      (0...BoxWeights.largestRadius << 16).contains(radius), "a radius of \(radius) / 65536 pixels")
    let width = 2 * radius + 65536
    let weight = ((1 << 32) + width / 2) / width
    let part = ((radius & 65535) * weight + 32768) >> 16
    reach = radius >> 16
    inner = UInt32(weight)
    outer = UInt32(part)
    // What rounding lost or won: at most nine 65536ths, and the weight is at least 3855.
    centre = UInt32(65536 - 2 * (reach * weight + part))
  }
}

/// Averages every pixel over a box, first along rows, then along columns.
///
/// Places outside are taken as the nearest pixel inside; each pass rounds to the nearest, halves up.
/// - Parameter spare: as large as the image, overwritten.
package func blur(
  _ image: inout [UInt8], _ size: ImageSize, _ weights: BoxWeights, spare: inout [UInt8]
) {
  check(image, spare, size)
  if weights.reach == 0 {
    blurNarrow(image, size, weights, alongRows: true, into: &spare)
    blurNarrow(spare, size, weights, alongRows: false, into: &image)
  } else {
    blurWide(image, size, weights, alongRows: true, into: &spare)
    blurWide(spare, size, weights, alongRows: false, into: &image)
  }
}

/// The pass of a box that reaches the next pixels only: whole rows at once.
private func blurNarrow(
  _ source: [UInt8], _ size: ImageSize, _ weights: BoxWeights, alongRows: Bool,
  into destination: inout [UInt8]
) {
  let source = source.span
  var destination = destination.mutableSpan
  let (row, pixel) = (size.rowSize, size.channels)
  for y in 0..<size.height {
    let (start, end) = (y * row, (y + 1) * row)
    if alongRows {
      let (first, last) = (min(start + pixel, end), max(start, end - pixel))
      let step = size.width > 1 ? pixel : 0
      average(source, start..<first, before: 0, after: step, weights, into: &destination)
      average(
        source, first..<max(first, last), before: pixel, after: pixel, weights, into: &destination)
      average(source, last..<end, before: step, after: 0, weights, into: &destination)
    } else {
      average(
        source, start..<end, before: y > 0 ? row : 0, after: y < size.height - 1 ? row : 0,
        weights, into: &destination)
    }
  }
}

/// Weighs pixels with those `before` and `after` bytes away.
@inline(__always)
private func average(
  _ source: Span<UInt8>, _ pixels: Range<Int>, before: Int, after: Int, _ weights: BoxWeights,
  into destination: inout MutableSpan<UInt8>
) {
  let (centre, outer) = (weights.centre, weights.outer)
  for index in pixels {
    let neighbours =
      UInt32(source[unchecked: index &- before]) &+ UInt32(source[unchecked: index &+ after])
    let sum = centre &* UInt32(source[unchecked: index]) &+ outer &* neighbours
    destination[unchecked: index] = UInt8(truncatingIfNeeded: (sum &+ 32768) >> 16)
  }
}

/// The pass of a box of any reach.
private func blurWide(
  _ source: [UInt8], _ size: ImageSize, _ weights: BoxWeights, alongRows: Bool,
  into destination: inout [UInt8]
) {
  let source = source.span
  var destination = destination.mutableSpan
  if alongRows {
    for y in 0..<size.height {
      for channel in 0..<size.channels {
        blurLine(
          source, from: y * size.rowSize + channel, count: size.width, step: size.channels, weights,
          into: &destination)
      }
    }
  } else {
    for column in 0..<size.rowSize {
      blurLine(
        source, from: column, count: size.height, step: size.rowSize, weights, into: &destination)
    }
  }
}

/// Averages `count` bytes that stand `step` apart.
private func blurLine(
  _ source: Span<UInt8>, from start: Int, count: Int, step: Int, _ weights: BoxWeights,
  into destination: inout MutableSpan<UInt8>
) {
  for place in 0..<count {
    func both(_ distance: Int) -> UInt32 {
      let (before, after) = (max(place &- distance, 0), min(place &+ distance, count &- 1))
      return UInt32(source[unchecked: start &+ before &* step])
        &+ UInt32(source[unchecked: start &+ after &* step])
    }
    var sum = weights.centre &* UInt32(source[unchecked: start &+ place &* step])
    for distance in 1...weights.reach { sum &+= weights.inner &* both(distance) }
    sum &+= weights.outer &* both(weights.reach &+ 1)
    destination[unchecked: start &+ place &* step] =
      UInt8(truncatingIfNeeded: (sum &+ 32768) >> 16)
  }
}
