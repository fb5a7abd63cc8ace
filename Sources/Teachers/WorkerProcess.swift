import Basics
import ChildProcess
import Foundation

/// Why a worker gives no more answers.
enum WorkerEnd: Error {
  /// It died, in words that follow its name; a new one may do better.
  case died(String)
  /// It broke the protocol or said no; a new one would do the same.
  case refused(Problem)
}

/// A worker that runs, and two threads: one hands out its answers, one passes on its standard error.
final class WorkerProcess: @unchecked Sendable {
  // Sendable: every field that changes is touched only while `condition` is locked.
  private let child: ChildProcess
  private let condition = NSCondition()
  /// What people call it: "worker pets".
  private var name: String
  /// Requests that wait for their answers.
  private var waiting: Set<UInt64> = []
  private var answers: [UInt64: WorkerFrame] = [:]
  private var end: WorkerEnd?
  private var errorsEnded = false

  /// Starts a worker.
  ///
  /// - Parameter name: what it is called until it says so itself.
  init(_ configuration: WorkerConfiguration, name: String) throws {
    child = try ChildProcess(configuration.command, folder: configuration.folder)
    self.name = "worker \(name)"
    Thread { self.handOutAnswers() }.start()
    Thread { self.passOnErrors() }.start()
  }

  /// Sends a hello and waits for the welcome.
  ///
  /// - Throws: `WorkerEnd`.
  func greet(_ hello: [UInt8], within seconds: Int) throws -> WorkerWelcome {
    let frame = WorkerFrame(kind: .hello, request: 0, payload: hello)
    let answer = try ask(frame.bytes, request: 0, within: seconds)
    do {
      let welcome = try WorkerWelcome(answer.payload)
      condition.withLock { name = "worker \(welcome.name)" }
      return welcome
    } catch {
      throw stop(refusal(error))
    }
  }

  /// Sends a frame and waits for the answer; several threads may.
  ///
  /// An interruption ends the waiting at once: what hangs would hold it up for the whole time limit.
  /// - Throws: `WorkerEnd`.
  func ask(_ frame: [UInt8], request: UInt64, within seconds: Int) throws -> WorkerFrame {
    let clock = SuspendingClock()
    let start = clock.now
    var left: Double { Double(seconds) - (clock.now - start).inSeconds }
    condition.withLock { _ = waiting.insert(request) }
    if !child.write(frame, within: Double(seconds)), left > 0 {
      if Interruption.isRequested { throw interrupted(request) }
      // It reads no more: then it is about to end, or useless.
      if !child.waitForEnd(within: 1) { throw stop(.died("closed its standard input")) }
    }
    while true {
      if let answer = try wait(for: request, atMost: min(left, 0.1)) { return answer }
      if left <= 0 { throw stop(.died("gave no answer within \(seconds) s")) }
      if Interruption.isRequested { throw interrupted(request) }
    }
  }

  private func interrupted(_ request: UInt64) -> WorkerEnd {
    let waited = request == 0 ? "waiting for a worker to be ready" : "waiting for a worker"
    return stop(.refused(Interruption.problem(after: waited)))
  }

  /// Says goodbye; it ends by itself, or is killed a second later (`kill`).
  func leave() {
    child.closeInput(after: WorkerFrame(kind: .goodbye, request: 0, payload: []).bytes)
  }

  /// Kills it unless it ends within some seconds.
  func kill(after seconds: Double) {
    _ = child.waitForEnd(within: seconds)
    child.kill()
  }

  /// The answer, if it comes within some seconds.
  private func wait(for request: UInt64, atMost seconds: Double) throws -> WorkerFrame? {
    condition.lock()
    defer { condition.unlock() }
    if answers[request] == nil && end == nil {
      _ = condition.wait(until: Date(timeIntervalSinceNow: seconds))
    }
    if let answer = answers.removeValue(forKey: request) { return answer }
    if let end { throw end }
    return nil
  }

  /// Kills it, for a reason.
  ///
  /// - Returns: why it ended: the first reason that there was.
  private func stop(_ reason: WorkerEnd) -> WorkerEnd {
    let first = condition.withLock {
      let first = end ?? reason
      end = first
      condition.broadcast()
      return first
    }
    child.kill()
    return first
  }

  /// A refusal, with the worker's name before what is wrong.
  private func refusal(_ error: any Error) -> WorkerEnd {
    let kind = (error as? Problem)?.kind ?? .corrupt
    return .refused(Problem(kind, "\(condition.withLock { name }) \(error)"))
  }
}

extension WorkerProcess {
  private func handOutAnswers() {
    do {
      while let frame = try WorkerFrame.read(child.readOutput) { try handOut(frame) }
      let isOver = child.waitForEnd(within: 1)
      let ending = child.kill()
      finish(.died(isOver ? "\(ending)" : "closed its standard output"))
    } catch {
      finish(refusal(error))
    }
  }

  private func handOut(_ frame: WorkerFrame) throws {
    switch frame.kind {
    case .error:
      let words = String(decoding: frame.payload, as: UTF8.self)
      throw Problem(.unavailable, "says: \(words.isEmpty ? "no, and not why" : words)")
    case .welcome where frame.request == 0, .logits where frame.request > 0:
      try condition.withLock {
        guard waiting.remove(frame.request) != nil else {
          throw Problem(.corrupt, "answered the request \(frame.request), which is not open")
        }
        answers[frame.request] = frame
        condition.broadcast()
      }
    default:
      throw Problem(
        .corrupt, "sent a frame of type \(frame.kind) for the request \(frame.request)")
    }
  }

  /// Takes note of the end, once all that it wrote to standard error was passed on.
  private func finish(_ reason: WorkerEnd) {
    kill(after: 1)
    condition.lock()
    let patience = Date(timeIntervalSinceNow: 1)
    while !errorsEnded, condition.wait(until: patience) {}
    condition.unlock()
    _ = stop(reason)
  }

  private func passOnErrors() {
    var line: [UInt8] = []
    func passOn() {
      let start = isatty(STDERR_FILENO) == 1 ? "\r\u{1B}[K" : ""
      let text = String(
        decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line[...], as: UTF8.self)
      StandardError.write("\(start)\(condition.withLock { name }): \(text)\n")
      line.removeAll(keepingCapacity: true)
    }
    while case let bytes = child.readErrors(), !bytes.isEmpty {
      for byte in bytes {
        if byte != UInt8(ascii: "\n") { line.append(byte) }
        if byte == UInt8(ascii: "\n") || line.count == 65536 { passOn() }
      }
    }
    if !line.isEmpty { passOn() }
    condition.withLock {
      errorsEnded = true
      condition.broadcast()
    }
  }
}
