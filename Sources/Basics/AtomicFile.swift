import Foundation

/// A file that is written piece by piece and comes to be in one step.
///
/// The pieces go to a sibling, `commit` syncs it and renames it over `path`. A crash, or an error before
/// `commit`, leaves what was there; only a kill leaves the sibling, which the next writer overwrites.
public final class AtomicFile {
  /// Where the file will be.
  public let path: String
  private let sibling: String
  private let file: CInt
  private var isOpen = true

  /// Begins a file; one writer at a time.
  ///
  /// - Throws: `Problem(.cannotCreate)` naming the path.
  public init(_ path: String) throws {
    let sibling = path + ".part"
    let file = open(sibling, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    guard file >= 0 else {
      throw Problem(.cannotCreate, "cannot create \(path): \(String(cString: strerror(errno)))")
    }
    (self.path, self.sibling, self.file) = (path, sibling, file)
  }

  deinit {
    if !isOpen { return }
    close(file)
    unlink(sibling)
  }

  /// Writes bytes at a place; bytes between the places written are 0.
  ///
  /// - Throws: `Problem(.inputOutput)` naming the path.
  public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: rest)
      let place = offset + bytes.count - rest.count
      let count = pwrite(file, part.baseAddress, part.count, off_t(place))
      if count < 0 && errno == EINTR { continue }
      if count == 0 { errno = ENOSPC }
      guard count > 0 else { throw problem() }
      rest = rest.dropFirst(count)
    }
  }

  /// Puts the file in its place.
  ///
  /// - Throws: `Problem(.inputOutput)` naming the path.
  public func commit() throws {
    guard fsync(file) == 0, rename(sibling, path) == 0 else { throw problem() }
    isOpen = false
    close(file)
  }

  private func problem() -> Problem {
    Problem(.inputOutput, "cannot write \(path): \(String(cString: strerror(errno)))")
  }
}
