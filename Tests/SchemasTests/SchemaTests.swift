import Basics
import Schemas
import Testing

@Suite struct SchemaTests {
  @Test(
    arguments: [
      (#"{"type":"integer"}"#, "3", nil),
      (#"{"type":"integer"}"#, "3.5", "must be an integer, it is 3.5"),
      (#"{"type":"number"}"#, "3", nil),
      (#"{"type":"number"}"#, #""3""#, "must be a number, it is '3'"),
      (#"{"type":"string"}"#, "true", "must be text, it is true"),
      (#"{"type":"boolean"}"#, "true", nil),
      (#"{"type":"null"}"#, "0", "must be null, it is 0"),
      (#"{"type":"array"}"#, "{}", "must be a list, it is a set of named values"),
      (#"{"type":"object"}"#, "[1]", "must be a set of named values, it is a list of 1"),
      (#"{"const":"a"}"#, #""b""#, "must be 'a', it is 'b'"),
      (#"{"enum":[1,"b",null]}"#, "null", nil),
      (#"{"enum":[1,"b",null]}"#, "2", "must be one of 1, 'b', null, it is 2"),
      (#"{"type":"integer","minimum":0,"maximum":5}"#, "0", nil),
      (#"{"type":"integer","minimum":0,"maximum":5}"#, "5", nil),
      (
        #"{"type":"integer","minimum":0,"maximum":5}"#, "-1",
        "must be an integer of at least 0 and of at most 5, it is -1"
      ),
      (#"{"type":"integer","maximum":5}"#, "6", "must be an integer of at most 5, it is 6"),
      (#"{"type":"number","exclusiveMinimum":0}"#, "0", "must be a number above 0, it is 0"),
      (#"{"type":"number","exclusiveMinimum":0}"#, "0.1", nil),
      (#"{"type":"string","pattern":"^a+$"}"#, #""aa""#, nil),
      (
        #"{"type":"string","pattern":"^a+$"}"#, #""ab""#,
        "must be text that matches ^a+$, it is 'ab'"
      ),
      (#"{"type":"array","minItems":1}"#, "[]", "must be a list of at least 1 element"),
      (#"{"type":"array","maxItems":1}"#, "[1,2]", "must be a list of at most 1 element"),
      (
        #"{"items":{"type":"integer"}}"#, #"[1,"x",2,"y"]"#,
        "[1] must be an integer, it is 'x'; [3]"
      ),
      (#"{"required":["a","b"]}"#, "{}", "a is missing; b is missing"),
      (
        #"{"properties":{"a":{}},"additionalProperties":false}"#, #"{"a":1,"b":2}"#,
        "b is not known here (known: a)"
      ),
      (#"{"properties":{"a":{}}}"#, #"{"a":1,"b":2}"#, nil),
      (
        ##"{"properties":{"a":{"items":{"$ref":"#/$defs/x"}}},"$defs":{"x":{"type":"integer"}}}"##,
        #"{"a":[1,2.5]}"#, "a[1] must be an integer, it is 2.5"
      ),
      (#"{"anyOf":[{"type":"integer"},{"type":"string"}]}"#, "1", nil),
      (
        #"{"anyOf":[{"type":"integer"},{"type":"string"}]}"#, "null",
        "must be an integer or text, it is null"
      ),
      (
        #"{"anyOf":[{"type":"integer","minimum":0},{"type":"string"}]}"#, "-4",
        "must be an integer of at least 0, it is -4"
      ),
      (#"{"oneOf":[{"type":"integer"},{"type":"number"}]}"#, "1.5", nil),
      (#"{"oneOf":[{"type":"integer"},{"type":"number"}]}"#, "1", "fits 2 forms"),
      (#"{"anyOf":[{"type":"integer"},{"type":"number"}]}"#, "1", nil),
    ] as [(String, String, String?)])
  func `every keyword is enforced and explained`(
    schema: String, document: String, words: String?
  ) throws {
    let schema = Schema(try parseJSON(schema.utf8, source: "schema"), source: "schema")
    let value = try parseJSON(document.utf8, source: "document")
    guard let words else { return try schema.validate(value, source: "x.yaml") }
    let problem = try #require(throws: Problem.self) {
      try schema.validate(value, source: "x.yaml")
    }
    #expect(problem.kind == .configuration)
    #expect(problem.message.hasPrefix("x.yaml: "))
    #expect(problem.message.contains(words), "\(problem)")
  }

  @Test(
    arguments: [
      (#"{"kind":"circle","radius":1}"#, nil),
      (#"{"kind":"circle"}"#, "radius is missing"),
      (#"{"kind":"square","side":-1}"#, "side must be an integer of at least 0, it is -1"),
      (#"{"kind":"square","radius":1}"#, "side is missing; radius is not known here"),
      (#"{"kind":"line"}"#, "kind must be one of 'circle', 'square', it is 'line'"),
      (#"{"side":1}"#, "kind is missing (one of 'circle', 'square')"),
      (#"7"#, "must be a set of named values or a set of named values, it is 7"),
    ] as [(String, String?)])
  func `the form a document means is chosen by its constant`(
    document: String, words: String?
  ) throws {
    let schema = Schema(
      try parseJSON(
        """
        {"oneOf": [
          {"type": "object", "required": ["radius"], "additionalProperties": false,
           "properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}}},
          {"type": "object", "required": ["side"], "additionalProperties": false,
           "properties": {"kind": {"const": "square"}, "side": {"type": "integer", "minimum": 0}}}]}
        """.utf8, source: "schema"), source: "schema")
    let value = try parseJSON(document.utf8, source: "document")
    guard let words else { return try schema.validate(value, source: "x.yaml") }
    let problem = try #require(throws: Problem.self) {
      try schema.validate(value, source: "x.yaml")
    }
    #expect(problem.message.contains(words), "\(problem)")
  }

  @Test(arguments: [
    #"{"minLength":1}"#, #"{"properties":{"a":{"uniqueItems":true}}}"#,
    ##"{"$ref":"#/$defs/none"}"##,
    #"{"additionalProperties":{"type":"string"}}"#, #"{"type":["string","null"]}"#, "true",
    ##"{"$ref":"#/$defs/a","minimum":1,"$defs":{"a":{}}}"##, #"{"oneOf":[],"anyOf":[]}"#,
    #"{"type":"string","pattern":"("}"#, #"{"items":{"format":"uri"}}"#, #"{"minItems":1.5}"#,
  ])
  func `a schema that would go unenforced stops the program`(schema: String) async {
    await #expect(processExitsWith: .failure) { [schema = schema as String] in
      _ = Schema(try parseJSON(schema.utf8, source: "schema"), source: "schema")
    }
  }

  @Test(arguments: Schemas.Name.allCases)
  func `every schema of the project is enforceable and describes every property`(
    name: Schemas.Name
  ) throws {
    let document = try parseJSON(Schemas.text(of: name).utf8, source: name.rawValue)
    #expect(document["$schema"]?.string == "https://json-schema.org/draft/2020-12/schema")
    _ = try? Schemas.validate(.null, against: name, source: "null")
    #expect(undescribedProperties(document, root: document) == [])
  }
}

/// Names of properties without a description of their own or of what they refer to.
private func undescribedProperties(_ schema: JSONValue, root: JSONValue) -> [String] {
  var names: [String] = []
  for (name, property) in schema["properties"]?.object ?? [:] {
    let definition = property["$ref"]?.string.map { String($0.dropFirst("#/$defs/".count)) }
    let referred = definition.flatMap { root["$defs"]?[$0]?["description"] }
    if property["description"] == nil, referred == nil { names.append(name) }
  }
  switch schema {
  case .object(let members):
    for (keyword, member) in members where keyword != "properties" && keyword != "$defs" {
      names += undescribedProperties(member, root: root)
    }
    for keyword in ["properties", "$defs"] {
      for part in schema[keyword]?.object?.values.map({ $0 }) ?? [] {
        names += undescribedProperties(part, root: root)
      }
    }
  case .array(let elements):
    for part in elements { names += undescribedProperties(part, root: root) }
  default: break
  }
  return names.sorted()
}
