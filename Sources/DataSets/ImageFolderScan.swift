import Basics
import Foundation

extension ImageFolder {
  /// What is known of the files in `range`, decoding those that are new or have changed.
  ///
  /// Threads share the work and change nothing in the result. The index beside the description is
  /// written anew when something was decoded, also before an error or an interruption ends the scan;
  /// where it cannot be written, the next scan decodes again.
  /// - Throws: `Problem` that counts the files that cannot be decoded and says why for the first ten.
  func scan(
    _ files: [File], _ range: Range<Int>, progress: (_ done: Int, _ total: Int) -> Void
  ) throws -> [ImageEntry] {
    let indexPath = source + ".index"
    var index = ImageFolderIndex(path: indexPath)
    let wanted = Array(files[range])
    let states = wanted.map { FileState($0.path) }
    var entries = zip(wanted, states).map { file, state in
      state.flatMap { index.entry(of: file.name, bytes: $0.bytes, modified: $0.modified) }
    }
    let missing = entries.indices.filter { entries[$0] == nil }
    guard !missing.isEmpty else { return entries.map { $0! } }
    var problems: [Problem] = []
    defer {
      for (file, entry) in zip(wanted, entries) { index.entries[file.name] = entry }
      try? index.write(files.map(\.name), to: indexPath)
    }
    progress(0, missing.count)
    // Rounds, so that progress is shown and an interruption heard on this thread.
    for start in stride(from: 0, to: missing.count, by: picturesPerRound) {
      let round = missing[start..<min(start + picturesPerRound, missing.count)]
      for (number, result) in zip(round, decode(round.map { wanted[$0].path })) {
        switch result {
        case .success(var entry):
          entry.bytes = states[number]?.bytes ?? -1
          entry.modified = states[number]?.modified ?? -1
          entries[number] = entry
        case .failure(let problem): problems.append(problem)
        }
      }
      progress(start + round.count, missing.count)
      if Interruption.isRequested {
        throw Interruption.problem(
          after: "\(start + round.count) of \(counted(missing.count, "picture"))")
      }
    }
    guard problems.isEmpty else { throw summary(of: problems, pictures: wanted.count) }
    return entries.map { $0! }
  }

  /// One problem as it is, several counted, with the first ones' words.
  private func summary(of problems: [Problem], pictures: Int) -> Problem {
    if problems.count == 1 { return problems[0] }
    let shown = problems.prefix(10).map(\.message).joined(separator: "; ")
    return Problem(
      problems[0].kind,
      "\(problems.count) of \(counted(pictures, "picture")) of \(source) cannot be used: \(shown)"
        + (problems.count > 10 ? "; ..." : ""))
  }
}

/// Enough that threads rarely wait for each other at a round's end.
private let picturesPerRound = 512

/// A file's length and time.
private struct FileState {
  var bytes: Int
  var modified: Int

  /// `nil` when there is no such file.
  init?(_ path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    bytes = Int(status.st_size)
    modified = status.st_mtim.tv_sec * 1_000_000_000 + status.st_mtim.tv_nsec
  }
}

/// Decodes files on all processors; entries lack length and time.
private func decode(_ paths: [String]) -> [Result<ImageEntry, Problem>] {
  var results = [Result<ImageEntry, Problem>?](repeating: nil, count: paths.count)
  let threads = min(paths.count, ProcessInfo.processInfo.activeProcessorCount)
  results.withUnsafeMutableBufferPointer { results in
    // Every thread writes places of its own.
    nonisolated(unsafe) let results = results
    DispatchQueue.concurrentPerform(iterations: threads) { thread in
      var picture = Picture()
      for number in stride(from: thread, to: paths.count, by: threads) {
        results[number] = examine(paths[number], &picture)
      }
    }
  }
  return results.map { $0! }
}

private func examine(_ path: String, _ picture: inout Picture) -> Result<ImageEntry, Problem> {
  Result {
    let format = try picture.decode(contentsOf: path)
    return ImageEntry(
      bytes: 0, modified: 0, format: format, height: picture.height, width: picture.width,
      channels: picture.channels, digest: picture.digest)
  }.mapError { $0 as? Problem ?? Problem(.inputOutput, "cannot read \(path): \($0)") }
}
