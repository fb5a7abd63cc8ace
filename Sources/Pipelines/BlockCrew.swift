import Foundation
import LogitCache

/// What is known once a cache has learned: how blocks are packed.
struct CalibratedJob: Sendable {
  var manifest: Manifest
  var calibration: Calibration
}

/// Threads that make blocks, each through augmentation, teacher and encoding, so that the three overlap.
///
/// First they measure the blocks that the cache learns from, then the others. While the learning lasts they
/// already measure the next blocks, one each, and pack them when it is done.
final class BlockCrew: Sendable {
  /// The blocks to learn from.
  let learning: [BlockKey]
  /// The blocks to make after that.
  let writing: [BlockKey]
  /// Of `learning`, in its order.
  let measured: OrderedResults<MeasuredBlock>
  /// Of `writing`, in its order.
  let encoded: OrderedResults<EncodedBlock>
  /// Settled by whoever learns.
  let calibrated = Awaited<CalibratedJob>()
  private let threads: Int

  /// Takes the teacher over a block; `true` keeps what learning needs.
  typealias Measure = (BlockKey, Bool) throws -> MeasuredBlock

  init(learning: [BlockKey], writing: [BlockKey], threads: Int) {
    self.learning = learning
    self.writing = writing
    self.threads = min(threads, max(learning.count, writing.count))
    measured = OrderedResults(count: learning.count, ahead: learning.count)
    encoded = OrderedResults(count: writing.count, ahead: 2 * threads)
  }

  /// Starts the threads; each makes a worker of its own.
  func start(_ makeWorker: @escaping @Sendable () throws -> Measure) {
    for _ in 0..<threads {
      let thread = Thread { self.work(makeWorker) }
      thread.stackSize = 8 << 20
      thread.start()
    }
  }

  /// Lets the threads end after what they are doing.
  func cancel() {
    measured.cancel()
    encoded.cancel()
    calibrated.cancel()
  }

  private func work(_ makeWorker: () throws -> Measure) {
    var place = 0
    do {
      let measure = try makeWorker()
      while let index = measured.claim() {
        place = index
        measured.deliver(try measure(learning[index], true), at: index)
      }
      place = learning.count
      var encoder: BlockEncoder?
      while let index = encoded.claim() {
        place = learning.count + index
        let block = try measure(writing[index], false)
        if encoder == nil {
          guard let job = calibrated.wait() else { return }
          encoder = try BlockEncoder(manifest: job.manifest, calibration: job.calibration)
        }
        encoded.deliver(try encoder!.pack(block), at: index)
      }
    } catch {
      if place < learning.count {
        measured.fail(error, at: place)
      } else {
        encoded.fail(error, at: place - learning.count)
      }
    }
  }
}

/// A value that one thread settles and others wait for.
final class Awaited<Value: Sendable>: @unchecked Sendable {
  // Sendable: every field below is touched only while `condition` is locked.
  private let condition = NSCondition()
  private var value: Value?
  private var isCancelled = false

  /// Gives the value to all who wait.
  func settle(_ value: Value) {
    condition.lock()
    self.value = value
    condition.broadcast()
    condition.unlock()
  }

  /// Lets those who wait go without a value.
  func cancel() {
    condition.lock()
    isCancelled = true
    condition.broadcast()
    condition.unlock()
  }

  /// The value, once it is settled; `nil` when it never will be.
  func wait() -> Value? {
    condition.lock()
    defer { condition.unlock() }
    while value == nil && !isCancelled { condition.wait() }
    return value
  }
}
