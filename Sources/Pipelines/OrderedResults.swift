import Foundation

/// Results made by several threads and used by one, in order.
///
/// Workers claim the next index, at most `ahead` beyond what was used, so memory stays bounded
/// however long one result takes.
package final class OrderedResults<Element: Sendable>: @unchecked Sendable {
  // Sendable: every field below is touched only while `condition` is locked.
  private let condition = NSCondition()
  private let count: Int
  private let ahead: Int
  private var claimed = 0
  private var used = 0
  private var results: [Int: Element] = [:]
  /// The first failure in the order of results.
  private var failure: (index: Int, error: any Error)?
  private var isCancelled = false

  package init(count: Int, ahead: Int) {
    self.count = count
    self.ahead = ahead
  }

  /// The next index to work on; `nil` when there is nothing left to do.
  package func claim() -> Int? {
    condition.lock()
    defer { condition.unlock() }
    while claimed < count, claimed >= used + ahead, !isOver { condition.wait() }
    guard claimed < count, !isOver else { return nil }
    claimed += 1
    return claimed - 1
  }

  /// Hands over the result of an index.
  package func deliver(_ element: Element, at index: Int) {
    condition.lock()
    results[index] = element
    condition.broadcast()
    condition.unlock()
  }

  /// Ends the work with an error in the place of a result.
  package func fail(_ error: any Error, at index: Int) {
    condition.lock()
    if index < failure?.index ?? .max { failure = (index, error) }
    condition.broadcast()
    condition.unlock()
  }

  /// The next result in order; waits for it.
  ///
  /// - Throws: what a worker failed with, once the results before it have been used. Indices are
  ///   claimed in order, so these are all under way, and the same error comes first in every run.
  package func next() throws -> Element {
    condition.lock()
    defer { condition.unlock() }
    while results[used] == nil {
      if let failure, failure.index <= used { throw failure.error }
      condition.wait()
    }
    guard let element = results.removeValue(forKey: used) else { preconditionFailure() }
    used += 1
    condition.broadcast()
    return element
  }

  /// Lets workers end after what they are doing.
  package func cancel() {
    condition.lock()
    isCancelled = true
    condition.broadcast()
    condition.unlock()
  }

  private var isOver: Bool { isCancelled || failure != nil }
}
