import Basics

/// One part of the work on a cache: shard I of N makes a run of blocks in key order.
///
/// The shards of a cache differ by at most one block, and are the same on every machine. A shard decides
/// who makes a block, never its bytes.
public struct Shard: Hashable, Sendable, Codable, CustomStringConvertible {
  /// I, 1...N.
  public let index: Int
  /// N, 1...100,000.
  public let count: Int

  /// The most shards.
  public static let limit = 100_000

  /// Shard `index` of `count`; `nil` unless 1 <= index <= count <= 100,000.
  public init?(_ index: Int, of count: Int) {
    guard (1...Shard.limit).contains(count), (1...count).contains(index) else { return nil }
    self.index = index
    self.count = count
  }

  /// Reads "3/16"; `nil` for anything else.
  public init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
    guard parts.count == 2, let index = parts[0], let count = parts[1] else { return nil }
    self.init(index, of: count)
    if description != text { return nil }
  }

  /// "3/16".
  public var description: String { "\(index)/\(count)" }

  /// The positions of its blocks in key order; empty when there are more shards than blocks.
  public func blocks(of manifest: Manifest) -> Range<Int> {
    let (each, more) = manifest.blockCount.quotientAndRemainder(dividingBy: count)
    func start(_ number: Int) -> Int { number * each + min(number, more) }
    return start(index - 1)..<start(index)
  }

  /// Reads "3/16".
  public init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let shard = Shard(text) else {
      throw Problem(.corrupt, "'\(text)' is not a shard such as 3/16")
    }
    self = shard
  }

  /// Writes "3/16".
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
