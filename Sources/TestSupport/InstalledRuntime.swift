import Basics
import Foundation

/// The ONNX Runtime that `tools/onnxruntime` installs for tests, with Python beside it.
public enum InstalledRuntime {
  private static let root = (0..<3).reduce(#filePath) { path, _ in
    (path as NSString).deletingLastPathComponent
  }

  /// The Python environment, which also holds the library.
  public static let folder = root + "/.venv-onnx"
  /// The folder of a library of another version.
  public static let olderFolder = folder + "/onnxruntime-1.20.1"
  /// Why a test does not run where it is not installed.
  public static let absence = "ONNX Runtime is not installed: run tools/onnxruntime"

  /// Whether it is installed.
  public static var isThere: Bool { Files.exists(folder + "/bin/python") }
  /// Whether the other version is.
  public static var hasOlder: Bool { Files.exists(olderFolder) }

  /// Runs a Python program in which `onnxruntime` and `numpy` can be imported.
  ///
  /// - Throws: `Problem` with what it wrote when it failed.
  public static func python(_ program: String, _ arguments: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: folder + "/bin/python")
    process.arguments = ["-c", program] + arguments
    let pipe = Pipe()
    process.standardError = pipe
    try process.run()
    let errors = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw Problem(.inputOutput, "Python: \(String(decoding: errors, as: UTF8.self))")
    }
  }
}
