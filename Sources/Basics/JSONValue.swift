import Foundation

/// A JSON document as plain data; YAML files are read into it too.
public enum JSONValue: Hashable, Sendable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  /// The member `key` of an object; `nil` for anything else.
  public subscript(key: String) -> JSONValue? {
    if case .object(let members) = self { members[key] } else { nil }
  }

  /// The element of an array; `nil` for anything else.
  public subscript(index: Int) -> JSONValue? {
    if case .array(let elements) = self, elements.indices.contains(index) {
      elements[index]
    } else {
      nil
    }
  }

  /// The text of a string.
  public var string: String? { if case .string(let text) = self { text } else { nil } }
  /// The value of an integer.
  public var integer: Int? { if case .integer(let value) = self { value } else { nil } }
  /// The value of an integer or a number.
  public var double: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }
  /// The value of a boolean.
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  /// The elements of an array.
  public var array: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }
  /// The members of an object.
  public var object: [String: JSONValue]? {
    if case .object(let members) = self { members } else { nil }
  }
}

extension JSONValue: Codable {
  /// Reads any JSON value.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  /// Writes the value as JSON.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .integer(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .object(let value): try container.encode(value)
    }
  }
}

/// JSON with sorted keys and no spaces: the same value gives the same bytes on every machine.
///
/// What is digested holds no floating-point numbers (fractions are written as text, "1/32"), so
/// number formatting never decides a digest.
public func canonicalJSON(_ value: some Encodable) throws -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  return String(decoding: try encoder.encode(value), as: UTF8.self)
}

/// JSON for people and scripts: sorted keys, indented, one newline at the end.
public func readableJSON(_ value: some Encodable) throws -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
  return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
}

/// Reads a JSON document.
///
/// - Throws: `Problem(.configuration)` naming `source` when the text is not JSON.
public func parseJSON(_ text: some Sequence<UInt8>, source: String) throws -> JSONValue {
  do {
    return try JSONDecoder().decode(JSONValue.self, from: Data(text))
  } catch {
    throw Problem(.configuration, "\(source) is not valid JSON: \(error)")
  }
}

/// Decodes JSON text into a type.
///
/// - Throws: `Problem(.corrupt)` naming `source` and the first field that does not fit.
public func decode<T: Decodable>(_ type: T.Type, from text: String, source: String) throws -> T {
  do {
    return try JSONDecoder().decode(type, from: Data(text.utf8))
  } catch let problem as Problem {
    throw problem
  } catch {
    throw Problem(.corrupt, "\(source) does not hold a valid \(type): \(error)")
  }
}
