import TestSupport
import Testing
import Views

/// Every kernel against its plain form on random images, 1 x 1 to 40 x 40, 1 to 4 channels.
@Suite struct KernelTests {
  @Test(arguments: 0..<60 as Range<UInt64>)
  func `shifting equals the reference, also beyond the image`(seed: UInt64) {
    var trial = Trial(seed: seed)
    let (down, right) = (trial.integer(-50...50), trial.integer(-50...50))
    let fill = UInt8(trial.integer(0...255))
    shift(trial.image.bytes, trial.size, down: down, right: right, fill: fill, into: &trial.result)
    let expected = trial.image.shifted(down: down, right: right, fill: fill)
    #expect(trial.result == expected, "seed \(seed), \(trial.size), \(down), \(right)")
  }

  @Test(arguments: 0..<30 as Range<UInt64>)
  func `mirroring equals the reference`(seed: UInt64) {
    var trial = Trial(seed: seed)
    mirror(trial.image.bytes, trial.size, into: &trial.result)
    #expect(trial.result == trial.image.mirrored(), "seed \(seed), \(trial.size)")
  }

  @Test(arguments: 0..<30 as Range<UInt64>)
  func `stretching equals the reference`(seed: UInt64) {
    var trial = Trial(seed: seed)
    let (center, factor) = (trial.integer(0...255), trial.integer(0...131_072))
    trial.result = trial.image.bytes
    stretch(&trial.result, center: Int32(center), factor: Int32(factor))
    let expected = trial.image.stretched(center: center, factor: factor)
    #expect(trial.result == expected, "seed \(seed), \(trial.size), \(center), \(factor)")
  }

  @Test(arguments: 0..<30 as Range<UInt64>)
  func `the mean equals the reference`(seed: UInt64) {
    let trial = Trial(seed: seed)
    let bytes = trial.image.bytes
    let exact = Double(bytes.reduce(0) { $0 + Int($1) }) / Double(bytes.count)
    #expect(mean(bytes) == Int32((exact + 0.5).rounded(.down)), "seed \(seed), \(trial.size)")
  }

  @Test(arguments: 0..<60 as Range<UInt64>)
  func `blurring equals the reference`(seed: UInt64) {
    var trial = Trial(seed: seed)
    let largest = trial.integer(0...1) == 0 ? 65535 : BoxWeights.largestRadius << 16
    for radius in [0, trial.integer(0...largest), largest] {
      trial.result = trial.image.bytes
      var spare = trial.result
      blur(&trial.result, trial.size, BoxWeights(radius: radius), spare: &spare)
      #expect(
        trial.result == trial.image.blurred(radius: radius),
        "seed \(seed), \(trial.size), radius \(radius)")
    }
  }

  @Test func `a box weighs one in all, and a flat image stays as it is`() {
    let size = ImageSize(height: 9, width: 11, channels: 2)
    for radius in stride(from: 0, through: BoxWeights.largestRadius << 16, by: 3001) {
      let weights = BoxWeights(radius: radius)
      let (reach, inner) = (UInt32(weights.reach), weights.inner)
      #expect(weights.centre + 2 * (reach * inner + weights.outer) == 65536)
      #expect(abs(Int(weights.centre) - Int(inner)) <= 10, "radius \(radius)")
      var flat = [UInt8](repeating: 201, count: size.elementCount)
      var spare = flat
      blur(&flat, size, weights, spare: &spare)
      #expect(flat.allSatisfy { $0 == 201 }, "radius \(radius)")
    }
  }

  @Test(arguments: 0..<30 as Range<UInt64>)
  func `noise equals the reference`(seed: UInt64) {
    var trial = Trial(seed: seed)
    for deviation in [0, trial.integer(0...6000), 65536] {
      trial.result = trial.image.bytes
      var draws = Draws(seed: seed, sample: 1, view: 2, operation: 3)
      var same = draws
      addNoise(&trial.result, deviation: deviation, &draws)
      let words = trial.image.bytes.map { _ in same.next() }
      #expect(
        trial.result == trial.image.noisy(deviation: deviation, words: words),
        "seed \(seed), \(trial.size), deviation \(deviation)")
    }
  }

  @Test func `noise has the deviation asked for, and no mean`() {
    let count = 100_000
    var image = [UInt8](repeating: 128, count: count)
    var draws = Draws(seed: 1, sample: 0, view: 0, operation: 0)
    addNoise(&image, deviation: 6554, &draws)
    let values = image.map { Double($0) - 128 }
    let mean = values.reduce(0, +) / Double(count)
    let deviation = (values.reduce(0) { $0 + $1 * $1 } / Double(count)).squareRoot()
    #expect(abs(mean) < 0.4 && abs(deviation - 25.5) < 0.4, "\(mean), \(deviation)")
  }

  @Test(arguments: 0..<30 as Range<UInt64>)
  func `painting equals the reference`(seed: UInt64) {
    var trial = Trial(seed: seed)
    let (part, fill) = (trial.rectangle(), UInt8(trial.integer(0...255)))
    trial.result = trial.image.bytes
    paint(&trial.result, trial.size, part, fill: fill)
    #expect(trial.result == trial.image.painted(part, fill: fill), "seed \(seed), \(part)")
  }

  @Test(arguments: 0..<30 as Range<UInt64>)
  func `blending and pasting equal the reference`(seed: UInt64) {
    var trial = Trial(seed: seed)
    let (other, part) = (trial.anotherImage(), trial.rectangle())
    for share in [0, 1, 32768, 65535, 65536, trial.integer(0...65536)] {
      trial.result = trial.image.bytes
      blend(&trial.result, with: other.bytes, share: Int32(share))
      #expect(
        trial.result == trial.image.blended(with: other, share: share), "seed \(seed), \(share)")
    }
    trial.result = trial.image.bytes
    paste(&trial.result, trial.size, part, from: other.bytes)
    #expect(trial.result == trial.image.pasted(part, from: other), "seed \(seed), \(part)")
  }

  @Test(arguments: 0..<100 as Range<UInt64>)
  func `warping equals the reference`(seed: UInt64) {
    var trial = Trial(seed: seed)
    let map = trial.map()
    let fill = UInt8(trial.integer(0...255))
    warp(trial.image.bytes, trial.size, map, fill: fill, into: &trial.result)
    #expect(trial.result == trial.image.warped(map, fill: fill), "seed \(seed), \(map)")
  }

  @Test func `the comparison notices a kernel that rounds down`() {
    var trial = Trial(seed: 1)
    let share = 40000
    let other = trial.anotherImage()
    let wrong = trial.image.map { y, x, c in
      let own = trial.image.pixel(y, x, c, fill: 0)
      return (own * share + other.pixel(y, x, c, fill: 0) * (65536 - share)) >> 16
    }
    #expect(wrong != trial.image.blended(with: other, share: share))
  }

  @Test(arguments: 0..<20 as Range<UInt64>)
  func `a map that changes nothing changes nothing`(seed: UInt64) {
    var trial = Trial(seed: seed)
    let map = AffineMap(angle: 0, right: 0, down: 0, scale: 65536, shear: 0, size: trial.size)
    warp(trial.image.bytes, trial.size, map, fill: 255, into: &trial.result)
    #expect(trial.result == trial.image.bytes, "seed \(seed), \(trial.size)")
  }

  @Test(arguments: 0..<20 as Range<UInt64>)
  func `a move by whole pixels is a shift`(seed: UInt64) {
    var trial = Trial(seed: seed)
    let (right, down) = (trial.integer(-5...5), trial.integer(-5...5))
    let map = AffineMap(
      angle: 0, right: right << 16, down: down << 16, scale: 65536, shear: 0, size: trial.size)
    warp(trial.image.bytes, trial.size, map, fill: 3, into: &trial.result)
    let expected = trial.image.shifted(down: -down, right: -right, fill: 3)
    #expect(trial.result == expected, "seed \(seed), \(trial.size), \(right), \(down)")
  }

  @Test func `a quarter turn moves the top left corner to the top right`() {
    let size = ImageSize(height: 3, width: 3, channels: 1)
    let map = AffineMap(angle: 1 << 22, right: 0, down: 0, scale: 65536, shear: 0, size: size)
    var result = [UInt8](repeating: 0, count: 9)
    warp([1, 2, 3, 4, 5, 6, 7, 8, 9], size, map, fill: 0, into: &result)
    #expect(result == [7, 4, 1, 8, 5, 2, 9, 6, 3])
  }

  @Test func `a shear of an eighth of a turn moves the bottom row to the right`() {
    let size = ImageSize(height: 3, width: 3, channels: 1)
    let map = AffineMap(angle: 0, right: 0, down: 0, scale: 65536, shear: 1 << 21, size: size)
    var result = [UInt8](repeating: 0, count: 9)
    warp([1, 2, 3, 4, 5, 6, 7, 8, 9], size, map, fill: 0, into: &result)
    #expect(result == [2, 3, 0, 4, 5, 6, 0, 7, 8])
  }
}

/// A random image and what tests draw beside it.
private struct Trial {
  var random: SeededGenerator
  let size: ImageSize
  let image: ReferenceImage
  var result: [UInt8]

  init(seed: UInt64) {
    random = SeededGenerator(seed: seed)
    // The first seeds are the degenerate shapes.
    let longest = seed < 4 ? 1 : 40
    size = ImageSize(
      height: Int.random(in: 1...longest, using: &random),
      width: Int.random(in: 1...longest, using: &random), channels: Int(seed % 4) + 1)
    result = [UInt8](repeating: 0, count: size.elementCount)
    image = randomImage(size, &random)
  }

  mutating func anotherImage() -> ReferenceImage { randomImage(size, &random) }

  mutating func integer(_ range: ClosedRange<Int>) -> Int { .random(in: range, using: &random) }

  mutating func rectangle() -> Rectangle {
    let (height, width) = (integer(0...size.height), integer(0...size.width))
    return Rectangle(
      top: integer(0...size.height - height), left: integer(0...size.width - width),
      height: height, width: width)
  }

  mutating func map() -> AffineMap {
    AffineMap(
      angle: integer(-(1 << 23)...1 << 23), right: integer(-(size.width << 16)...size.width << 16),
      down: integer(-(size.height << 16)...size.height << 16), scale: integer(4096...1_048_576),
      shear: integer(-(1 << 21)...1 << 21), size: size)
  }
}

private func randomImage(_ size: ImageSize, _ random: inout SeededGenerator) -> ReferenceImage {
  ReferenceImage(
    size: size,
    bytes: (0..<size.elementCount).map { _ in UInt8.random(in: 0...255, using: &random) })
}
