import Views

/// An image with one function to reach it: the plain form of what the kernels do to bytes.
struct ReferenceImage: Equatable {
  let size: ImageSize
  var bytes: [UInt8]

  /// The pixel at a place; `fill` outside.
  func pixel(_ y: Int, _ x: Int, _ channel: Int, fill: UInt8) -> Int {
    guard (0..<size.height).contains(y), (0..<size.width).contains(x) else { return Int(fill) }
    return Int(bytes[(y * size.width + x) * size.channels + channel])
  }

  /// The image whose pixels are `value(y, x, channel)`.
  func map(_ value: (Int, Int, Int) -> Int) -> [UInt8] {
    var result: [UInt8] = []
    for y in 0..<size.height {
      for x in 0..<size.width {
        for channel in 0..<size.channels { result.append(UInt8(value(y, x, channel))) }
      }
    }
    return result
  }

  func shifted(down: Int, right: Int, fill: UInt8) -> [UInt8] {
    map { y, x, c in pixel(y + down, x + right, c, fill: fill) }
  }

  func mirrored() -> [UInt8] { map { y, x, c in pixel(y, size.width - 1 - x, c, fill: 0) } }

  func stretched(center: Int, factor: Int) -> [UInt8] {
    map { y, x, c in
      let scaled = (pixel(y, x, c, fill: 0) - center) * factor + 32768
      return min(255, max(0, center + Int((Double(scaled) / 65536).rounded(.down))))
    }
  }

  /// Every weight is looked up by distance, every place clamped.
  func blurred(radius: Int) -> [UInt8] {
    let width = 2 * radius + 65536
    let (whole, inner) = (radius / 65536, ((1 << 32) + width / 2) / width)
    let outer = (radius % 65536 * inner + 32768) / 65536
    func weight(_ distance: Int) -> Int {
      if distance == 0 { return 65536 - 2 * (whole * inner + outer) }
      return abs(distance) <= whole ? inner : outer
    }
    let reach = -(whole + 1)...(whole + 1)
    let rows = ReferenceImage(
      size: size,
      bytes: map { y, x, c in
        let sum = reach.reduce(32768) {
          $0 + weight($1) * pixel(y, min(max(x + $1, 0), size.width - 1), c, fill: 0)
        }
        return sum / 65536
      })
    return map { y, x, c in
      let sum = reach.reduce(32768) {
        $0 + weight($1) * rows.pixel(min(max(y + $1, 0), size.height - 1), x, c, fill: 0)
      }
      return sum / 65536
    }
  }

  /// `words` has one for each byte.
  func noisy(deviation: Int, words: [UInt32]) -> [UInt8] {
    let factor = (deviation * 113_069 + 32768) / 65536
    return zip(bytes, words).map { byte, word in
      let sum = withUnsafeBytes(of: word) { $0.reduce(0) { $0 + Int($1) } }
      let noise = Double((sum - 510) * factor + 32768) / 65536
      return UInt8(min(255, max(0, Int(byte) + Int(noise.rounded(.down)))))
    }
  }

  func painted(_ part: Rectangle, fill: UInt8) -> [UInt8] {
    map { y, x, c in part.contains(y, x) ? Int(fill) : pixel(y, x, c, fill: 0) }
  }

  func blended(with other: ReferenceImage, share: Int) -> [UInt8] {
    map { y, x, c in
      let sum = pixel(y, x, c, fill: 0) * share + other.pixel(y, x, c, fill: 0) * (65536 - share)
      return (sum + 32768) / 65536
    }
  }

  func pasted(_ part: Rectangle, from other: ReferenceImage) -> [UInt8] {
    map { y, x, c in (part.contains(y, x) ? other : self).pixel(y, x, c, fill: 0) }
  }

  /// Every pixel's place is computed anew, without stepping, and all taps check their bounds.
  func warped(_ map: AffineMap, fill: UInt8) -> [UInt8] {
    self.map { y, x, c in
      let placeX = map.startX + map.xx * x + map.xy * y
      let placeY = map.startY + map.yx * x + map.yy * y
      let (x256, y256) = (floorDivide(placeX + 128, 256), floorDivide(placeY + 128, 256))
      let (column, row) = (floorDivide(x256, 256), floorDivide(y256, 256))
      let (right, below) = (x256 - 256 * column, y256 - 256 * row)
      var sum = 32768
      for (dy, weightY) in [(0, 256 - below), (1, below)] {
        for (dx, weightX) in [(0, 256 - right), (1, right)] {
          sum += weightY * weightX * pixel(row + dy, column + dx, c, fill: fill)
        }
      }
      return sum / 65536
    }
  }
}

private func floorDivide(_ value: Int, _ divisor: Int) -> Int {
  let quotient = value / divisor
  return value % divisor < 0 ? quotient - 1 : quotient
}

extension Rectangle {
  func contains(_ y: Int, _ x: Int) -> Bool {
    (top..<top + height).contains(y) && (left..<left + width).contains(x)
  }
}
