import Basics

/// Resizes parts of pictures; keeps memory from use to use.
///
/// Every new pixel is a weighted mean of the old ones around its place, with weights that fall linearly to
/// zero at the distance of one new pixel (of one old pixel where the picture grows): bilinear, with
/// antialiasing. First along columns, then along rows, each pass rounded to the nearest, halves up.
/// Nothing outside the part plays a role. docs/VIEWS.md has the exact rule.
package struct Resizer: Sendable {
  private var rows = ResizeWeights()
  private var columns = ResizeWeights()
  /// [new height, width of the part, channels].
  private var middle: [UInt8] = []
  /// Sums over one row of `middle`, in 65536ths.
  private var sums: [UInt32] = []

  /// No memory yet.
  package init() {}

  /// Resizes a part of a picture.
  ///
  /// - Parameters:
  ///   - picture: [size.height, size.width, size.channels].
  ///   - image: as large as `target` says, overwritten.
  /// - Precondition: the part lies inside; both sizes have the same channels.
  package mutating func resize(
    _ picture: [UInt8], _ size: ImageSize, _ part: Rectangle, to target: ImageSize,
    into image: inout [UInt8]
  ) {
    precondition(
      picture.count == size.elementCount && image.count == target.elementCount
        && size.channels == target.channels,
      "\(picture.count) and \(image.count) bytes for images of \(size) and \(target)")
    precondition(
      part.top >= 0 && part.left >= 0 && part.height >= 1 && part.width >= 1
        && part.top + part.height <= size.height && part.left + part.width <= size.width,
      "\(part) of \(size)")
    rows.fill(from: part.height, to: target.height)
    columns.fill(from: part.width, to: target.width)
    let row = part.width * size.channels
    middle.setCount(target.height * row, filler: 0)
    sums.setCount(row, filler: 0)
    mixRows(
      picture, from: (part.top * size.width + part.left) * size.channels, step: size.rowSize,
      rows, into: &middle, &sums)
    switch size.channels {
    case 1: mixColumns(middle, row, columns, target, channels: 1, into: &image)
    case 3: mixColumns(middle, row, columns, target, channels: 3, into: &image)
    default: mixColumns(middle, row, columns, target, channels: size.channels, into: &image)
    }
  }
}

/// Weighs whole rows of a picture, which begin `step` bytes apart from `start` on.
///
/// - Parameters:
///   - middle: [new rows, sums.count], overwritten.
///   - sums: room for one row in 65536ths: at most 255 * 65536 + 32768.
private func mixRows(
  _ picture: [UInt8], from start: Int, step: Int, _ rows: ResizeWeights,
  into middle: inout [UInt8], _ sums: inout [UInt32]
) {
  let picture = picture.span
  var middle = middle.mutableSpan
  var sums = sums.mutableSpan
  let row = sums.count
  for y in 0..<rows.count {
    for x in 0..<row { sums[unchecked: x] = 32768 }
    for (index, tap) in rows.taps(of: y).enumerated() {
      let weight = rows.weights[tap]
      let source = start + (rows.first[y] + index) * step
      for x in 0..<row {
        sums[unchecked: x] &+= weight &* UInt32(picture[unchecked: source &+ x])
      }
    }
    for x in 0..<row {
      middle[unchecked: y &* row &+ x] = UInt8(truncatingIfNeeded: sums[unchecked: x] >> 16)
    }
  }
}

/// Weighs the pixels along every row of `middle`, which has `row` bytes.
@inline(__always)
private func mixColumns(
  _ middle: [UInt8], _ row: Int, _ columns: ResizeWeights, _ target: ImageSize, channels: Int,
  into image: inout [UInt8]
) {
  let (middle, weights) = (middle.span, columns.weights.span)
  let (first, start) = (columns.first.span, columns.start.span)
  var image = image.mutableSpan
  for y in 0..<target.height {
    for x in 0..<target.width {
      let (begin, end) = (start[unchecked: x], start[unchecked: x &+ 1])
      let source = y &* row &+ first[unchecked: x] &* channels
      let place = (y &* target.width &+ x) &* channels
      for channel in 0..<channels {
        var sum = 32768 as UInt32
        for tap in begin..<end {
          let pixel = middle[unchecked: source &+ (tap &- begin) &* channels &+ channel]
          sum &+= weights[unchecked: tap] &* UInt32(pixel)
        }
        image[unchecked: place &+ channel] = UInt8(truncatingIfNeeded: sum >> 16)
      }
    }
  }
}

/// Which old places make each new one along an axis, and how much each counts.
package struct ResizeWeights: Sendable {
  /// The first old place of each new one, [n].
  package private(set) var first: [Int] = []
  /// Where each new place's weights begin in `weights`, and the end, [n + 1].
  package private(set) var start: [Int] = []
  /// In 65536ths; those of one new place add up to one.
  package private(set) var weights: [UInt32] = []

  /// No places.
  package init() {}

  /// The number of new places.
  package var count: Int { first.count }

  /// Which of `weights` belong to a new place.
  package func taps(of place: Int) -> Range<Int> { start[place]..<start[place + 1] }

  /// Weighs `old` places for `new` ones.
  ///
  /// Distances are in halves of 1 / new old places, which makes them integers. Weights are rounded so that
  /// their running sum is the nearest 65536th: they add up to one, and flat pictures stay flat.
  /// - Precondition: old is in 1...2^20, new in 1...4096.
  package mutating func fill(from old: Int, to new: Int) {
    precondition(
      (1...1 << 20).contains(old) && (1...4096).contains(new), "\(old) places to \(new)")
    first.removeAll(keepingCapacity: true)
    start.removeAll(keepingCapacity: true)
    weights.removeAll(keepingCapacity: true)
    let reach = 2 * max(old, new)
    for place in 0..<new {
      let centre = (2 * place + 1) * old
      // All x with |(2 x + 1) new - centre| < reach.
      let begin = max(0, floorDivide(centre - reach - new, 2 * new) + 1)
      let end = min(old, floorDivide(centre + reach - new - 1, 2 * new) + 1)
      func height(_ x: Int) -> Int { reach - abs((2 * x + 1) * new - centre) }
      let total = (begin..<end).reduce(0) { $0 + height($1) }
      first.append(begin)
      start.append(weights.count)
      var (sum, given) = (0, 0)
      for x in begin..<end {
        sum += height(x)
        let due = ((sum << 16) + total / 2) / total
        weights.append(UInt32(due - given))
        given = due
      }
    }
    start.append(weights.count)
  }
}

/// The quotient rounded down, also of negative dividends.
private func floorDivide(_ dividend: Int, _ divisor: Int) -> Int {
  let (quotient, remainder) = dividend.quotientAndRemainder(dividingBy: divisor)
  return remainder < 0 ? quotient - 1 : quotient
}
