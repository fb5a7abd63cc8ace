import Basics
import Foundation
import TestSupport
import Testing

private let commands = [
  "plan", "precompute", "train", "evaluate", "inspect", "verify", "status", "merge", "derive",
  "diff", "compact", "import", "export", "machine",
]

/// What `logitcache COMMAND --help` prints.
private func help(_ command: String) throws -> String {
  let result = try Program.run([command, "--help"])
  try #require(result.exitCode == 0, "\(result.errors)")
  return result.output
}

@Suite struct HelpTests {
  @Test func `the help names every command and the exit codes`() throws {
    for arguments in [["--help"], []] {
      let result = try Program.run(arguments)
      #expect(result.exitCode == 0)
      for text in commands + ["65 corrupt", "nothing fits", "75 interrupted"] {
        #expect(result.output.contains(text), "\(text)")
      }
    }
  }

  @Test(arguments: [
    (
      "precompute",
      [
        "--data", "--teacher", "--recipe", "--views", "--seed", "--k", "--tail", "--tail-step",
        "--tail-axes", "--ranking", "--commit-seconds", "--shard", "--calibration", "--threads",
        "--json",
      ]
    ),
    (
      "plan",
      [
        "--data", "--teacher", "--recipe", "--views", "--seed", "--features", "--k",
        "--tail-steps", "--sample-rows", "--axes",
        "--loss", "--max-error", "--budget", "--paper", "--samples", "--classes", "--threads",
        "--ranking", "--positions",
        "--json",
      ]
    ),
    (
      "train",
      [
        "--out", "--cache", "--loss", "--model", "--data", "--test", "--epochs", "--seed",
        "--check-views", "--accept-error", "--threads", "--json",
      ]
    ),
    ("evaluate", ["--data", "--cache", "--json"]),
    ("inspect", ["--sample", "--view", "--data", "--json"]),
    ("verify", ["--json"]), ("machine", ["--json"]), ("merge", ["--json"]),
    ("status", ["--shards", "--missing", "--json"]), ("diff", ["--worst", "--json"]),
    (
      "derive",
      [
        "--from", "--k", "--views", "--steps-per-nat", "--classes", "--without-features",
        "--without-ranking", "--json",
      ]
    ),
    ("compact", ["--json"]),
    (
      "import",
      [
        "--logits", "--kind", "--features", "--ids", "--values", "--log-sum-exp", "--label-logits",
        "--label-ranks", "--classes", "--views-first", "--positions", "--counts",
        "--max-positions", "--labels", "--data", "--recipe", "--seed",
        "--class-names", "--name", "--teacher-name", "--k", "--tail", "--ranking",
        "--commit-seconds", "--shard", "--calibration", "--threads", "--json",
      ]
    ),
    (
      "export",
      [
        "--out", "--view", "--samples", "--full-rows", "--missing", "--unfinished", "--force",
        "--json",
      ]
    ),
  ])
  func `every command's help names its options`(command: String, options: [String]) throws {
    let text = try help(command)
    #expect(text.contains("USAGE: logitcache \(command)"))
    for option in options { #expect(text.contains("\(option) ") || text.contains("\(option)\n")) }
  }

  @Test func `commands in documents and scripts use options that exist`() throws {
    let helps = Dictionary(uniqueKeysWithValues: try commands.map { ($0, try help($0)) })
    let uses = try documents().flatMap { path in
      try commandLines(String(contentsOfFile: path, encoding: .utf8)).map { (path, $0) }
    }
    #expect(uses.count >= 3)
    for (path, words) in uses {
      let text = try #require(helps[words[0]])
      for word in words where word.hasPrefix("--") {
        let option = word.prefix { $0 != "=" }
        #expect(text.contains("\(option) ") || text.contains("\(option)\n"), "\(path): \(words)")
      }
    }
  }

  /// What tells people which commands to type.
  private func documents() throws -> [String] {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().path
    let found = FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String } ?? []
    return found.filter { path in
      path == "README.md"
        || ["tools/example-fashion", "tools/showcase", "tools/showcase-languages"].contains(path)
        || path.hasPrefix("docs/") && path.hasSuffix(".md")
        || path.hasPrefix("Examples/") && (path.hasSuffix(".yaml") || path.hasSuffix(".md"))
    }.map { root + "/" + $0 }
  }

  /// The words after the program's name of each command line, continued lines joined.
  private func commandLines(_ text: String) -> [[String]] {
    let joined = text.replacingOccurrences(of: "\\\n", with: " ")
    return joined.split(separator: "\n").compactMap { line in
      let words = line.split { " `\"|;)".contains($0) }.map(String.init)
      guard
        let start = words.firstIndex(where: {
          $0 == "logitcache" || $0.hasSuffix("/logitcache") || $0 == "$program"
        }), start + 1 < words.count, commands.contains(words[start + 1])
      else { return nil }
      return Array(words[(start + 1)...].prefix { !$0.hasPrefix("#") && !$0.hasPrefix(">") })
    }
  }
}
