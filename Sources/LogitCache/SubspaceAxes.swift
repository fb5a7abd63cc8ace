import Basics

/// The directions in which a teacher's rows differ, and the row they differ from.
///
/// A linear classifier's rows lie in an affine space no wider than its last layer, so a row of C
/// logits is a few coefficients on these axes (docs/FORMAT.md, "Subspace tail"):
/// `row = level + mean + sum of coefficient * axis`, with one free level for each row.
public struct SubspaceAxes: Equatable, Sendable {
  /// C.
  public let classes: Int
  /// The number of axes, strongest first.
  public let count: Int
  /// Bytes of a stored number of an axis: 1 or 2.
  public let width: Int
  /// Along how many axes, from the first on, coefficients go through a trellis (docs/FORMAT.md,
  /// "Subspace tail").
  public internal(set) var trellisAxes: Int
  /// The mean row [C], in nats; its own mean is about 0.
  public let mean: [Float]
  /// The axes [count, C], about orthonormal: stored integers times their axis's scale; then, for
  /// rebuilding, the mean row once more.
  public let values: [Float]
  private let scales: [Float]

  /// What a reader accepts.
  enum Bounds {
    /// Of count x C: the axes are held in memory, 1 GiB.
    static let values = 1 << 28
    /// Of a mean row's and an axis's numbers in magnitude.
    static let magnitude: Float = 0x1p20
  }

  /// Rounds axes to what is stored.
  ///
  /// - Parameters:
  ///   - mean: the mean row [C].
  ///   - axes: [count, C], finite.
  ///   - width: 1 or 2 bytes a number.
  init(mean: [Float], axes: [Float], width: Int) {
    precondition(width == 1 || width == 2, "a number of an axis takes 1 or 2 bytes, not \(width)")
    classes = mean.count
    count = axes.count / mean.count
    self.width = width
    trellisAxes = 0
    self.mean = mean
    let largestCode = SubspaceAxes.largestCode(width)
    var scales: [Float] = []
    var values = axes
    for axis in 0..<count {
      let range = axis * classes..<(axis + 1) * classes
      let largest = values[range].reduce(0) { max($0, abs($1)) }
      let scale = max(largest / largestCode, .leastNormalMagnitude)
      scales.append(scale)
      for index in range {
        let code = (values[index] / scale).rounded(.toNearestOrEven)
        values[index] = min(max(code, -largestCode), largestCode) * scale
      }
    }
    self.scales = scales
    self.values = values + mean
  }

  /// No axes and a mean row of zeros: what a cache has that learned nothing.
  static func none(classes: Int, width: Int) -> SubspaceAxes {
    SubspaceAxes(mean: [Float](repeating: 0, count: classes), axes: [], width: width)
  }

  private static func largestCode(_ width: Int) -> Float { width == 1 ? 127 : 32_767 }

  /// Bytes of the serialised axes: the fixed cost of a cache with a subspace tail.
  public var byteCount: Int {
    SubspaceAxes.byteCount(classes: classes, axes: count, width: width)
  }

  /// Bytes of `axes` serialised axes of C numbers of `width` bytes each.
  package static func byteCount(classes: Int, axes: Int, width: Int) -> Int {
    headerSize + 4 * classes + 4 * axes + width * axes * classes
  }

  private static let headerSize = 16
  private static let magic: UInt32 = 0x5341_474C  // "LGAS"

  /// The axes as the calibration stores them (docs/FORMAT.md, "Subspace tail").
  public var bytes: [UInt8] {
    var writer = ByteWriter()
    writer.append(SubspaceAxes.magic)
    writer.append(UInt32(classes))
    writer.append(UInt32(count))
    writer.append(UInt16(width))
    writer.append(UInt16(trellisAxes))
    for value in mean { writer.append(value.bitPattern) }
    for scale in scales { writer.append(scale.bitPattern) }
    var bytes = writer.bytes
    bytes.reserveCapacity(byteCount)
    for axis in 0..<count {
      let inverse = scales[axis]
      for index in axis * classes..<(axis + 1) * classes {
        let code = Int16((values[index] / inverse).rounded())
        bytes.append(UInt8(truncatingIfNeeded: code))
        if width == 2 { bytes.append(UInt8(truncatingIfNeeded: code >> 8)) }
      }
    }
    return bytes
  }

  /// Reads serialised axes.
  ///
  /// - Parameters:
  ///   - bytes: exactly what `bytes` wrote.
  ///   - classes: C of the cache.
  ///   - tail: the cache's settings.
  /// - Throws: `Problem(.corrupt)` before anything is allocated when sizes do not fit.
  public init(bytes: RawSpan, classes: Int, tail: SubspaceTail) throws {
    var reader = ByteReader(bytes)
    guard let magic = reader.next(UInt32.self), let storedClasses = reader.next(UInt32.self),
      let count = reader.next(UInt32.self), let width = reader.next(UInt16.self),
      let trellisAxes = reader.next(UInt16.self)
    else { throw Problem(.corrupt, "the subspace axes have only \(bytes.byteCount) bytes") }
    guard magic == SubspaceAxes.magic, Int(storedClasses) == classes, classes >= 1,
      Int(width) == tail.axisBytes, count <= min(tail.maximumAxes, classes),
      Int(count) * classes <= Bounds.values, trellisAxes <= count
    else {
      throw Problem(
        .corrupt,
        "the subspace axes say \(count) axes (\(trellisAxes) by a trellis) of \(storedClasses) "
          + "classes, \(width) bytes a number, which does not fit a cache of \(classes) classes with "
          + "at most \(tail.maximumAxes) axes of \(tail.axisBytes) bytes a number")
    }
    self.classes = classes
    self.count = Int(count)
    self.width = Int(width)
    self.trellisAxes = Int(trellisAxes)
    let expected = 4 * (classes + self.count) + self.width * self.count * classes
    guard reader.remaining == expected else {
      throw Problem(
        .corrupt,
        "the subspace axes have \(reader.remaining) bytes after their header, \(expected) belong there"
      )
    }
    let start = reader.offset
    (mean, scales, values) = bytes.withUnsafeBytes { bytes in
      let body = UnsafeRawBufferPointer(rebasing: bytes[start...])
      let mean = SubspaceAxes.floats(body, from: 0, count: classes)
      let scales = SubspaceAxes.floats(body, from: 4 * classes, count: Int(count))
      let codes = UnsafeRawBufferPointer(rebasing: body[(4 * (classes + Int(count)))...])
      return (mean, scales, SubspaceAxes.values(codes, scales, classes, Int(width)) + mean)
    }
    let largest = SubspaceAxes.largestCode(self.width)
    let fine =
      mean.allSatisfy { abs($0) <= Bounds.magnitude }  // false for NaN
      && scales.allSatisfy { $0 >= .leastNormalMagnitude && $0 * largest <= Bounds.magnitude }
      && (0..<self.count).allSatisfy { axis in
        let range = axis * classes..<(axis + 1) * classes
        return values[range].allSatisfy { abs($0) <= largest * scales[axis] }
      }
    guard fine else {
      throw Problem(.corrupt, "the subspace axes hold a number that is out of range")
    }
  }

  private static func floats(
    _ bytes: UnsafeRawBufferPointer, from start: Int, count: Int
  ) -> [Float] {
    (0..<count).map { index in
      let bits = bytes.loadUnaligned(fromByteOffset: start + 4 * index, as: UInt32.self)
      return Float(bitPattern: UInt32(littleEndian: bits))
    }
  }

  private static func values(
    _ codes: UnsafeRawBufferPointer, _ scales: [Float], _ classes: Int, _ width: Int
  ) -> [Float] {
    [Float](unsafeUninitializedCapacity: scales.count * classes) { values, count in
      for axis in 0..<scales.count {
        let scale = scales[axis]
        for index in axis &* classes..<(axis &+ 1) &* classes {
          let code =
            width == 1
            ? Int16(Int8(bitPattern: codes[index]))
            : Int16(
              littleEndian: codes.loadUnaligned(fromByteOffset: 2 &* index, as: Int16.self))
          values[index] = Float(code) * scale
        }
      }
      count = scales.count * classes
    }
  }
}
