import Arrays
import Basics

/// Sequences of tokens of a few classes that are easy to tell apart, some of them without a label.
public struct SmallTokens: Sendable {
  /// n, the number of sequences.
  public let count: Int
  /// T, the tokens of each.
  public let positions: Int
  /// d, the features of a token.
  public let width: Int
  /// C, the number of classes.
  public let classes: Int
  /// [n, T, d].
  public var features: [Float]
  /// [n, T]; -1 where a token has no label.
  public var labels: [Int32]

  /// Draws sequences; the same seed gives the same ones.
  ///
  /// - Parameter masked: the share of tokens without a label.
  public init(
    count: Int, positions: Int = 5, width: Int = 6, classes: Int = 4, masked: Double = 0.4,
    seed: UInt64 = 1
  ) {
    (self.count, self.positions, self.width, self.classes) = (count, positions, width, classes)
    var generator = SeededGenerator(seed: seed)
    let centres = (0..<classes * width).map { _ in Float(generator.normal()) }
    (features, labels) = ([], [])
    for _ in 0..<count * positions {
      let label = Int.random(in: 0..<classes, using: &generator)
      for number in centres[label * width..<(label + 1) * width] {
        features.append(number + 0.3 * Float(generator.normal()))
      }
      let isMasked = Double.random(in: 0..<1, using: &generator) < masked
      labels.append(isMasked ? -1 : Int32(label))
    }
    // A data set needs one.
    if labels.allSatisfy({ $0 < 0 }) { labels[0] = 0 }
  }

  /// How many tokens have a label.
  public var labelled: Int { labels.count { $0 >= 0 } }

  /// Writes the sequences and a description of them.
  ///
  /// - Returns: the path of `NAME.yaml`, which `openDataSet` reads.
  public func write(to folder: ScratchFolder, name: String = "tokens") throws -> String {
    try write(
      features, [count, positions, width], labels, [count, positions], to: folder, name: name)
  }

  /// Writes the tokens that have a label as samples of their own.
  public func writeLabelled(to folder: ScratchFolder, name: String = "alone") throws -> String {
    let chosen = labels.indices.filter { labels[$0] >= 0 }
    return try write(
      chosen.flatMap { features[$0 * width..<($0 + 1) * width] }, [chosen.count, width],
      chosen.map { labels[$0] }, [chosen.count], to: folder, name: name)
  }

  private func write(
    _ features: [Float], _ shape: [Int], _ labels: [Int32], _ labelShape: [Int],
    to folder: ScratchFolder, name: String
  ) throws -> String {
    try NumPy.write(
      NamedArray(shape: shape, values: .float32(features)),
      to: folder.file("\(name).features.npy"))
    try NumPy.write(
      NamedArray(shape: labelShape, values: .int32(labels)), to: folder.file("\(name).labels.npy"))
    let names = (0..<classes).map { "class \($0)" }.joined(separator: ", ")
    return try folder.write(
      """
      kind: arrays
      name: \(name)
      features: \(name).features.npy
      labels: \(name).labels.npy
      classNames: [\(names)]
      """, to: "\(name).yaml")
  }
}
