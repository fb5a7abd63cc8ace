import Basics
import Foundation
import ONNXRuntime
import TestSupport
import Testing

@Suite struct LibraryTests {
  private let folder = ScratchFolder()

  private func place(_ path: String) -> LibraryPlace {
    LibraryPlace(path: path, origin: "the test")
  }

  private func refusal(_ path: String) -> Problem? {
    #expect(throws: Problem.self) { try Runtime(place(path)) }
  }

  @Test func `the command line comes before the environment before the configuration`() {
    let environment = ["ONNXRUNTIME_LIB": "b"]
    func chosen(_ flag: String?, _ environment: [String: String], _ configured: String?) -> String?
    {
      LibraryPlace.chosen(flag: flag, configured: configured, environment: environment)
        .map { "\($0.path) of \($0.origin)" }
    }
    #expect(chosen("a", environment, "c") == "a of --onnxruntime")
    #expect(chosen(nil, environment, "c") == "b of ONNXRUNTIME_LIB")
    #expect(chosen(nil, ["ONNXRUNTIME_LIB": ""], "c") == "c of the teacher's configuration")
    #expect(chosen(nil, [:], nil) == nil)
  }

  @Test func `a missing library is refused with where was looked and what to install`() throws {
    for path in [folder.file("no"), folder.path] {
      let problem = refusal(path)
      #expect(problem?.kind == .noInput)
      #expect(problem?.message.contains("the test names \(path)") == true)
      #expect(problem?.message.contains("pip install --no-deps onnxruntime==") == true)
    }
    #expect(refusal(folder.path)?.message.contains("onnxruntime/capi/libonnxruntime.so*") == true)
  }

  @Test func `a library that is no ONNX Runtime, or no library, is refused by its path`() throws {
    let text = try folder.write("text", to: "libonnxruntime.so")
    #expect(refusal(text)?.message.contains(text) == true)
    // Any other shared library.
    let library = try #require(
      ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6"]
        .first(where: Files.exists))
    let problem = refusal(library)
    #expect(problem?.kind == .configuration)
    #expect(problem?.message.contains("\(library) is not ONNX Runtime") == true)
  }

  @Test func `several libraries in one folder are refused by their names, links are one`() throws {
    let first = try folder.write("1", to: "libonnxruntime.so.1.2.3")
    try FileManager.default.createSymbolicLink(
      atPath: folder.file("libonnxruntime.so"), withDestinationPath: first)
    #expect(refusal(folder.path)?.message.contains("several") == false)
    let second = try folder.write("2", to: "libonnxruntime.so.4.5.6")
    let problem = refusal(folder.path)
    #expect(problem?.kind == .usage)
    #expect(problem?.message.contains("libonnxruntime.so.1.2.3") == true)
    #expect(problem?.message.contains(second.split(separator: "/").last!) == true)
  }

  @Test(.enabled(if: InstalledRuntime.isThere, "\(InstalledRuntime.absence)"))
  func `a library without the API version is refused by both versions`() throws {
    let problem = #expect(throws: Problem.self) {
      try Runtime(place(InstalledRuntime.folder), tableVersion: 1_000_000)
    }
    #expect(problem?.kind == .configuration)
    #expect(problem?.message.contains("ONNX Runtime 1.31.1") == true)
    #expect(problem?.message.contains("API version 1000000") == true)
  }

  @Test(.enabled(if: InstalledRuntime.isThere, "\(InstalledRuntime.absence)"))
  func `a Python environment names the library in it`() throws {
    let runtime = try Runtime(place(InstalledRuntime.folder))
    #expect(runtime.version == "1.31.1")
    #expect(runtime.path.hasSuffix("/capi/libonnxruntime.so.1.31.1"))
  }
}
