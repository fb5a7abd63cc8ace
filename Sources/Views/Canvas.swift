import Basics

/// An image or a text in the making: the operations draw their numbers and apply the kernels here.
struct Canvas: Sendable {
  let size: ImageSize
  /// The image, or the bytes of the text, so far.
  var image: [UInt8]
  /// Room for kernels that cannot work in place.
  private var spare: [UInt8]

  init(size: ImageSize) {
    self.size = size
    image = [UInt8](repeating: 0, count: size.elementCount)
    spare = image
  }

  /// Applies an operation that needs no other sample.
  mutating func apply(_ operation: Operation, _ draws: inout Draws) {
    switch operation {
    case .padCrop(let pad, let fill):
      let down = draws.between(-pad, pad)
      let right = draws.between(-pad, pad)
      shift(image, size, down: down, right: right, fill: fill, into: &spare)
      swap(&image, &spare)
    case .flip(let probability):
      guard draws.happens(probability) else { return }
      mirror(image, size, into: &spare)
      swap(&image, &spare)
    case .affine(let limits):
      let map = AffineMap(limits, size, &draws)
      warp(image, size, map, fill: limits.fill, into: &spare)
      swap(&image, &spare)
    case .brightness(let amount):
      stretch(&image, center: 0, factor: factor(amount, &draws))
    case .contrast(let amount):
      stretch(&image, center: mean(image), factor: factor(amount, &draws))
    case .blur(let radius):
      let weights = BoxWeights(radius: draws.between(radius.lowerBound, radius.upperBound))
      blur(&image, size, weights, spare: &spare)
    case .noise(let deviation):
      let deviation = draws.between(deviation.lowerBound, deviation.upperBound)
      addNoise(&image, deviation: deviation, &draws)
    case .erase(let limits):
      guard draws.happens(limits.probability) else { return }
      paint(&image, size, Rectangle(limits, size, &draws), fill: limits.fill)
    case .substring(let share):
      let all = characterCount(image)
      let share = draws.between(share.lowerBound, share.upperBound)
      let count = min(all, max(1, (all * share + 32768) >> 16))
      let first = draws.below(all - count + 1)
      takeCharacters(image, first: first, count: count, into: &spare)
      swap(&image, &spare)
    case .lowercase(let probability):
      if draws.happens(probability) { lowercase(&image) }
    case .resizedCrop:
      preconditionFailure("\(operation) needs the picture in its own size")
    case .mixup, .cutmix:
      preconditionFailure("\(operation) needs another sample")
    }
  }

  /// Blends in another image; returns this image's share, in 65536ths.
  mutating func mixup(
    _ other: Canvas, share: ClosedRange<Int>, _ draws: inout Draws
  ) -> Int {
    let share = draws.between(share.lowerBound, share.upperBound)
    blend(&image, with: other.image, share: Int32(share))
    return share
  }

  /// Replaces a rectangle by another image's; returns this image's share, in 65536ths.
  mutating func cutmix(
    _ other: Canvas, area: ClosedRange<Int>, _ draws: inout Draws
  ) -> Int {
    let part = Rectangle(cutmixArea: area, size, &draws)
    paste(&image, size, part, from: other.image)
    let all = size.height * size.width
    return ((all - part.height * part.width) * 65536 + all / 2) / all
  }
}

private func factor(_ amount: Fraction, _ draws: inout Draws) -> Int32 {
  Int32(draws.between(65536 - amount.parts, 65536 + amount.parts))
}

/// Degrees in 65536ths as 2^-24 turns, rounded to the nearest.
private func turns(_ degrees: Fraction) -> Int { (degrees.parts * 64 + 45) / 90 }

extension AffineMap {
  fileprivate init(_ limits: Operation.Affine, _ size: ImageSize, _ draws: inout Draws) {
    let (angle, shear) = (turns(limits.degrees), turns(limits.shear))
    let (right, down) = (limits.translate.parts * size.width, limits.translate.parts * size.height)
    self.init(
      angle: draws.between(-angle, angle), right: draws.between(-right, right),
      down: draws.between(-down, down),
      scale: draws.between(limits.scale.lowerBound, limits.scale.upperBound),
      shear: draws.between(-shear, shear), size: size)
  }
}

extension Rectangle {
  /// The rectangle to erase.
  fileprivate init(_ limits: Operation.Erase, _ size: ImageSize, _ draws: inout Draws) {
    let part = draws.between(limits.area.lowerBound, limits.area.upperBound)
    let aspect = draws.between(65536, limits.aspect.parts)
    let upright = draws.next() >> 31 == 1
    // Both in 65536ths of a pixel: area * aspect is the square of the longer side.
    let area = part * size.height * size.width
    let root = integerSquareRoot(area * aspect)
    let longer = max(1, (root + 32768) >> 16)
    let shorter = max(1, (area + root / 2) / max(1, root))
    height = min(size.height, upright ? longer : shorter)
    width = min(size.width, upright ? shorter : longer)
    top = draws.below(size.height - height + 1)
    left = draws.below(size.width - width + 1)
  }

  /// The rectangle to take from another sample: of the image's own proportions.
  fileprivate init(
    cutmixArea area: ClosedRange<Int>, _ size: ImageSize, _ draws: inout Draws
  ) {
    let root = integerSquareRoot(draws.between(area.lowerBound, area.upperBound) << 16)
    height = (size.height * root + 32768) >> 16
    width = (size.width * root + 32768) >> 16
    top = draws.below(size.height - height + 1)
    left = draws.below(size.width - width + 1)
  }
}
