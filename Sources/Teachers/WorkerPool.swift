import Basics
import ChildProcess
import Foundation

/// Workers side by side, shared by all threads; those that die are started again.
///
/// Whoever finds a place empty starts the worker for it. A batch that a worker died with is sent again by the
/// session that waits for it, which still has it.
final class WorkerPool: @unchecked Sendable {
  // Sendable: every field that changes is touched only while `condition` is locked.
  /// What the first worker said; all others must say the same.
  let welcome: WorkerWelcome
  private let configuration: WorkerConfiguration
  private let hello: [UInt8]
  private let condition = NSCondition()
  private var places: [Place]
  private var restarts = 0
  private var lastRequest: UInt64 = 0
  /// What ends all sessions.
  private var failure: Problem?

  /// Where a worker is or may be.
  private struct Place {
    var worker: WorkerProcess?
    var isStarting = false
    /// Whether it had a worker that died.
    var isBereft = false
    /// Batches that its worker has.
    var inFlight = 0
  }

  /// Starts the first worker.
  ///
  /// - Throws: `Problem` when it cannot be started, ends, or says no.
  init(_ configuration: WorkerConfiguration, hello: [UInt8]) throws {
    self.configuration = configuration
    self.hello = hello
    let worker = try WorkerProcess(configuration, name: configuration.commandName)
    do {
      welcome = try worker.greet(hello, within: configuration.timeout)
    } catch WorkerEnd.died(let how) {
      throw Problem(
        .unavailable,
        "worker \(configuration.commandName) \(how) before it was ready: run its command by hand, in "
          + "\(configuration.folder), to see why: \(configuration.command.joined(separator: " "))")
    } catch WorkerEnd.refused(let problem) {
      throw problem
    }
    places = [Place](repeating: Place(), count: configuration.processes)
    places[0].worker = worker
  }

  deinit {
    let workers = places.compactMap(\.worker)
    for worker in workers { worker.leave() }
    for worker in workers { worker.kill(after: 1) }
  }

  /// Gives the answer to a batch, whatever dies meanwhile.
  ///
  /// - Parameter frame: a frame of a batch; its header is written here.
  /// - Throws: `Problem` that ends the work.
  func answer(to frame: inout [UInt8]) throws -> WorkerFrame {
    while true {
      let (place, worker, request) = try claim()
      WorkerFrame.writeHeader(.batch, request, into: &frame)
      do {
        let answer = try worker.ask(frame, request: request, within: configuration.timeout)
        release(place, of: worker)
        return answer
      } catch WorkerEnd.died(let how) {
        try bury(worker, at: place, how)
      } catch WorkerEnd.refused(let problem) {
        throw fail(problem)
      }
    }
  }

  /// A worker that takes a batch now, and the batch's number.
  private func claim() throws -> (place: Int, WorkerProcess, request: UInt64) {
    condition.lock()
    defer { condition.unlock() }
    while true {
      if let failure { throw failure }
      let ready = places.indices.filter { places[$0].worker != nil }
      let idlest = ready.min { places[$0].inFlight < places[$1].inFlight }
      let empty = places.indices.first { places[$0].worker == nil && !places[$0].isStarting }
      if let place = idlest, places[place].inFlight == 0 || empty == nil,
        places[place].inFlight < configuration.inFlight
      {
        places[place].inFlight += 1
        lastRequest += 1
        return (place, places[place].worker!, lastRequest)
      }
      if let empty {
        try start(at: empty)
      } else {
        condition.wait()
      }
    }
  }

  /// Fills an empty place; the lock is held before and after, not while the worker gets ready.
  private func start(at place: Int) throws {
    places[place].isStarting = true
    let isRestart = places[place].isBereft
    condition.unlock()
    let outcome = Result { try startWorker(at: place, isRestart: isRestart) }
    condition.lock()
    places[place].isStarting = false
    condition.broadcast()
    switch outcome {
    case .success(let worker): places[place].worker = worker
    case .failure(WorkerEnd.died(let how)): try countDeath(how + " before it was ready")
    case .failure(WorkerEnd.refused(let problem)): throw noteFailure(problem)
    case .failure(let error): throw noteFailure(error)
    }
  }

  private func startWorker(at place: Int, isRestart: Bool) throws -> WorkerProcess {
    let worker = try WorkerProcess(configuration, name: welcome.name)
    let other = try worker.greet(hello, within: configuration.timeout)
    guard other == welcome else {
      worker.kill(after: 0)
      let what =
        isRestart
        ? " was started again and is another teacher"
        : ", process \(place + 1) of \(places.count), is another teacher than the first"
      throw Problem(
        .corrupt, "worker \(welcome.name)\(what): \(other.differences(from: welcome))")
    }
    return worker
  }

  private func release(_ place: Int, of worker: WorkerProcess) {
    condition.withLock {
      if places[place].worker === worker { places[place].inFlight -= 1 }
      condition.broadcast()
    }
  }

  /// Takes a dead worker away; of all sessions that had batches there, the first does it.
  private func bury(_ worker: WorkerProcess, at place: Int, _ how: String) throws {
    condition.lock()
    defer { condition.unlock() }
    guard places[place].worker === worker else { return }
    places[place] = Place(isBereft: true)
    condition.broadcast()
    try countDeath(how)
  }

  /// - Throws: `Problem` when workers have been started again often enough.
  private func countDeath(_ how: String) throws {
    guard !ChildProcess.isProgramEnding else {
      throw noteFailure(Problem(.interrupted, "the program is about to end"))
    }
    guard restarts < configuration.restarts else {
      throw noteFailure(
        Problem(
          .unavailable,
          "worker \(welcome.name) \(how), after \(counted(restarts, "restart")): what is finished is kept; see "
            + "to the worker, or set restarts in \(configuration.path), and run the same command again"
        ))
    }
    restarts += 1
    StandardError.write(
      "worker \(welcome.name) \(how): it is started again (\(restarts) of at most "
        + "\(configuration.restarts) times)\n")
  }

  private func fail(_ error: any Error) -> any Error { condition.withLock { noteFailure(error) } }

  /// Lets all sessions end; the lock is held.
  private func noteFailure(_ error: any Error) -> any Error {
    if failure == nil { failure = error as? Problem }
    condition.broadcast()
    return error
  }
}

extension WorkerConfiguration {
  /// What a worker is called until it says so itself: its program.
  var commandName: String { (command[0] as NSString).lastPathComponent }
}
