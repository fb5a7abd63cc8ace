public import Basics
import Yams

/// Reads one YAML document as plain data.
///
/// Plain words mean what YAML 1.2's core schema says: `true`, `false`, `null`, `~`, decimal integers
/// and finite decimal numbers; everything else is text, also `no`, `on` and `12:30`.
/// - Throws: `Problem(.configuration)` naming `source`: no YAML, a name twice, two documents.
public func parseYAML(_ bytes: [UInt8], source: String) throws -> JSONValue {
  guard let text = String(validating: bytes, as: UTF8.self) else {
    throw Problem(.configuration, "\(source) is not UTF-8 text")
  }
  let node: Node?
  do {
    node = try compose(yaml: text)
  } catch {
    throw Problem(.configuration, "\(source) is not valid YAML: \(error)")
  }
  return try value(of: node, source: source)
}

private func value(of node: Node?, source: String) throws -> JSONValue {
  switch node {
  case nil: .null
  case .scalar(let scalar): value(of: scalar)
  case .sequence(let sequence): .array(try sequence.map { try value(of: $0, source: source) })
  case .mapping(let mapping): .object(try members(of: mapping, source: source))
  case .alias:
    throw Problem(.configuration, "\(source) has an alias that leads nowhere")
  }
}

private func members(of mapping: Node.Mapping, source: String) throws -> [String: JSONValue] {
  var members: [String: JSONValue] = [:]
  for (key, node) in mapping {
    guard let name = key.scalar?.string else {
      throw Problem(.configuration, "\(source) has a name that is not text")
    }
    guard members.updateValue(try value(of: node, source: source), forKey: name) == nil else {
      throw Problem(.configuration, "\(source) has the name '\(name)' twice")
    }
  }
  return members
}

private func value(of scalar: Node.Scalar) -> JSONValue {
  guard scalar.style == .plain || scalar.style == .any else { return .string(scalar.string) }
  switch scalar.string {
  case "", "~", "null": return .null
  case "true": return .bool(true)
  case "false": return .bool(false)
  case let text where text.utf8.allSatisfy(isNumeric):
    if let integer = Int(text) { return .integer(integer) }
    if let number = Double(text), number.isFinite { return .number(number) }
    return .string(text)
  case let text: return .string(text)
  }
}

/// Whether a byte may occur in a decimal number.
private func isNumeric(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): true
  case UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "e"),
    UInt8(ascii: "E"):
    true
  default: false
  }
}
