/// 65536 times 255 over the standard deviation of a sum of four bytes, sqrt(21845), rounded.
private let bytesToDeviations = 113_069

/// Adds noise to every pixel and channel, each its own, limited to 0...255.
///
/// The noise is nearly normal: the sum of the four bytes of one random word, less its mean (Irwin and
/// Hall's distribution of order 4; it ends at 3.45 standard deviations).
/// - Parameters:
///   - deviation: the noise's standard deviation, in 65536ths of the full range of 255.
///   - draws: gives one word for each byte of the image, in order.
package func addNoise(_ image: inout [UInt8], deviation: Int, _ draws: inout Draws) {
  precondition((0...65536).contains(deviation), "a deviation of \(deviation) / 65536")
  let factor = Int32((deviation * bytesToDeviations + 32768) >> 16)
  var pixels = image.mutableSpan
  for index in 0..<pixels.count {
    let word = draws.next()
    let sum = (word & 255) &+ (word >> 8 & 255) &+ (word >> 16 & 255) &+ (word >> 24)
    // At most 510 * 113069: within 32 bits.
    let noise = ((Int32(bitPattern: sum) &- 510) &* factor &+ 32768) >> 16
    let value = Int32(pixels[unchecked: index]) &+ noise
    pixels[unchecked: index] = UInt8(truncatingIfNeeded: min(255, max(0, value)))
  }
}
