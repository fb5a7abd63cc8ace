import Basics
import TestSupport
import Testing

@Suite struct JSONTests {
  @Test(arguments: 1...50 as ClosedRange<UInt64>)
  func `a document survives being written and read`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let value = randomDocument(depth: 4, &generator)
    #expect(try parseJSON(canonicalJSON(value).utf8, source: "test") == value, "seed \(seed)")
    #expect(try parseJSON(readableJSON(value).utf8, source: "test") == value, "seed \(seed)")
  }

  @Test func `canonical JSON has sorted keys, no spaces and plain slashes`() throws {
    let value: JSONValue = .object([
      "b": .array([.integer(-3), .bool(true), .null, .string("a/b \"c\"")]), "a": .object([:]),
    ])
    #expect(try canonicalJSON(value) == #"{"a":{},"b":[-3,true,null,"a/b \"c\""]}"#)
  }

  @Test func `keys are ordered by their bytes, not by language or number`() throws {
    let keys = ["B", "a", "a10", "a9", "a_", "aB", "ab", "z", "é", "Z"]
    let value: JSONValue = .object(Dictionary(uniqueKeysWithValues: keys.map { ($0, .null) }))
    let expected = ["B", "Z", "a", "a10", "a9", "aB", "a_", "ab", "z", "é"]
    let text = expected.map { "\"\($0)\":null" }.joined(separator: ",")
    #expect(try canonicalJSON(value) == "{\(text)}")
  }

  @Test func `readable JSON ends with one line feed`() throws {
    #expect(try readableJSON(JSONValue.array([])).hasSuffix("]\n"))
  }

  @Test func `members are read by name and by place, and others are nothing`() {
    let value: JSONValue = .object(["list": .array([.integer(1), .number(0.5)])])
    #expect(value["list"]?[0]?.integer == 1)
    #expect(value["list"]?[0]?.double == 1)
    #expect(value["list"]?[1]?.double == 0.5)
    #expect(value["list"]?[1]?.integer == nil)
    #expect(value["list"]?[2] == nil)
    #expect(value["other"] == nil)
    #expect(value[0] == nil)
    #expect(value.string == nil && value.array == nil && value.bool == nil)
  }

  @Test(arguments: ["", "{", "{\"a\" 1}", "nul"])
  func `what is not JSON is refused by the name of its source`(text: String) {
    let problem = #expect(throws: Problem.self) { try parseJSON(text.utf8, source: "cache.json") }
    #expect(problem?.kind == .configuration)
    #expect(problem?.message.contains("cache.json") == true)
  }

  @Test func `a field that does not fit is refused by the name of its source`() {
    let problem = #expect(throws: Problem.self) {
      try decode([String: Int].self, from: #"{"a": "b"}"#, source: "metrics.jsonl")
    }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("metrics.jsonl") == true)
  }
}

/// A document whose numbers have a fraction, so that they are not read as integers.
private func randomDocument(depth: Int, _ generator: inout SeededGenerator) -> JSONValue {
  let size = Int.random(in: 0...4, using: &generator)
  switch Int.random(in: 0..<(depth > 0 ? 7 : 5), using: &generator) {
  case 0: return .null
  case 1: return .bool(Bool.random(using: &generator))
  case 2: return .integer(Int.random(in: Int.min...Int.max, using: &generator))
  case 3: return .number(Double(Int.random(in: -1000...1000, using: &generator)) + 0.37)
  case 4: return .string(randomText(size, &generator))
  case 5: return .array((0..<size).map { _ in randomDocument(depth: depth - 1, &generator) })
  default:
    let members = (0..<size).map {
      ("\($0)" + randomText(2, &generator), randomDocument(depth: depth - 1, &generator))
    }
    return .object(Dictionary(uniqueKeysWithValues: members))
  }
}

private func randomText(_ count: Int, _ generator: inout SeededGenerator) -> String {
  let characters = ["a", "Z", "0", "/", "\\", "\"", "\n", "\u{1}", "é", "\u{2028}", "🧥"]
  return (0..<count).map { _ in characters.randomElement(using: &generator)! }.joined()
}
