import Glibc

/// Where messages for people go.
public enum StandardError {
  /// Writes a text; one that cannot be written, as on a full disk, is dropped.
  ///
  /// Foundation's `FileHandle` would end the program instead.
  public static func write(_ text: String) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { return }
      rest = rest.dropFirst(count)
    }
  }
}
