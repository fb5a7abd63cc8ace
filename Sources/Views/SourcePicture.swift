import DataSets

/// A sample's picture in its own size, and room to bring a part of it to the size of a view.
struct SourcePicture: Sendable {
  var picture = Picture()
  private var resizer = Resizer()

  /// Fills a canvas with a part of the picture: a random one within limits, or the largest in the
  /// middle that has the canvas's proportions.
  mutating func cut(
    _ limits: Operation.ResizedCrop?, _ draws: inout Draws, into canvas: inout Canvas
  ) {
    let size = ImageSize(
      height: picture.height, width: picture.width, channels: picture.channels)
    let part =
      if let limits { Rectangle(limits, size, &draws) } else {
        Rectangle(centredIn: size, proportionsOf: canvas.size)
      }
    resizer.resize(picture.pixels, size, part, to: canvas.size, into: &canvas.image)
  }
}

extension Rectangle {
  /// The first of ten random parts that fits into the picture; else the largest in the middle within
  /// the limits of proportions.
  ///
  /// Ten are always drawn, so that later draws do not depend on which one fits.
  package init(_ limits: Operation.ResizedCrop, _ size: ImageSize, _ draws: inout Draws) {
    let ratio = (
      least: binaryLogarithm(limits.ratio.lowerBound),
      greatest: binaryLogarithm(limits.ratio.upperBound)
    )
    var found: (height: Int, width: Int)?
    for _ in 0..<10 {
      let part = draws.between(limits.area.lowerBound, limits.area.upperBound)
      let exponent = draws.between(ratio.least, ratio.greatest)
      // In 65536ths of a pixel; area * ratio, at most 2^61, is the square of the width.
      let area = part * size.height * size.width
      let root = integerSquareRoot(area * binaryPower(exponent))
      let (height, width) = ((area + root / 2) / max(1, root), (root + 32768) >> 16)
      let fits = (1...size.height).contains(height) && (1...size.width).contains(width)
      if found == nil && fits { found = (height, width) }
    }
    guard let found else {
      self.init(centredIn: size, ratio: limits.ratio)
      return
    }
    self.init(
      top: draws.below(size.height - found.height + 1),
      left: draws.below(size.width - found.width + 1), height: found.height,
      width: found.width)
  }

  /// The whole picture, less what makes it wider or higher than `ratio` allows, on both sides.
  private init(centredIn size: ImageSize, ratio: ClosedRange<Int>) {
    var (height, width) = (size.height, size.width)
    if width * 65536 < ratio.lowerBound * height {
      height = max(1, (width * 65536 + ratio.lowerBound / 2) / ratio.lowerBound)
    } else if width * 65536 > ratio.upperBound * height {
      width = max(1, (height * ratio.upperBound + 32768) >> 16)
    }
    self.init(centredIn: size, height: height, width: width)
  }

  /// The largest part in the middle with the proportions of `target`.
  package init(centredIn size: ImageSize, proportionsOf target: ImageSize) {
    var (height, width) = (size.height, size.width)
    if width * target.height > height * target.width {
      width = max(1, (height * target.width + target.height / 2) / target.height)
    } else {
      height = max(1, (width * target.height + target.width / 2) / target.width)
    }
    self.init(centredIn: size, height: height, width: width)
  }

  private init(centredIn size: ImageSize, height: Int, width: Int) {
    let (height, width) = (min(height, size.height), min(width, size.width))
    self.init(
      top: (size.height - height) / 2, left: (size.width - width) / 2, height: height, width: width)
  }
}
