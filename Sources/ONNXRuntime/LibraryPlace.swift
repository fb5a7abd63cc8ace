import Basics
import Foundation

/// Where ONNX Runtime's shared library is looked for.
public struct LibraryPlace: Sendable {
  /// A file or a folder.
  public let path: String
  /// Who named it, for errors: "--onnxruntime", "ONNXRUNTIME_LIB".
  public let origin: String

  /// Names a place.
  public init(path: String, origin: String) {
    self.path = path
    self.origin = origin
  }

  /// The place that counts: the command line's, else that of the environment variable
  /// `ONNXRUNTIME_LIB`, else the configuration file's; `nil` when nobody names one.
  ///
  /// - Parameters:
  ///   - flag: what the command line says.
  ///   - configured: what the configuration says, as a path that can be opened.
  public static func chosen(
    flag: String?, configured: String?,
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) -> LibraryPlace? {
    if let flag { return LibraryPlace(path: flag, origin: "--onnxruntime") }
    if let path = environment["ONNXRUNTIME_LIB"], !path.isEmpty {
      return LibraryPlace(path: path, origin: "ONNXRUNTIME_LIB")
    }
    return configured.map { LibraryPlace(path: $0, origin: "the teacher's configuration") }
  }

  /// What to do when there is no library.
  static let advice =
    "install one with: python3 -m venv .venv-onnx && .venv-onnx/bin/pip install --no-deps "
    + "onnxruntime==1.31.1; then name the folder with --onnxruntime .venv-onnx or ONNXRUNTIME_LIB"

  /// Where a folder may keep the library: beside it, in a library folder, in a Python environment.
  private static let patterns = [
    "", "capi/", "lib/", "onnxruntime/capi/", "site-packages/onnxruntime/capi/",
    "lib/python3*/site-packages/onnxruntime/capi/",
  ].map { $0 + "libonnxruntime.so*" }

  /// The library's file: the place itself, or the one in the folder.
  ///
  /// - Throws: `Problem(.noInput)` that says where was looked and what to install;
  ///   `Problem(.usage)` when the folder has several.
  func libraryFile() throws -> String {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw Problem(
        .noInput, "\(origin) names \(path), which does not exist; \(LibraryPlace.advice)")
    }
    if !isFolder.boolValue { return path }
    for pattern in LibraryPlace.patterns {
      // Several names of one file, as packages make them, are one library.
      let files = Set(
        matches(of: path + "/" + pattern).map { ($0 as NSString).resolvingSymlinksInPath })
      if files.count > 1 {
        throw Problem(
          .usage,
          "\(path) has several libraries: \(files.sorted().joined(separator: ", ")); name one of "
            + "them with --onnxruntime")
      }
      if let file = files.first { return file }
    }
    throw Problem(
      .noInput,
      "\(origin) names \(path), which has no libonnxruntime.so* (looked for "
        + "\(LibraryPlace.patterns.joined(separator: ", "))); \(LibraryPlace.advice)")
  }
}

/// The paths that fit a shell pattern, sorted by bytes.
private func matches(of pattern: String) -> [String] {
  var found = glob_t()
  defer { globfree(&found) }
  guard glob(pattern, 0, nil, &found) == 0 else { return [] }
  return (0..<Int(found.gl_pathc)).compactMap { found.gl_pathv[$0].map { String(cString: $0) } }
}
