import ArgumentParser
import Foundation

/// `--threads`, for the commands that compute.
struct ThreadOptions: ParsableArguments {
  @Option(help: "Threads to use; results do not depend on it.")
  var threads = ProcessInfo.processInfo.activeProcessorCount

  func validate() throws {
    guard (1...1024).contains(threads) else {
      throw ValidationError("--threads must be in 1...1024")
    }
  }
}
