import Foundation

/// Makes elements on a second thread, in order and at most `depth` ahead of their use.
///
/// The order is fixed and elements depend on nothing but their place, so results are the same as
/// without the thread.
package final class Prefetcher<Element>: @unchecked Sendable {
  // Sendable: every field below is touched only while `condition` is locked.
  private let condition = NSCondition()
  private let depth: Int
  private var ready: [Element] = []
  private var used: [Element] = []
  private var isFinished = false
  private var isCancelled = false
  private var failure: (any Error)?

  /// Starts the thread.
  ///
  /// - Parameters:
  ///   - elements: how many elements `fill` will be asked for.
  ///   - fresh: makes a new element; called at most depth + 2 times, later elements are reused.
  ///   - fill: writes element number `index` into a fresh or used element.
  package init(
    depth: Int, elements: Int, fresh: @escaping () -> Element,
    fill: @escaping (_ index: Int, _ element: inout Element) throws -> Void
  ) {
    self.depth = depth
    nonisolated(unsafe) let (fresh, fill) = (fresh, fill)  // only the new thread calls them
    let thread = Thread { [self] in
      do {
        for index in 0..<elements {
          guard var element = spare(or: fresh) else { break }
          try fill(index, &element)
          hand(over: element)
        }
        finish(with: nil)
      } catch {
        finish(with: error)
      }
    }
    thread.stackSize = 8 << 20
    thread.start()
  }

  /// The next element; `nil` after the last, or when cancelled.
  ///
  /// - Throws: what `fill` threw.
  package func next() throws -> Element? {
    condition.lock()
    defer { condition.unlock() }
    while ready.isEmpty && !isFinished { condition.wait() }
    if !ready.isEmpty {
      condition.broadcast()
      return ready.removeFirst()
    }
    if let failure { throw failure }
    return nil
  }

  /// Gives an element back, to be filled again.
  package func recycle(_ element: Element) {
    condition.lock()
    used.append(element)
    condition.unlock()
  }

  /// Lets the thread end early; for a consumer that stops before the last element.
  package func cancel() {
    condition.lock()
    isCancelled = true
    condition.broadcast()
    condition.unlock()
  }

  private func spare(or fresh: () -> Element) -> Element? {
    condition.lock()
    defer { condition.unlock() }
    while ready.count >= depth && !isCancelled { condition.wait() }
    if isCancelled { return nil }
    return used.popLast() ?? fresh()
  }

  private func hand(over element: Element) {
    condition.lock()
    ready.append(element)
    condition.broadcast()
    condition.unlock()
  }

  private func finish(with error: (any Error)?) {
    condition.lock()
    failure = error
    isFinished = true
    condition.broadcast()
    condition.unlock()
  }
}
