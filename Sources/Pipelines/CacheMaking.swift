import Basics
import LogitCache

/// Where a cache is made, and how: nothing that decides its content.
package struct CacheMaking: Sendable {
  /// The command that makes it, for its progress.
  package var command: String
  /// The cache's folder.
  package var cache: String
  /// Blocks worked on at once.
  package var threads: Int
  /// Seconds of work between commits.
  package var commitSeconds: Double
  /// The part of the work to do; `nil` for all of it.
  package var shard: Shard?
  /// A cache of the same job that learned already; `nil` to learn by itself.
  package var calibration: String?

  /// All settings.
  package init(
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
package struct KeptRecord: Sendable {
  /// Classes of the head; `nil` for all of up to 64 classes, else 20, or 10 with full rows.
  package var k: Int?
  /// Keep full rows beside the head; `nil` not to.
  package var tail: SubspaceTail?
  /// Keep the order of the classes behind the head; `nil` not to.
  package var ranking: Ranking?

  /// All settings.
  package init(k: Int? = nil, tail: SubspaceTail? = nil, ranking: Ranking? = nil) {
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
