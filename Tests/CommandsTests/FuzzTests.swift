import Foundation
import TestSupport
import Testing

/// The fuzzer's test, on its seeds and on what it found once.
@Suite struct FuzzTests {
  private let corpus =
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path + "/Fuzz/corpus"

  @Test func `every input of the corpus is refused, or read and written in one way`() throws {
    let result = try Program.run([corpus], of: "fuzz")
    #expect(result.exitCode == 0, "\(ending(of: result)): \(result.errors)")
    #expect(result.output.contains("inputs"))
  }

  @Test func `the seeds are made by the program, and are sound`() throws {
    let folder = ScratchFolder()
    let made = try Program.run(["--make-corpus", folder.path], of: "fuzz")
    #expect(made.exitCode == 0, "\(made.errors)")
    let seeds = try content(ofFolder: folder.path)
    #expect(seeds.count >= 30)
    let result = try Program.run([folder.path], of: "fuzz")
    #expect(result.output == "\(seeds.count) inputs, \(seeds.count) accepted\n", "\(result.errors)")
  }
}
