import Arrays
import Basics

/// The losses by PyTorch (`Benchmarks/Peers/losses.py`).
struct TorchPeer {
  private let process: PythonPeer

  /// PyTorch's version and the vectors it uses.
  var version: String { process.version }

  /// Starts the process.
  init(python: String) throws { process = try PythonPeer(python: python, script: "losses.py") }

  /// Reads the inputs of a case from a folder.
  func load(_ folder: String) throws { try process.ask("load \(folder)") }

  /// The value and the gradient [B, C] of a loss; `folder` is for passing the gradient.
  func evaluate(_ loss: String, passing folder: String) throws -> (loss: Double, gradient: [Float])
  {
    let file = folder + "/gradient.npy"
    let value = try process.ask("check \(loss) \(file)", for: \.loss)
    guard case .float32(let gradient) = try NumPy.read(file).values else {
      throw Problem(.corrupt, "\(file) does not hold 32-bit floats")
    }
    return (value, gradient)
  }

  /// The least nanoseconds of a forward and backward pass, from about `seconds` of trying.
  func fastest(_ loss: String, seconds: Double) throws -> Double {
    try process.ask("time \(loss) \(seconds)", for: \.nanoseconds)
  }
}
