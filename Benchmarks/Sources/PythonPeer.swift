import Basics
import Foundation

/// A Python process that does the peers' side of a benchmark (`Benchmarks/Peers`).
///
/// Takes a command a line and answers each with a line of JSON. It only works while it is asked, so it
/// never competes with what is measured here.
final class PythonPeer {
  /// What it calls itself: its libraries and their versions.
  let version: String
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private var received = Data()

  /// What a peer may answer.
  struct Reply: Decodable {
    var version: String?
    var loss: Double?
    var nanoseconds: Double?
    var bytes: Double?
    var sum: Double?
  }

  /// Starts a script of `Benchmarks/Peers` with an interpreter that has what it imports.
  init(python: String, script: String) throws {
    process.executableURL = URL(fileURLWithPath: python)
    process.arguments = ["Benchmarks/Peers/\(script)"]
    process.standardInput = input
    process.standardOutput = output
    do {
      try process.run()
    } catch {
      throw Problem(.noInput, "\(python) cannot be started; tools/bench installs it")
    }
    version = try Self.read(from: output, &received).version ?? "unknown"
  }

  deinit {
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
  }

  /// Sends a command and waits for its answer.
  @discardableResult
  func ask(_ command: String) throws -> Reply {
    try input.fileHandleForWriting.write(contentsOf: Data((command + "\n").utf8))
    return try Self.read(from: output, &received)
  }

  /// Sends a command whose answer is a number.
  func ask(_ command: String, for field: KeyPath<Reply, Double?>) throws -> Double {
    let reply = try ask(command)
    guard let value = reply[keyPath: field] else {
      throw Problem(
        .corrupt, "the Python process answered '\(command)' by something else: \(reply)")
    }
    return value
  }

  private static func read(from pipe: Pipe, _ received: inout Data) throws -> Reply {
    while true {
      if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
        defer { received = Data(received[(end + 1)...]) }
        return try JSONDecoder().decode(Reply.self, from: received[..<end])
      }
      let more = pipe.fileHandleForReading.availableData
      guard !more.isEmpty else {
        throw Problem(
          .inputOutput, "the Python process ended; what it said is above this line")
      }
      received += more
    }
  }
}
