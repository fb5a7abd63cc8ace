import Foundation

/// The repository.
private let root = (0..<3).reduce(#filePath) { path, _ in
  (path as NSString).deletingLastPathComponent
}

/// A worker in plain Python that misbehaves as it is told (`Tests/Workers/fake_worker.py`).
public enum FakeWorker {
  private static let script = root + "/Tests/Workers/fake_worker.py"

  /// The command that starts it, as in a teacher's configuration.
  public static func command(_ options: [String]) -> String {
    let words = ["python3", script] + options
    return "[" + words.map { "'\($0)'" }.joined(separator: ", ") + "]"
  }

  /// What it gives for a view: for class c the sum of elements c, c + C, c + 2 C and so on, less 4096, over 512.
  public static func row(of view: some Collection<Float>, classes: Int) -> [Float] {
    (0..<classes).map { c in
      let sum = view.enumerated().reduce(Float(0)) {
        $1.offset % classes == c ? $0 + $1.element : $0
      }
      return (sum - 4096) / 512
    }
  }
}

/// The Python package of this repository.
public enum PythonPackage {
  /// What `PYTHONPATH` must name.
  public static let folder = root + "/tools/python"
}
