import Arrays
import Basics
import Networks

/// The state of a training run after a whole epoch, in one safetensors file.
///
/// Sample order and views are functions of seed and epoch, so weights, running statistics, momentum
/// and the epoch are all there is to resume bit for bit.
struct Checkpoint {
  private static let weightPrefix = "weight/"
  private static let momentumPrefix = "momentum/"
  private static let projectorPrefix = "projector/"

  let plan: TrainingPlan
  let epochsDone: Int
  private let arrays: [String: NamedArray]

  /// Writes the state of `network`, and of what projects its features, in one step.
  static func write(
    _ network: Network, _ projector: Projector?, plan: TrainingPlan, epochsDone: Int,
    to path: String
  ) throws {
    var arrays = state(of: network.parameters, prefix: "")
    arrays.merge(state(of: projector?.parameters ?? [], prefix: projectorPrefix)) { $1 }
    let metadata = ["plan": try canonicalJSON(plan), "epochsDone": String(epochsDone)]
    try Safetensors.write(SafetensorsFile(arrays: arrays, metadata: metadata), to: path)
  }

  private static func state(
    of parameters: [Parameter], prefix: String
  ) -> [String: NamedArray] {
    var arrays: [String: NamedArray] = [:]
    for (name, array) in parameters.weights() { arrays[prefix + weightPrefix + name] = array }
    for (name, array) in parameters.momentum() { arrays[prefix + momentumPrefix + name] = array }
    return arrays
  }

  /// Reads a checkpoint file.
  ///
  /// - Throws: `Problem(.corrupt)` naming the file when it is no checkpoint.
  static func read(_ path: String) throws -> Checkpoint {
    let file = try Safetensors.read(path)
    guard let text = file.metadata["plan"],
      let epochs = file.metadata["epochsDone"].flatMap({ Int($0) })
    else {
      throw Problem(
        .corrupt, "\(path) is not a checkpoint of this program; choose another --out folder")
    }
    let plan = try decode(TrainingPlan.self, from: text, source: path)
    return Checkpoint(plan: plan, epochsDone: epochs, arrays: file.arrays)
  }

  /// Puts the state into a network of the same architecture, and into its projector.
  func restore(_ network: Network, _ projector: Projector?, from path: String) throws {
    try network.load(weights: named(Self.weightPrefix), from: path)
    try network.parameters.load(
      momentum: named(Self.momentumPrefix), from: path, owner: "a \(network.architecture)")
    guard let projector else { return }
    let prefix = Self.projectorPrefix
    try projector.parameters.load(
      weights: named(prefix + Self.weightPrefix), from: path, owner: "a projector of this width")
    try projector.parameters.load(
      momentum: named(prefix + Self.momentumPrefix), from: path, owner: "a projector of this width")
  }

  private func named(_ prefix: String) -> [String: NamedArray] {
    Dictionary(
      uniqueKeysWithValues: arrays.compactMap { name, array in
        name.hasPrefix(prefix) ? (String(name.dropFirst(prefix.count)), array) : nil
      })
  }
}
