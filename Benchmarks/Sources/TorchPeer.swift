import Arrays
import Basics
import Foundation

/// A Python process that computes the losses with PyTorch (`Benchmarks/Peers/losses.py`).
///
/// It only works while it is asked, so it never competes with what is measured here.
final class TorchPeer {
  /// PyTorch's version and the vectors it uses.
  let version: String
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private var received = Data()

  /// Starts `Benchmarks/Peers/losses.py` with an interpreter that has PyTorch.
  init(python: String) throws {
    process.executableURL = URL(fileURLWithPath: python)
    process.arguments = ["Benchmarks/Peers/losses.py"]
    process.standardInput = input
    process.standardOutput = output
    do {
      try process.run()
    } catch {
      throw Problem(.noInput, "\(python) cannot be started; 'tools/bench losses' installs it")
    }
    version = try Self.read(Reply.self, from: output, &received).version ?? "unknown"
  }

  deinit {
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
  }

  /// Reads the inputs of a case from a folder.
  func load(_ folder: String) throws { _ = try ask("load \(folder)") }

  /// The value and the gradient [B, C] of a loss; `folder` is for passing the gradient.
  func evaluate(_ loss: String, passing folder: String) throws -> (loss: Double, gradient: [Float])
  {
    let file = folder + "/gradient.npy"
    let value = try number(\.loss, of: try ask("check \(loss) \(file)"))
    guard case .float32(let gradient) = try NumPy.read(file).values else {
      throw Problem(.corrupt, "\(file) does not hold 32-bit floats")
    }
    return (value, gradient)
  }

  /// The least nanoseconds of a forward and backward pass, from about `seconds` of trying.
  func fastest(_ loss: String, seconds: Double) throws -> Double {
    try number(\.nanoseconds, of: try ask("time \(loss) \(seconds)"))
  }

  private struct Reply: Decodable {
    var version: String?
    var loss: Double?
    var nanoseconds: Double?
  }

  private func number(_ field: KeyPath<Reply, Double?>, of reply: Reply) throws -> Double {
    guard let value = reply[keyPath: field] else {
      throw Problem(.corrupt, "the PyTorch process answered something else: \(reply)")
    }
    return value
  }

  private func ask(_ command: String) throws -> Reply {
    try input.fileHandleForWriting.write(contentsOf: Data((command + "\n").utf8))
    return try Self.read(Reply.self, from: output, &received)
  }

  private static func read<Value: Decodable>(
    _ type: Value.Type, from pipe: Pipe, _ received: inout Data
  ) throws -> Value {
    while true {
      if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
        defer { received = Data(received[(end + 1)...]) }
        return try JSONDecoder().decode(type, from: received[..<end])
      }
      let more = pipe.fileHandleForReading.availableData
      guard !more.isEmpty else {
        throw Problem(
          .inputOutput, "the PyTorch process ended; what it said is above this line")
      }
      received += more
    }
  }
}
