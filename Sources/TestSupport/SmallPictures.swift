import Arrays
import Basics

/// Grey pictures of a few classes that are easy to tell apart: a random pattern per class, and noise.
public struct SmallPictures: Sendable {
  /// n, the number of pictures.
  public let count: Int
  /// Height and width.
  public let side: Int
  /// C, the number of classes.
  public let classes: Int
  /// All pictures, [n, side, side].
  public var pixels: [UInt8]
  /// A label of every picture.
  public var labels: [Int32]

  /// Draws pictures; the same seed gives the same ones.
  public init(count: Int, side: Int = 8, classes: Int = 4, seed: UInt64 = 1) {
    self.count = count
    self.side = side
    self.classes = classes
    var generator = SeededGenerator(seed: seed)
    let patterns = (0..<classes).map { _ in
      (0..<side * side).map { _ in UInt64(generator.next() >> 63) * 120 + 40 }
    }
    labels = (0..<count).map { _ in Int32(generator.next() % UInt64(classes)) }
    pixels = []
    pixels.reserveCapacity(count * side * side)
    for label in labels {
      // Eight pixels' noise, 0...63 each, from one draw.
      var noise: UInt64 = 0
      for (place, value) in patterns[Int(label)].enumerated() {
        noise = place % 8 == 0 ? generator.next() : noise >> 8
        pixels.append(UInt8(value + noise & 63))
      }
    }
  }

  /// Writes the pictures and a description of them.
  ///
  /// - Returns: the path of `NAME.yaml`, which `openDataSet` reads.
  public func write(to folder: ScratchFolder, name: String = "data") throws -> String {
    try NumPy.write(
      NamedArray(shape: [count, side, side], values: .uint8(pixels)),
      to: folder.file("\(name).images.npy"))
    return try describe("images", in: folder, name)
  }

  /// Writes the pictures as features, pixels / 255, and a description of them.
  public func writeFeatures(to folder: ScratchFolder, name: String = "features") throws -> String {
    try NumPy.write(
      NamedArray(shape: [count, side * side], values: .float32(pixels.map { Float($0) / 255 })),
      to: folder.file("\(name).features.npy"))
    return try describe("features", in: folder, name)
  }

  private func describe(
    _ member: String, in folder: ScratchFolder, _ name: String
  ) throws -> String {
    try NumPy.write(
      NamedArray(shape: [count], values: .int32(labels)), to: folder.file("\(name).labels.npy"))
    let names = (0..<classes).map { "class \($0)" }.joined(separator: ", ")
    return try folder.write(
      """
      kind: arrays
      name: \(name)
      \(member): \(name).\(member).npy
      labels: \(name).labels.npy
      classNames: [\(names)]
      """, to: "\(name).yaml")
  }
}

extension ScratchFolder {
  /// Writes a text file.
  ///
  /// - Returns: its path.
  @discardableResult
  public func write(_ text: String, to name: String) throws -> String {
    try Files.writeAtomically(text + "\n", to: file(name))
    return file(name)
  }
}
