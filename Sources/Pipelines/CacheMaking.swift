import Basics
import LogitCache

/// Where a cache is made, and how: nothing that decides its content.
public struct CacheMaking: Sendable {
  /// The command that makes it, for its progress.
  public var command: String
  /// The cache's folder.
  public var cache: String
  /// Blocks worked on at once.
  public var threads: Int
  /// Seconds of work between commits.
  public var commitSeconds: Double
  /// The part of the work to do; `nil` for all of it.
  public var shard: Shard?
  /// A cache of the same job that learned already; `nil` to learn by itself.
  public var calibration: String?

  /// All settings.
  public init(
    command: String, cache: String, threads: Int, commitSeconds: Double, shard: Shard? = nil,
    calibration: String? = nil
  ) {
    self.command = command
    self.cache = cache
    self.threads = threads
    self.commitSeconds = commitSeconds
    self.shard = shard
    self.calibration = calibration
  }
}

/// What is kept of a row.
public struct KeptRecord: Sendable {
  /// Classes of the head; `nil` for all of up to 64 classes, else 20, or 10 with full rows.
  public var k: Int?
  /// Keep full rows beside the head; `nil` not to.
  public var tail: SubspaceTail?
  /// Keep the order of the classes behind the head; `nil` not to.
  public var ranking: Ranking?

  /// All settings.
  public init(k: Int? = nil, tail: SubspaceTail? = nil, ranking: Ranking? = nil) {
    (self.k, self.tail, self.ranking) = (k, tail, ranking)
  }
}

extension KeptRecord {
  /// How many of so many classes are kept.
  ///
  /// - Throws: `Problem(.usage)` when there are not so many, or no others are left.
  func headClasses(of classes: Int) throws -> Int {
    let k = k ?? (classes <= 64 ? classes : tail == nil ? 20 : 10)
    guard (1...classes).contains(k) else {
      throw Problem(.usage, "--k is \(k), it must be in 1...\(classes), the number of classes")
    }
    guard tail == nil || k < classes else {
      throw Problem(
        .usage,
        "--tail subspace keeps the classes that --k leaves out, and all \(classes) are kept: "
          + "choose a smaller --k, or leave out --tail")
    }
    guard ranking == nil || k < classes else {
      throw Problem(
        .usage,
        "--ranking full keeps the order of the classes that --k leaves out, and all \(classes) are kept, "
          + "in order: leave out --ranking, or choose a smaller --k")
    }
    return k
  }
}
