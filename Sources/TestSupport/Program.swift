import Basics
import Foundation

/// How a run of the command line ended.
public struct ProgramResult: Sendable {
  /// The exit code; `nil` when a signal ended it.
  public let exitCode: Int32?
  /// The signal that ended it, if one did.
  public let signal: Int32?
  /// What it wrote to standard output.
  public let output: String
  /// What it wrote to standard error.
  public let errors: String
  /// Wall time.
  public let seconds: Double
}

/// The command line while it runs.
public struct RunningProgram {
  /// Its process.
  public let processID: pid_t
  /// Wall time since it was started.
  public let seconds: Double

  /// Sends it a signal.
  public func send(_ signal: Int32) { kill(processID, signal) }

  /// The most memory that it had in use so far, in bytes; `nil` when it is about to end.
  public var peakMemory: Int? {
    guard let text = try? String(contentsOfFile: "/proc/\(processID)/status", encoding: .utf8),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
      let kilobytes = line.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
    else { return nil }
    return kilobytes * 1024
  }

  /// The processes that it started and that have not ended.
  public var children: [pid_t] {
    let numbers = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return numbers.compactMap { pid_t($0) }.filter { process in
      let text = (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)) ?? ""
      // After the name in parentheses: state, parent, ....
      let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
      return fields.count > 2 && fields[1] != "Z" && pid_t(fields[2]) == processID
    }
  }

  /// The paths of the files that it has open.
  public var openFiles: [String] {
    let folder = "/proc/\(processID)/fd/"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.compactMap {
      try? FileManager.default.destinationOfSymbolicLink(atPath: folder + $0)
    }
  }
}

/// The built command line program, which stands beside the test bundle.
public enum Program {
  /// Where it is.
  ///
  /// - Throws: `Problem` when it has not been built.
  public static var path: String { get throws { try path(of: "logitcache") } }

  private static func path(of name: String) throws -> String {
    let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let path = (tests as NSString).deletingLastPathComponent + "/" + name
    guard Files.exists(path) else {
      throw Problem(
        .noInput, "\(path) is missing: build it with swift build -c release --build-tests")
    }
    return path
  }

  /// A run that takes longer is ended: a test that hangs must fail.
  private static let patience = 300.0

  /// Runs the program to its end.
  ///
  /// - Parameters:
  ///   - name: another of our programs.
  ///   - environment: variables to set, or to remove (`nil`).
  ///   - standardOutput: where its output goes instead of into the result, such as `/dev/full`.
  ///   - standardError: the same for what it says on standard error.
  ///   - watch: called every two milliseconds while it runs.
  public static func run(
    _ arguments: [String], of name: String = "logitcache", environment: [String: String?] = [:],
    standardOutput: String? = nil, standardError: String? = nil,
    watch: (RunningProgram) -> Void = { _ in }
  ) throws -> ProgramResult {
    let folder = ScratchFolder()
    let clock = ContinuousClock()
    let start = clock.now
    func seconds() -> Double { (clock.now - start) / .seconds(1) }
    let process = try spawn(
      [path(of: name)] + arguments, environment, output: standardOutput ?? folder.file("output"),
      errors: standardError ?? folder.file("errors"))
    var status: Int32 = 0
    while waitpid(process, &status, WNOHANG) == 0 {
      let running = RunningProgram(processID: process, seconds: seconds())
      if running.seconds > patience { running.send(SIGKILL) }
      watch(running)
      usleep(2000)
    }
    let signal = status & 0x7F
    return ProgramResult(
      exitCode: signal == 0 ? status >> 8 & 0xFF : nil, signal: signal == 0 ? nil : signal,
      output: try standardOutput == nil ? text(folder.file("output")) : "",
      errors: try standardError == nil ? text(folder.file("errors")) : "",
      seconds: seconds())
  }

  private static func text(_ path: String) throws -> String {
    String(decoding: try Files.read(path), as: UTF8.self)
  }

  private static func spawn(
    _ arguments: [String], _ changes: [String: String?], output: String, errors: String
  ) throws -> pid_t {
    var environment = ProcessInfo.processInfo.environment
    for (name, value) in changes { environment[name] = value }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    let writing = O_WRONLY | O_CREAT | O_TRUNC
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output, writing, 0o644)
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors, writing, 0o644)
    // Tests run on threads of Dispatch, which block signals; the program must hear them.
    var attributes = posix_spawnattr_t()
    var heard = sigset_t()
    sigemptyset(&heard)
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setsigmask(&attributes, &heard)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var process: pid_t = 0
    let code = withCStrings(arguments) { arguments in
      withCStrings(environment.map { "\($0)=\($1)" }) { environment in
        posix_spawn(&process, arguments[0]!, &actions, &attributes, arguments, environment)
      }
    }
    guard code == 0 else {
      throw Problem(.noInput, "cannot run \(arguments[0]): \(String(cString: strerror(code)))")
    }
    return process
  }

  private static func withCStrings<Result>(
    _ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
  ) -> Result {
    let copies = texts.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return body(copies + [nil])
  }
}
