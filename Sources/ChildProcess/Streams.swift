import Basics
import CSpawn
import Foundation
import Glibc

/// Two ends of a pipe that children do not inherit.
struct Pipe {
  let reading: CInt
  let writing: CInt

  init() throws {
    var ends: [CInt] = [-1, -1]
    guard pipe2(&ends, O_CLOEXEC) == 0 else {
      throw Problem(.unavailable, "cannot make a pipe: \(String(cString: strerror(errno)))")
    }
    (reading, writing) = (ends[0], ends[1])
  }

  func close() {
    Glibc.close(reading)
    Glibc.close(writing)
  }
}

/// Starts a program with these standard streams, no other open files, and all signals as they are by default.
func spawn(
  _ command: [String], _ folder: String, _ input: CInt, _ output: CInt, _ errors: CInt
) throws -> pid_t {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
  posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO)
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1)
  posix_spawn_file_actions_addchdir_np(&actions, folder)
  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  var (none, all) = (sigset_t(), sigset_t())
  sigemptyset(&none)
  sigfillset(&all)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setsigdefault(&attributes, &all)
  posix_spawnattr_setpgroup(&attributes, 0)
  posix_spawnattr_setflags(
    &attributes,
    Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
  var process: pid_t = 0
  let code = withCStrings(command) { arguments in
    withCStrings(ProcessInfo.processInfo.environment.map { "\($0)=\($1)" }) { environment in
      posix_spawnp(&process, command[0], &actions, &attributes, arguments, environment)
    }
  }
  guard code == 0 else {
    throw Problem(
      .noInput, "cannot run \(command[0]) in \(folder): \(String(cString: strerror(code)))")
  }
  return process
}

private func withCStrings<Result>(
  _ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
) -> Result {
  let copies = texts.map { strdup($0) }
  defer { for copy in copies { free(copy) } }
  return body(copies + [nil])
}

/// Writes to a pipe that does not block; waits while nobody reads, at most for some seconds, and no longer
/// once the program was asked to stop.
///
/// - Returns: whether all was written.
func writeAll(_ bytes: [UInt8], to pipe: CInt, within seconds: Double) -> Bool {
  let clock = SuspendingClock()
  let start = clock.now
  return bytes.withUnsafeBytes { bytes in
    withoutBrokenPipeSignal {
      var rest = bytes[...]
      while !rest.isEmpty {
        let part = UnsafeRawBufferPointer(rebasing: rest)
        let count = write(pipe, part.baseAddress, part.count)
        if count >= 0 {
          rest = rest.dropFirst(count)
          continue
        }
        let left = seconds - (clock.now - start).inSeconds
        guard errno == EINTR || errno == EAGAIN && left > 0 && !Interruption.isRequested else {
          return false
        }
        // A tenth of a second at most: an interruption is heard by other threads.
        var question = pollfd(fd: pipe, events: Int16(POLLOUT), revents: 0)
        poll(&question, 1, Int32(min(left, 0.1) * 1000))
      }
      return true
    }
  }
}

/// Reads some bytes, at least one; 0 at the end, or when the file cannot be read.
func readSome(_ file: CInt, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
  while true {
    let count = read(file, buffer.baseAddress, buffer.count)
    if count < 0 && errno == EINTR { continue }
    return max(count, 0)
  }
}

/// Keeps the signal away that writing to a closed pipe sends to the thread, and would end the program.
///
/// The program's own output keeps it: it ends when nobody reads its standard output.
func withoutBrokenPipeSignal(_ body: () -> Bool) -> Bool {
  var (broken, before, pending) = (sigset_t(), sigset_t(), sigset_t())
  sigemptyset(&broken)
  sigaddset(&broken, SIGPIPE)
  sigpending(&pending)
  let wasPending = sigismember(&pending, SIGPIPE) == 1
  pthread_sigmask(SIG_BLOCK, &broken, &before)
  let isWritten = body()
  if !isWritten && !wasPending {
    var now = timespec()
    while sigtimedwait(&broken, nil, &now) < 0 && errno == EINTR {}
  }
  pthread_sigmask(SIG_SETMASK, &before, nil)
  return isWritten
}
