import Basics
import Foundation
import Schemas
import TestSupport
import Testing

@Suite struct YAMLTests {
  @Test func `plain words mean what YAML 1.2 says`() throws {
    let text = """
      integers: [0, -7, +8, 010]
      numbers: [0.5, -1e3, .5, 1.]
      booleans: [true, false]
      nulls: [null, ~, ]
      empty:
      texts: [no, on, Yes, 12:30, 0x10, 1_000, 2020-01-01, .inf, .nan, e, -, "1", 'true', 1e999]
      """
    let value = try parseYAML(Array(text.utf8), source: "x.yaml")
    #expect(value["integers"] == .array([0, -7, 8, 10].map { .integer($0) }))
    #expect(value["numbers"] == .array([0.5, -1000, 0.5, 1].map { .number($0) }))
    #expect(value["booleans"] == .array([.bool(true), .bool(false)]))
    #expect(value["nulls"] == .array([.null, .null]))
    #expect(value["empty"] == .null)
    #expect(value["texts"]?.array?.allSatisfy { $0.string != nil } == true)
  }

  @Test func `JSON is YAML`() throws {
    let text = #"{"a": [1, 2.5, "x", true, null], "b": {"c": "\u00e9\n"}}"#
    let value = try parseYAML(Array(text.utf8), source: "x.json")
    #expect(try value == parseJSON(text.utf8, source: "x.json"))
  }

  @Test func `anchors are followed`() throws {
    let value = try parseYAML(Array("{a: &x [1], b: *x}".utf8), source: "x.yaml")
    #expect(value["b"] == .array([.integer(1)]))
  }

  @Test(arguments: [
    ("a: 1\na: 2", "duplicated key"), ("1: a\n'1': b", "the name '1' twice"),
    ("a: [", "not valid YAML"), ("a\n---\nb", "not valid YAML"), ("[a]: 1", "not text"),
    ("a: *nowhere", "not valid YAML"),
  ])
  func `what is not one plain document is refused`(text: String, words: String) throws {
    let problem = try #require(throws: Problem.self) {
      try parseYAML(Array(text.utf8), source: "x.yaml")
    }
    #expect(problem.kind == .configuration)
    #expect(problem.message.contains("x.yaml"), "\(problem)")
    #expect(problem.message.contains(words), "\(problem)")
  }

  @Test func `bytes that are not UTF-8 are refused`() throws {
    let problem = try #require(throws: Problem.self) {
      try parseYAML([0x61, 0xFF], source: "x.yaml")
    }
    #expect(problem.message == "x.yaml is not UTF-8 text")
  }

  @Test func `a missing file is no input`() throws {
    let problem = try #require(throws: Problem.self) {
      try Schemas.load(yamlAt: ScratchFolder().file("none.yaml"), as: .recipe)
    }
    #expect(problem.kind == .noInput)
  }

  @Test(arguments: [
    "characters/seen.yaml", "characters/held-out.yaml", "folders/train.yaml",
    "languages/train.yaml", "languages/test.yaml",
  ])
  func `the example data sets fit their schema`(name: String) throws {
    let root = #filePath.components(separatedBy: "/Tests/")[0]
    _ = try Schemas.load(yamlAt: "\(root)/Examples/\(name)", as: .dataset)
  }

  @Test(arguments: [
    "fashion-mnist/teacher.yaml", "onnx/character-reader.teacher.yaml", "characters/teacher.yaml",
    "pytorch/teacher.yaml", "languages/teacher.yaml",
  ])
  func `the example teachers fit their schema`(name: String) throws {
    let root = #filePath.components(separatedBy: "/Tests/")[0]
    _ = try Schemas.load(yamlAt: "\(root)/Examples/\(name)", as: .teacher)
  }
}
