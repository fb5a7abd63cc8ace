import Basics
import Foundation
import Pipelines
import TestSupport
import Testing

/// Signals when the last reference to it goes away.
private final class Token: Sendable {
  let gone: DispatchSemaphore
  init(_ gone: DispatchSemaphore) { self.gone = gone }
  deinit { gone.signal() }
}

private let patience = DispatchTimeInterval.seconds(60)

@Suite struct PrefetcherTests {
  @Test(arguments: [1, 2, 5], [0, 1, 200])
  func `elements come in order, and used ones are filled again`(depth: Int, count: Int) throws {
    nonisolated(unsafe) var made = 0
    let prefetcher = Prefetcher<[Int]>(
      depth: depth, elements: count,
      fresh: {
        made += 1
        return []
      },
      fill: { index, element in
        element.removeAll()
        element.append(index)
      })
    var seen: [Int] = []
    while let element = try prefetcher.next() {
      seen += element
      prefetcher.recycle(element)
    }
    #expect(seen == Array(0..<count))
    #expect(made <= depth + 2)
    #expect(try prefetcher.next() == nil)
  }

  @Test func `an error comes after the elements before it`() throws {
    let prefetcher = Prefetcher<Int>(
      depth: 2, elements: 100, fresh: { 0 },
      fill: { index, element in
        if index == 7 { throw Problem(.corrupt, "block 7 is damaged") }
        element = index
      })
    for index in 0..<7 { #expect(try prefetcher.next() == index) }
    let problem = #expect(throws: Problem.self) { try prefetcher.next() }
    #expect(problem?.message == "block 7 is damaged")
  }

  @Test func `a cancelled prefetcher ends its thread and lets go of what it held`() throws {
    let gone = DispatchSemaphore(value: 0)
    var prefetcher: Prefetcher<Int>? = {
      let token = Token(gone)
      return Prefetcher<Int>(
        depth: 2, elements: .max, fresh: { 0 }, fill: { _, _ in withExtendedLifetime(token) {} })
    }()
    #expect(try prefetcher?.next() == 0)
    prefetcher?.cancel()
    prefetcher = nil
    #expect(gone.wait(timeout: .now() + patience) == .success)
  }

  @Test func `nothing comes after cancelling but what was ready`() throws {
    let prefetcher = Prefetcher<Int>(
      depth: 2, elements: .max, fresh: { 0 }, fill: { index, element in element = index })
    #expect(try prefetcher.next() == 0)
    prefetcher.cancel()
    var left = 0
    while try prefetcher.next() != nil { left += 1 }
    #expect(left <= 3)
  }
}

@Suite struct OrderedResultsTests {
  /// Starts threads that take indices and turn them into results, slower or faster by chance.
  private func start(
    _ threads: Int, on results: OrderedResults<Int>, seed: UInt64,
    make: @escaping @Sendable (Int) throws -> Int
  ) -> DispatchGroup {
    let group = DispatchGroup()
    for number in 0..<threads {
      group.enter()
      Thread {
        var generator = SeededGenerator(seed: seed &* 100 &+ UInt64(number))
        while let index = results.claim() {
          usleep(UInt32.random(in: 0...300, using: &generator))
          do {
            results.deliver(try make(index), at: index)
          } catch {
            results.fail(error, at: index)
          }
        }
        group.leave()
      }.start()
    }
    return group
  }

  @Test(arguments: [1, 2, 3, 8], 1...3 as ClosedRange<UInt64>)
  func `results come in order from any number of threads`(threads: Int, seed: UInt64) throws {
    let results = OrderedResults<Int>(count: 100, ahead: 2 * threads)
    let group = start(threads, on: results, seed: seed) { $0 * $0 }
    for index in 0..<100 { #expect(try results.next() == index * index, "seed \(seed)") }
    #expect(group.wait(timeout: .now() + patience) == .success)
  }

  @Test func `work is not claimed far ahead of its use`() throws {
    let results = OrderedResults<Int>(count: 100, ahead: 3)
    for index in 0..<3 { #expect(results.claim() == index) }
    results.deliver(0, at: 0)
    let claimed = DispatchSemaphore(value: 0)
    Thread {
      _ = results.claim()
      claimed.signal()
    }.start()
    #expect(claimed.wait(timeout: .now() + .milliseconds(50)) == .timedOut)
    #expect(try results.next() == 0)
    #expect(claimed.wait(timeout: .now() + patience) == .success)
  }

  @Test(arguments: 1...10 as ClosedRange<UInt64>)
  func `the first error in order is thrown, after every result before it`(seed: UInt64) throws {
    let results = OrderedResults<Int>(count: 100, ahead: 8)
    let group = start(4, on: results, seed: seed) { index in
      if index >= 37 { throw Problem(.corrupt, "block \(index)") }
      return index
    }
    for index in 0..<37 { #expect(try results.next() == index, "seed \(seed)") }
    let problem = #expect(throws: Problem.self) { try results.next() }
    #expect(problem?.message == "block 37", "seed \(seed)")
    #expect(group.wait(timeout: .now() + patience) == .success)
  }

  @Test func `cancelling ends workers that wait`() {
    let results = OrderedResults<Int>(count: 100, ahead: 2)
    let group = start(3, on: results, seed: 1) { $0 }
    results.cancel()
    #expect(group.wait(timeout: .now() + patience) == .success)
    #expect(results.claim() == nil)
  }
}
