import Foundation

/// Whole-file reading and atomic writing, with errors that name the path.
public enum Files {
  /// The bytes of a file.
  ///
  /// - Throws: `Problem(.noInput)` when it does not exist or cannot be read.
  public static func read(_ path: String) throws -> [UInt8] {
    guard let handle = fopen(path, "rb") else {
      throw Problem(.noInput, "cannot open \(path): \(String(cString: strerror(errno)))")
    }
    defer { fclose(handle) }
    var status = stat()
    guard fstat(fileno(handle), &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
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
    let sibling = path + ".part"
    guard let handle = fopen(sibling, "wb") else {
      throw Problem(.cannotCreate, "cannot create \(path): \(String(cString: strerror(errno)))")
    }
    let written = fwrite(bytes, 1, bytes.count, handle)
    let synced = fflush(handle) == 0 && fsync(fileno(handle)) == 0
    var code = errno
    fclose(handle)
    let isWhole = written == bytes.count && synced
    guard isWhole, rename(sibling, path) == 0 else {
      if isWhole { code = errno }
      unlink(sibling)
      throw Problem(.inputOutput, "cannot write \(path): \(String(cString: strerror(code)))")
    }
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
    do {
      try FileManager.default.createDirectory(
        atPath: path, withIntermediateDirectories: true)
    } catch {
      throw Problem(.cannotCreate, "cannot create folder \(path): \(error.localizedDescription)")
    }
  }
}
