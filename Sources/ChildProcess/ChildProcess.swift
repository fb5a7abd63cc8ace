import Basics
import Foundation
import Glibc

/// A program that was started, with its three standard streams in our hands.
///
/// It runs in a process group of its own: the terminal's interrupt does not reach it, and what it started itself
/// ends with it. It inherits no other open files, so two children never hold each other's streams open.
///
/// One thread may read `output`, another `errors`, and any may write.
public final class ChildProcess: @unchecked Sendable {
  // Sendable: `inputIsOpen` is touched only while `writing` is locked, `ending` while `reaping` is.
  /// Its number, also that of its group.
  public let processID: pid_t
  private let input: CInt
  private let output: CInt
  private let errors: CInt
  private let writing = NSLock()
  private var inputIsOpen = true
  private let reaping = NSLock()
  private var ending: Ending?

  /// How a process ended.
  public enum Ending: Equatable, Sendable, CustomStringConvertible {
    /// By itself.
    case exited(code: Int32)
    /// By a signal.
    case signalled(Int32)

    init(waitStatus status: Int32) {
      let signal = status & 0x7F
      self = signal == 0 ? .exited(code: status >> 8 & 0xFF) : .signalled(signal)
    }

    /// "ended with exit code 1" or "was ended by signal 9 (Killed)".
    public var description: String {
      switch self {
      case .exited(let code): "ended with exit code \(code)"
      case .signalled(let signal):
        "was ended by signal \(signal) (\(String(cString: strsignal(signal))))"
      }
    }
  }

  /// Starts a program.
  ///
  /// - Parameters:
  ///   - command: the program and its arguments; a name without a slash is looked up in `PATH`.
  ///   - folder: where it starts, also for a program with a relative path.
  /// - Throws: `Problem(.noInput)` when there is no such program.
  public init(_ command: [String], folder: String) throws {
    precondition(!command.isEmpty, "a command without a program")
    var pipes: [Pipe] = []
    do {
      for _ in 0..<3 { pipes.append(try Pipe()) }
      processID = try spawn(command, folder, pipes[0].reading, pipes[1].writing, pipes[2].writing)
    } catch {
      for pipe in pipes { pipe.close() }
      throw error
    }
    close(pipes[0].reading)
    close(pipes[1].writing)
    close(pipes[2].writing)
    (input, output, errors) = (pipes[0].writing, pipes[1].reading, pipes[2].reading)
    _ = fcntl(input, F_SETFL, O_NONBLOCK)
    guard Children.running.add(self) else {
      kill()
      throw Problem(.interrupted, "cannot start \(command[0]): the program is about to end")
    }
  }

  deinit {
    if inputIsOpen { close(input) }
    close(output)
    close(errors)
  }

  /// Writes to its standard input; waits while it does not read, at most for some seconds.
  ///
  /// What is not written whole closes the input: nothing else may follow a part.
  ///
  /// - Returns: whether all was written; it is not when the process has closed its input, or reads too slowly, or
  ///   when the program was asked to stop while it waited.
  public func write(_ bytes: [UInt8], within seconds: Double) -> Bool {
    writing.withLock {
      guard inputIsOpen else { return false }
      if writeAll(bytes, to: input, within: seconds) { return true }
      inputIsOpen = false
      close(input)
      return false
    }
  }

  /// Reads from its standard output.
  ///
  /// - Returns: `count` bytes; fewer when the output ends before.
  public func readOutput(_ count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while filled < count {
        let rest = UnsafeMutableRawBufferPointer(buffer)[filled...]
        let got = readSome(output, UnsafeMutableRawBufferPointer(rebasing: rest))
        if got == 0 { return }
        filled += got
      }
    }
  }

  /// Reads what there is on its standard error, or waits for some; empty at the end.
  public func readErrors() -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: 4096) { buffer, filled in
      filled = readSome(errors, UnsafeMutableRawBufferPointer(buffer))
    }
  }

  /// Asks it to go: writes last words that it need not hear, and closes its input.
  ///
  /// Does nothing while a thread is still writing to it.
  public func closeInput(after words: [UInt8] = []) {
    guard writing.try() else { return }
    defer { writing.unlock() }
    guard inputIsOpen else { return }
    inputIsOpen = false
    _ = writeAll(words, to: input, within: 0)
    close(input)
  }

  /// Waits until it has ended, at most for some seconds.
  ///
  /// - Returns: whether it has.
  public func waitForEnd(within seconds: Double) -> Bool {
    let clock = ContinuousClock()
    let start = clock.now
    while !hasEnded {
      if (clock.now - start).inSeconds >= seconds { return false }
      usleep(2000)
    }
    return true
  }

  /// Kills it and its group, and takes note of how it ended.
  @discardableResult
  public func kill() -> Ending {
    reaping.withLock {
      if let ending { return ending }
      // Until it is reaped its number cannot be given to another process. Twice, as it may have left its group:
      // then only its own number reaches it, and waiting for it would take as long as it likes.
      _ = Glibc.kill(-processID, SIGKILL)
      _ = Glibc.kill(processID, SIGKILL)
      var status: Int32 = 0
      while waitpid(processID, &status, 0) < 0 && errno == EINTR {}
      let ending = Ending(waitStatus: status)
      self.ending = ending
      Children.running.remove(self)
      return ending
    }
  }

  /// Whether it has ended; it is not reaped by asking.
  private var hasEnded: Bool {
    reaping.withLock {
      if ending != nil { return true }
      var information = siginfo_t()
      let options = WEXITED | WNOHANG | WNOWAIT
      return waitid(P_PID, id_t(processID), &information, options) == 0
        && information.si_signo != 0
    }
  }
}

extension ChildProcess {
  /// Whether no other child may be started, because the program is about to end.
  public static var isProgramEnding: Bool { Children.running.isOver }

  /// Ends all children, and lets no other be started: for the end of the program.
  public static func endAll() {
    let children = Children.running.close()
    for child in children { child.closeInput() }
    for child in children {
      _ = child.waitForEnd(within: 1)
      child.kill()
    }
  }
}

/// The children that have not ended.
private final class Children: @unchecked Sendable {
  // Sendable: every field below is touched only while `lock` is locked.
  static let running = Children()
  private let lock = NSLock()
  private var children: [pid_t: ChildProcess] = [:]
  private var isClosed = false

  var isOver: Bool { lock.withLock { isClosed } }

  /// Takes note of a child; false when it came too late.
  func add(_ child: ChildProcess) -> Bool {
    lock.withLock {
      if !isClosed { children[child.processID] = child }
      return !isClosed
    }
  }

  func remove(_ child: ChildProcess) { lock.withLock { children[child.processID] = nil } }

  func close() -> [ChildProcess] {
    lock.withLock {
      isClosed = true
      return children.sorted { $0.key < $1.key }.map(\.value)
    }
  }
}
