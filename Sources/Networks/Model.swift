import Arrays
import Basics

/// How stored numbers become network input: (value - mean) / deviation.
///
/// Pixels are first divided by 255. One mean and one deviation for all channels. Networks that read texts
/// take bytes as they are and do not use it.
public struct Normalisation: Hashable, Sendable {
  /// Subtracted; for pixels on the scale 0...1.
  public var mean: Float
  /// Divided by; > 0.
  public var deviation: Float

  /// Both numbers.
  public init(mean: Float, deviation: Float) {
    self.mean = mean
    self.deviation = deviation
  }

  /// Turns pixels 0...255 into network input of the same count.
  public func apply(_ pixels: Span<UInt8>, into input: inout MutableSpan<Float>) {
    precondition(pixels.count == input.count, "\(pixels.count) pixels for \(input.count) inputs")
    let (factor, offset) = (1 / (255 * deviation), -mean / deviation)
    for i in 0..<pixels.count { input[i] = Float(pixels[i]) * factor + offset }
  }

  /// Turns features into network input of the same count.
  public func apply(_ features: Span<Float>, into input: inout MutableSpan<Float>) {
    precondition(
      features.count == input.count, "\(features.count) values for \(input.count) inputs")
    let (factor, offset) = (1 / deviation, -mean / deviation)
    for i in 0..<features.count { input[i] = features[i] * factor + offset }
  }
}

/// A network with everything needed to use it; one safetensors file.
///
/// The file's metadata says the architecture, input shape, classes, positions if there are several, and
/// normalisation.
public struct Model {
  /// The network.
  public let network: Network
  /// How its input is made.
  public let normalisation: Normalisation

  /// A network and its normalisation.
  public init(network: Network, normalisation: Normalisation) {
    self.network = network
    self.normalisation = normalisation
  }

  /// What the weight file says about itself, as text.
  public var metadata: [String: String] {
    var metadata = [
      "architecture": network.architecture.description,
      "input": network.inputShape.description,
      "classes": String(network.classes),
      "mean": String(normalisation.mean),
      "deviation": String(normalisation.deviation),
    ]
    if network.positions > 1 { metadata["positions"] = String(network.positions) }
    return metadata
  }

  /// Writes the weights, in one step.
  public func save(to path: String) throws {
    try Safetensors.write(
      SafetensorsFile(arrays: network.weights(), metadata: metadata), to: path)
  }

  /// Reads a weight file.
  ///
  /// - Throws: `Problem` naming the file and what is missing or does not fit.
  public static func load(from path: String, parallel: Parallel = Parallel(threads: 1)) throws
    -> Model
  {
    try decode(Files.read(path), source: path, parallel: parallel)
  }

  /// Reads the bytes of a weight file.
  ///
  /// - Throws: `Problem` naming `path` and what is missing or does not fit.
  public static func decode(
    _ bytes: [UInt8], source path: String, parallel: Parallel = Parallel(threads: 1)
  ) throws -> Model {
    let file = try Safetensors.decode(bytes, source: path)
    let model = try blank(describedBy: file.metadata, of: path, parallel: parallel)
    try model.network.load(weights: file.arrays, from: path)
    return model
  }

  private static func blank(
    describedBy metadata: [String: String], of path: String, parallel: Parallel
  ) throws -> Model {
    func entry<T>(_ key: String, _ read: (String) -> T?) throws -> T {
      guard let text = metadata[key], let value = read(text) else {
        throw Problem(
          .corrupt,
          "\(path) is no weight file of this program: its metadata has \(metadata[key].map { "\(key) '\($0)'" } ?? "no '\(key)'")"
        )
      }
      return value
    }
    let shape = try entry("input") { text -> LayerShape? in
      let sides = text.split(separator: "x").compactMap { Int($0) }
      guard sides.count == 3, sides.allSatisfy({ (1...65_536).contains($0) }) else { return nil }
      return LayerShape(height: sides[0], width: sides[1], channels: sides[2])
    }
    let classes = try entry("classes") {
      Int($0).flatMap { (1...(1 << 24)).contains($0) ? $0 : nil }
    }
    let positions =
      metadata["positions"] == nil
      ? 1
      : try entry("positions") { Int($0).flatMap { (2...65_536).contains($0) ? $0 : nil } }
    let mean = try entry("mean") { Float($0).flatMap { $0.isFinite ? $0 : nil } }
    let deviation = try entry("deviation") {
      Float($0).flatMap { $0.isFinite && $0 > 0 ? $0 : nil }
    }
    let network = try Network(
      Architecture(try entry("architecture") { $0 }), input: shape, classes: classes,
      positions: positions, seed: 0, parallel: parallel)
    return Model(network: network, normalisation: Normalisation(mean: mean, deviation: deviation))
  }
}
