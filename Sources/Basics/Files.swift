import Foundation

/// Whole-file reading and atomic writing, with errors that name the path.
public enum Files {
  /// The bytes of a file.
  ///
  /// - Throws: `Problem(.noInput)` when it does not exist or cannot be read.
  public static func read(_ path: String) throws -> [UInt8] {
    // Opening a named pipe would wait for its writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0, let handle = fdopen(descriptor, "rb") else {
      throw Problem(.noInput, "cannot open \(path): \(String(cString: strerror(errno)))")
    }
    defer { fclose(handle) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw Problem(.noInput, "cannot read \(path): it is not a regular file")
    }
    let size = Int(status.st_size)
    var bytes = [UInt8](repeating: 0, count: size)
    let count = fread(&bytes, 1, size, handle)
    guard count == size else {
      throw Problem(.inputOutput, "cannot read \(path): got \(count) of \(size) bytes")
    }
    return bytes
  }

  /// Replaces a file in one step: writes a sibling, syncs it, renames it over `path`.
  ///
  /// A crash leaves either the old file or the new one, never a mixture.
  /// - Throws: `Problem(.cannotCreate)` or `Problem(.inputOutput)` naming the path.
  public static func writeAtomically(_ bytes: [UInt8], to path: String) throws {
    let file = try AtomicFile(path)
    try bytes.withUnsafeBytes { try file.write($0, at: 0) }
    try file.commit()
  }

  /// Replaces a text file in one step.
  public static func writeAtomically(_ text: String, to path: String) throws {
    try writeAtomically(Array(text.utf8), to: path)
  }

  /// `path` as written in the file `reference`: relative paths start at that file's folder.
  public static func path(_ path: String, relativeTo reference: String) -> String {
    if path.hasPrefix("/") { return path }
    let folder = (reference as NSString).deletingLastPathComponent
    return folder.isEmpty || folder == "/" ? folder + path : folder + "/" + path
  }

  /// Whether something exists at `path`.
  public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  /// Makes a folder and its parents; existing ones are fine.
  public static func makeFolder(_ path: String) throws {
    if mkdir(path, 0o777) == 0 { return }
    var code = errno
    let parent = (path as NSString).deletingLastPathComponent
    if code == ENOENT && !parent.isEmpty {
      try makeFolder(parent)
      if mkdir(path, 0o777) == 0 { return }
      code = errno
    }
    var status = stat()
    let isThere = code == EEXIST && stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    guard isThere else {
      throw Problem(
        .cannotCreate, "cannot create folder \(path): \(String(cString: strerror(code)))")
    }
  }
}
