import Basics
import Foundation
import TestSupport
import Testing

@Suite struct FilesTests {
  let folder = ScratchFolder()

  @Test func `what was written is read`() throws {
    try Files.writeAtomically([1, 2, 3], to: folder.file("a"))
    #expect(try Files.read(folder.file("a")) == [1, 2, 3])
    try Files.writeAtomically("", to: folder.file("a"))
    #expect(try Files.read(folder.file("a")) == [])
    #expect(try content(ofFolder: folder.path).keys.sorted() == ["a"])
  }

  @Test func `a missing file is refused by its path`() {
    let path = folder.file("missing")
    let problem = #expect(throws: Problem.self) { try Files.read(path) }
    #expect(problem?.kind == .noInput)
    #expect(problem?.message == "cannot open \(path): No such file or directory")
  }

  @Test func `a folder is not read as a file`() {
    let problem = #expect(throws: Problem.self) { try Files.read(folder.path) }
    #expect(problem?.kind == .noInput)
    #expect(problem?.message.contains(folder.path) == true)
  }

  @Test func `a named pipe is refused, and nobody waits for its other end`() throws {
    let path = folder.file("pipe")
    #expect(mkfifo(path, 0o600) == 0)
    let problem = #expect(throws: Problem.self) { try Files.read(path) }
    #expect(problem?.kind == .noInput)
    #expect(problem?.message == "cannot read \(path): it is not a regular file")
  }

  @Test func `a full disk leaves the old content and nothing beside it`() throws {
    let path = folder.file("a")
    try Files.writeAtomically("old", to: path)
    try FileManager.default.createSymbolicLink(
      atPath: path + ".part", withDestinationPath: "/dev/full")
    let problem = #expect(throws: Problem.self) { try Files.writeAtomically("new", to: path) }
    #expect(problem?.kind == .inputOutput)
    #expect(problem?.message == "cannot write \(path): No space left on device")
    #expect(try Files.read(path) == Array("old".utf8))
    #expect(try content(ofFolder: folder.path).keys.sorted() == ["a"])
  }

  @Test func `a file that cannot be begun leaves the old content`() throws {
    let path = folder.file("a")
    try Files.writeAtomically("old", to: path)
    try Files.makeFolder(path + ".part")
    let problem = #expect(throws: Problem.self) { try Files.writeAtomically("new", to: path) }
    #expect(problem?.kind == .cannotCreate)
    #expect(problem?.message == "cannot create \(path): Is a directory")
    #expect(try Files.read(path) == Array("old".utf8))
  }

  @Test func `a file does not replace a folder, and the reason is named`() throws {
    let path = folder.file("a")
    try Files.makeFolder(path)
    let problem = #expect(throws: Problem.self) { try Files.writeAtomically("new", to: path) }
    #expect(problem?.kind == .inputOutput)
    #expect(problem?.message == "cannot write \(path): Is a directory")
    #expect(!Files.exists(path + ".part"))
  }

  @Test func `a folder is made with its parents, and made again without harm`() throws {
    try Files.makeFolder(folder.file("a/b/c"))
    try Files.makeFolder(folder.file("a/b/c"))
    #expect(Files.exists(folder.file("a/b/c")))
  }

  @Test func `a folder cannot be made below a file`() throws {
    let path = try folder.write("text", to: "a")
    let problem = #expect(throws: Problem.self) { try Files.makeFolder(path + "/b") }
    #expect(problem?.kind == .cannotCreate)
    #expect(problem?.message.contains(path + "/b") == true)
  }

  @Test(arguments: [
    ("x.npy", "data.yaml", "x.npy"), ("x.npy", "sets/data.yaml", "sets/x.npy"),
    ("../x.npy", "/sets/data.yaml", "/sets/../x.npy"), ("/x.npy", "sets/data.yaml", "/x.npy"),
    ("x.npy", "/data.yaml", "/x.npy"),
  ])
  func `relative paths start at the folder of the file that names them`(
    path: String, reference: String, expected: String
  ) {
    #expect(Files.path(path, relativeTo: reference) == expected)
  }
}
