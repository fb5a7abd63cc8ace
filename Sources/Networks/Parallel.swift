import Dispatch

/// Runs the pieces of a layer's work on several threads.
///
/// Work is always cut into the same `pieces`, whatever the number of threads, and sums over pieces are
/// added in order: the thread count never changes a bit of the result.
public struct Parallel: Sendable {
  /// How many pieces a batch is cut into; more threads than this are not used.
  static let pieces = 8

  /// Threads to use, 1...pieces.
  public let threads: Int

  /// Uses up to `threads` threads.
  public init(threads: Int) { self.threads = max(1, min(threads, Self.pieces)) }

  /// Runs `body` for each piece of `0..<count`, empty pieces too; pieces must write disjoint memory.
  func forEachPiece(of count: Int, _ body: (_ piece: Int, _ range: Range<Int>) -> Void) {
    guard threads > 1 else {
      for piece in 0..<Self.pieces { body(piece, Self.range(of: piece, count: count)) }
      return
    }
    // The call returns when every thread is done, and pieces are disjoint: no race.
    nonisolated(unsafe) let body = body
    DispatchQueue.concurrentPerform(iterations: threads) { thread in
      for piece in stride(from: thread, to: Self.pieces, by: threads) {
        body(piece, Self.range(of: piece, count: count))
      }
    }
  }

  static func range(of piece: Int, count: Int) -> Range<Int> {
    (count * piece / pieces)..<(count * (piece + 1) / pieces)
  }
}
