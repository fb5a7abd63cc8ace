import Basics
import Foundation

/// A folder that is removed when the value goes away.
public final class ScratchFolder {
  /// Where it is.
  public let path: String

  /// Makes an empty folder under the system's temporary folder.
  public init() {
    path = NSTemporaryDirectory() + "logitcache-" + UUID().uuidString
    try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of `name` inside the folder.
  public func file(_ name: String) -> String { path + "/" + name }
}

/// A seeded generator for tests; print the seed when a test fails.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
  private var bits: SplitMix64

  /// Starts at `seed`.
  public init(seed: UInt64) { bits = SplitMix64(seed: seed) }

  /// The next 64 bits.
  public mutating func next() -> UInt64 { bits.next() }

  /// A number from the standard normal distribution (Box-Muller).
  public mutating func normal() -> Double {
    let u = Double.random(in: Double.leastNonzeroMagnitude...1, using: &self)
    let v = Double.random(in: 0..<1, using: &self)
    return (-2 * log(u)).squareRoot() * cos(2 * .pi * v)
  }
}
