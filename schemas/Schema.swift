import Basics

/// A JSON Schema (draft 2020-12, the part that configuration files need).
///
/// Enforced: `type`, `properties`, `required`, `additionalProperties: false`, `enum`, `const`,
/// `minimum`, `maximum`, `exclusiveMinimum`, `minItems`, `maxItems`, `items`, `pattern`, `oneOf`,
/// `anyOf` and `$ref` to `#/$defs/NAME`. `type: integer` takes what is written without a point.
/// Any other keyword stops the program, so that no schema can silently go unenforced.
package struct Schema: Sendable {
  private let root: JSONValue

  /// Takes a schema; `source` names it.
  ///
  /// - Precondition: every keyword in it is one of those above or mere description.
  package init(_ root: JSONValue, source: String) {
    self.root = root
    checkKeywords(of: root, root: root, source: source)
  }

  /// Checks a document; `source` names it in the error.
  package func validate(_ value: JSONValue, source: String) throws {
    let violations = violations(of: value, schema: root, path: "")
    guard !violations.isEmpty else { return }
    let text = violations.map(\.description).joined(separator: "; ")
    throw Problem(.configuration, "\(source): \(text)")
  }
}

/// One thing wrong with a document.
private struct Violation: CustomStringConvertible {
  /// Where: `operations[2].pad`; empty for the document itself.
  var path: String
  /// What: "must be an integer of at least 0, it is -1".
  var text: String

  var description: String { (path.isEmpty ? "the document" : path) + " " + text }
}

extension Schema {
  private func violations(of value: JSONValue, schema: JSONValue, path: String) -> [Violation] {
    let schema = resolved(schema)
    guard satisfiesOwnBounds(value, schema) else {
      return [Violation(path: path, text: "must be \(expectation(schema)), it is \(shown(value))")]
    }
    return objectViolations(of: value, schema: schema, path: path)
      + arrayViolations(of: value, schema: schema, path: path)
      + choiceViolations(of: value, schema: schema, path: path)
  }

  private func resolved(_ schema: JSONValue) -> JSONValue {
    var schema = schema
    while let reference = schema["$ref"]?.string { schema = definition(reference, in: root)! }
    return schema
  }

  private func objectViolations(
    of value: JSONValue, schema: JSONValue, path: String
  ) -> [Violation] {
    guard let members = value.object else { return [] }
    let properties = schema["properties"]?.object ?? [:]
    var violations: [Violation] = []
    for name in schema["required"]?.array?.compactMap(\.string) ?? [] where members[name] == nil {
      violations.append(Violation(path: joined(path, name), text: "is missing"))
    }
    for (name, member) in members.sorted(by: { $0.key < $1.key }) {
      if let property = properties[name] {
        violations += self.violations(of: member, schema: property, path: joined(path, name))
      } else if schema["additionalProperties"] == .bool(false) {
        let known = properties.keys.sorted().joined(separator: ", ")
        violations.append(
          Violation(path: joined(path, name), text: "is not known here (known: \(known))"))
      }
    }
    return violations
  }

  private func arrayViolations(
    of value: JSONValue, schema: JSONValue, path: String
  ) -> [Violation] {
    guard let elements = value.array, let items = schema["items"] else { return [] }
    return elements.enumerated().flatMap { index, element in
      violations(of: element, schema: items, path: "\(path)[\(index)]")
    }
  }

  /// Checks `oneOf` and `anyOf`: reports on the form the document most likely means.
  ///
  /// A form whose `const` members the document does not have is not meant; among the others it is
  /// the one with the fewest violations.
  private func choiceViolations(
    of value: JSONValue, schema: JSONValue, path: String
  ) -> [Violation] {
    guard let forms = schema["oneOf"]?.array ?? schema["anyOf"]?.array else { return [] }
    let meant = forms.map(resolved).filter { isMeant(value, by: $0) }
    let attempts = meant.map { violations(of: value, schema: $0, path: path) }
    let fitting = attempts.count(where: \.isEmpty)
    if fitting == 1 || fitting > 1 && schema["anyOf"] != nil { return [] }
    if fitting > 1 {
      return [Violation(path: path, text: "fits \(fitting) forms of which only one is allowed")]
    }
    return attempts.min { $0.count < $1.count } ?? [unknownForm(value, forms, path: path)]
  }

  private func isMeant(_ value: JSONValue, by form: JSONValue) -> Bool {
    guard case .object(let members) = value else { return satisfiesType(value, form) }
    return constants(of: form).allSatisfy { members[$0.key] == $0.value }
      && satisfiesType(value, form)
  }

  private func constants(of form: JSONValue) -> [String: JSONValue] {
    (resolved(form)["properties"]?.object ?? [:]).compactMapValues { $0["const"] }
  }

  private func unknownForm(_ value: JSONValue, _ forms: [JSONValue], path: String) -> Violation {
    let names = Set(forms.flatMap { constants(of: $0).keys })
    guard value.object != nil, let name = names.sorted().first else {
      let texts = forms.map { expectation(resolved($0)) }.joined(separator: " or ")
      return Violation(path: path, text: "must be \(texts), it is \(shown(value))")
    }
    let known = forms.compactMap { constants(of: $0)[name] }.map(shown).joined(separator: ", ")
    guard let found = value[name] else {
      return Violation(path: joined(path, name), text: "is missing (one of \(known))")
    }
    return Violation(
      path: joined(path, name), text: "must be one of \(known), it is \(shown(found))")
  }
}

/// Whether a value fits the keywords that concern it alone, not its parts.
private func satisfiesOwnBounds(_ value: JSONValue, _ schema: JSONValue) -> Bool {
  guard satisfiesType(value, schema) else { return false }
  if let constant = schema["const"], constant != value { return false }
  if let choices = schema["enum"]?.array, !choices.contains(value) { return false }
  if let number = value.double {
    if let minimum = schema["minimum"]?.double, number < minimum { return false }
    if let maximum = schema["maximum"]?.double, number > maximum { return false }
    if let bound = schema["exclusiveMinimum"]?.double, number <= bound { return false }
  }
  if let elements = value.array {
    if let least = schema["minItems"]?.integer, elements.count < least { return false }
    if let most = schema["maxItems"]?.integer, elements.count > most { return false }
  }
  if let text = value.string, let pattern = schema["pattern"]?.string {
    return text.firstMatch(of: try! Regex(pattern)) != nil
  }
  return true
}

private func satisfiesType(_ value: JSONValue, _ schema: JSONValue) -> Bool {
  switch (schema["type"]?.string, value) {
  case (nil, _), ("null", .null), ("boolean", .bool), ("integer", .integer), ("number", .integer),
    ("number", .number), ("string", .string), ("array", .array), ("object", .object):
    true
  default: false
  }
}

/// What a schema asks of a value, for people: "an integer of at least 0".
private func expectation(_ schema: JSONValue) -> String {
  if let constant = schema["const"] { return shown(constant) }
  if let choices = schema["enum"]?.array {
    return "one of " + choices.map(shown).joined(separator: ", ")
  }
  let kind =
    switch schema["type"]?.string {
    case "integer": "an integer"
    case "array": "a list"
    case "object": "a set of named values"
    case "string": "text"
    case "boolean": "true or false"
    case "null": "null"
    case "number": "a number"
    default: "a value"
    }
  var bounds: [String] = []
  if let minimum = schema["minimum"] { bounds.append("of at least \(shown(minimum))") }
  if let bound = schema["exclusiveMinimum"] { bounds.append("above \(shown(bound))") }
  if let maximum = schema["maximum"] { bounds.append("of at most \(shown(maximum))") }
  if let least = schema["minItems"]?.integer {
    bounds.append("of at least \(counted(least, "element"))")
  }
  if let most = schema["maxItems"]?.integer {
    bounds.append("of at most \(counted(most, "element"))")
  }
  if let pattern = schema["pattern"]?.string { bounds.append("that matches \(pattern)") }
  return ([kind] + [bounds.joined(separator: " and ")]).filter { !$0.isEmpty }.joined(
    separator: " ")
}

private func shown(_ value: JSONValue) -> String {
  switch value {
  case .null: "null"
  case .bool(let value): "\(value)"
  case .integer(let value): "\(value)"
  case .number(let value): "\(value)"
  case .string(let text): text.count <= 60 ? "'\(text)'" : "'\(text.prefix(60))...'"
  case .array(let elements): "a list of \(elements.count)"
  case .object: "a set of named values"
  }
}

private func joined(_ path: String, _ name: String) -> String {
  path.isEmpty ? name : "\(path).\(name)"
}

private func definition(_ reference: String, in root: JSONValue) -> JSONValue? {
  guard reference.hasPrefix("#/$defs/") else { return nil }
  return root["$defs"]?[String(reference.dropFirst("#/$defs/".count))]
}

/// Stops the program at a keyword, or a use of one, that would go unenforced.
private func checkKeywords(of schema: JSONValue, root: JSONValue, source: String) {
  guard let members = schema.object else {
    preconditionFailure("\(source): a schema must be an object, it is \(shown(schema))")
  }
  func check(_ schema: JSONValue) { checkKeywords(of: schema, root: root, source: source) }
  for (keyword, value) in members {
    switch keyword {
    case "$schema", "$id", "$comment", "title", "description", "default", "examples", "required",
      "enum", "const":
      break
    case "minimum", "maximum", "exclusiveMinimum":
      precondition(value.double != nil, "\(source): \(keyword) is \(shown(value))")
    case "minItems", "maxItems":
      precondition(value.integer != nil, "\(source): \(keyword) is \(shown(value))")
    case "type":
      let known = ["null", "boolean", "integer", "number", "string", "array", "object"]
      precondition(known.contains(value.string ?? ""), "\(source): type is \(shown(value))")
    case "additionalProperties":
      precondition(value == .bool(false), "\(source): additionalProperties can only be false")
    case "properties", "$defs":
      value.object!.values.forEach(check)
    case "items":
      check(value)
    case "oneOf", "anyOf":
      precondition(
        members["oneOf"] == nil || members["anyOf"] == nil, "\(source): oneOf beside anyOf")
      value.array!.forEach(check)
    case "pattern":
      precondition((try? Regex(value.string!)) != nil, "\(source): pattern \(shown(value))")
    case "$ref":
      precondition(
        definition(value.string!, in: root) != nil, "\(source): $ref to \(shown(value))")
      precondition(
        Set(members.keys).isSubset(of: ["$ref", "description", "default", "title"]),
        "\(source): keywords beside $ref would go unenforced")
    default:
      preconditionFailure("\(source): the keyword '\(keyword)' is not enforced here")
    }
  }
}
