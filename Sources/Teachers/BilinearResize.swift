import Views

/// Resizes pictures of one size to another, bilinearly, in integers: equal bytes on every machine.
///
/// Target pixel i lies at (i + 1/2) * from / to - 1/2 of the source, centres over centres, held at the
/// borders; weights are rounded to 1/2048. Shrinking reads two neighbours only, as OpenCV's INTER_LINEAR
/// does.
struct BilinearResize {
  /// The size of what comes out.
  let height: Int
  let width: Int
  private let sourceWidth: Int
  private let channels: Int
  private let rows: [Place]
  private let columns: [Place]
  private(set) var pixels: [UInt8]

  /// Where a target pixel lies between two source pixels.
  private struct Place {
    var first: Int
    var second: Int
    /// Of the second, 0...2048.
    var weight: Int32
  }

  init(from source: (height: Int, width: Int), to target: (height: Int, width: Int), channels: Int)
  {
    (height, width) = target
    sourceWidth = source.width
    self.channels = channels
    rows = BilinearResize.places(from: source.height, to: target.height)
    columns = BilinearResize.places(from: source.width, to: target.width)
    pixels = [UInt8](repeating: 0, count: target.height * target.width * channels)
  }

  private static func places(from: Int, to: Int) -> [Place] {
    (0..<to).map { target in
      // The position in units of 1 / (2 * to).
      let position = min(max((2 * target + 1) * from - to, 0), 2 * to * (from - 1))
      let (first, rest) = position.quotientAndRemainder(dividingBy: 2 * to)
      return Place(
        first: first, second: min(first + 1, from - 1), weight: Int32((rest * 2048 + to) / (2 * to))
      )
    }
  }

  /// Resizes one picture, HWC order, into `pixels`.
  mutating func resize(_ source: UnsafeBufferPointer<UInt8>) {
    var target = 0
    pixels.withUnsafeMutableBufferPointer { pixels in
      for row in rows {
        let (upper, lower) = (row.first * sourceWidth, row.second * sourceWidth)
        for column in columns {
          for channel in 0..<channels {
            func value(_ row: Int, _ column: Int) -> Int32 {
              Int32(source[(row &+ column) &* channels &+ channel])
            }
            let above =
              value(upper, column.first) &* (2048 &- column.weight)
              &+ value(upper, column.second) &* column.weight
            let below =
              value(lower, column.first) &* (2048 &- column.weight)
              &+ value(lower, column.second) &* column.weight
            // At most 255 * 2^22, below 2^31.
            let sum = above &* (2048 &- row.weight) &+ below &* row.weight
            pixels[target] = UInt8(truncatingIfNeeded: (sum &+ 1 << 21) &>> 22)
            target &+= 1
          }
        }
      }
    }
  }
}
