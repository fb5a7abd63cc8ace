/// Kernels that give each pixel a new value; docs/VIEWS.md has their specification.
///
/// All work on whole images of `count` bytes, allocate nothing, and compute in integers.

/// Shifts an image: `destination[y][x] = source[y + down][x + right]`, `fill` from outside.
package func shift(
  _ source: [UInt8], _ size: ImageSize, down: Int, right: Int, fill: UInt8,
  into destination: inout [UInt8]
) {
  check(source, destination, size)
  let source = source.span
  var destination = destination.mutableSpan
  guard abs(down) < size.height, abs(right) < size.width else {
    set(&destination, 0..<size.elementCount, to: fill)
    return
  }
  // One long copy moves all rows at once; what wraps around lies where the fill goes.
  let offset = down * size.rowSize + right * size.channels
  let copied = max(0, -offset)..<size.elementCount - max(0, offset)
  for index in copied {
    destination[unchecked: index] = source[unchecked: index &+ offset]
  }
  let top = max(0, -down) * size.rowSize
  let bottom = (size.height - max(0, down)) * size.rowSize
  set(&destination, 0..<top, to: fill)
  set(&destination, bottom..<size.elementCount, to: fill)
  guard right != 0 else { return }
  let edge = right > 0 ? size.width - right : 0
  let side = edge * size.channels..<(edge + abs(right)) * size.channels
  for row in stride(from: top, to: bottom, by: size.rowSize) {
    set(&destination, row + side.lowerBound..<row + side.upperBound, to: fill)
  }
}

@inline(__always)
private func set(_ pixels: inout MutableSpan<UInt8>, _ range: Range<Int>, to fill: UInt8) {
  for index in range { pixels[unchecked: index] = fill }
}

/// Mirrors left and right: `destination[y][x] = source[y][width - 1 - x]`.
package func mirror(_ source: [UInt8], _ size: ImageSize, into destination: inout [UInt8]) {
  check(source, destination, size)
  let source = source.span
  var destination = destination.mutableSpan
  // A channel count known to the compiler makes the inner loop a few moves.
  switch size.channels {
  case 1: mirror(source, size, channels: 1, into: &destination)
  case 3: mirror(source, size, channels: 3, into: &destination)
  default: mirror(source, size, channels: size.channels, into: &destination)
  }
}

@inline(__always)
private func mirror(
  _ source: Span<UInt8>, _ size: ImageSize, channels: Int,
  into destination: inout MutableSpan<UInt8>
) {
  for y in 0..<size.height {
    let row = y &* size.rowSize
    let last = row &+ (size.width &- 1) &* channels
    for x in 0..<size.width {
      for channel in 0..<channels {
        destination[unchecked: row &+ x &* channels &+ channel] =
          source[unchecked: last &- x &* channels &+ channel]
      }
    }
  }
}

/// Multiplies pixels' distance from `center`: `center + (((p - center) * factor + 2^15) >> 16)`,
/// limited to 0...255.
///
/// - Parameter factor: in 65536ths, from 0 to 2 * 65536.
package func stretch(_ image: inout [UInt8], center: Int32, factor: Int32) {
  precondition((0...131_072).contains(factor), "a factor of \(factor) / 65536")
  var pixels = image.mutableSpan
  for index in 0..<pixels.count {
    let value = center &+ (((Int32(pixels[unchecked: index]) &- center) &* factor &+ 32768) >> 16)
    pixels[unchecked: index] = UInt8(truncatingIfNeeded: min(255, max(0, value)))
  }
}

/// The mean of all pixels and channels, rounded to the nearest integer, halves up.
package func mean(_ image: [UInt8]) -> Int32 {
  let pixels = image.span
  var sum = 0
  for index in 0..<pixels.count { sum &+= Int(pixels[unchecked: index]) }
  return Int32((sum + pixels.count / 2) / pixels.count)
}

/// Paints a rectangle.
package func paint(_ image: inout [UInt8], _ size: ImageSize, _ part: Rectangle, fill: UInt8) {
  check(part, size)
  var pixels = image.mutableSpan
  for y in part.top..<part.top + part.height {
    let start = y * size.rowSize + part.left * size.channels
    set(&pixels, start..<start + part.width * size.channels, to: fill)
  }
}

/// Blends: `(p * share + q * (65536 - share) + 2^15) >> 16`.
///
/// - Parameter share: of `image`, in 65536ths, 0...65536.
package func blend(_ image: inout [UInt8], with other: [UInt8], share: Int32) {
  precondition((0...65536).contains(share), "a share of \(share) / 65536")
  precondition(image.count == other.count, "\(image.count) and \(other.count) pixels")
  let other = other.span
  var pixels = image.mutableSpan
  for index in 0..<pixels.count {
    let own = Int32(pixels[unchecked: index]) &* share
    let foreign = Int32(other[unchecked: index]) &* (65536 &- share)
    pixels[unchecked: index] = UInt8(truncatingIfNeeded: (own &+ foreign &+ 32768) >> 16)
  }
}

/// Copies a rectangle from another image of the same size.
package func paste(
  _ image: inout [UInt8], _ size: ImageSize, _ part: Rectangle, from other: [UInt8]
) {
  check(part, size)
  check(image, other, size)
  let other = other.span
  var pixels = image.mutableSpan
  for y in part.top..<part.top + part.height {
    let start = y * size.rowSize + part.left * size.channels
    for x in start..<start + part.width * size.channels {
      pixels[unchecked: x] = other[unchecked: x]
    }
  }
}

func check(_ source: [UInt8], _ destination: [UInt8], _ size: ImageSize) {
  precondition(
    source.count == size.elementCount && destination.count == size.elementCount,
    "\(source.count) and \(destination.count) bytes for images of \(size.elementCount)")
}

private func check(_ part: Rectangle, _ size: ImageSize) {
  precondition(
    part.top >= 0 && part.left >= 0 && part.height >= 0 && part.width >= 0
      && part.top + part.height <= size.height && part.left + part.width <= size.width,
    "\(part) reaches beyond \(size)")
}
