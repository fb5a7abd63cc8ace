import Basics

/// What a safetensors file holds: arrays by name, and free text by name.
public struct SafetensorsFile: Hashable, Sendable {
  /// The arrays by name.
  public var arrays: [String: NamedArray]
  /// The file's `__metadata__`.
  public var metadata: [String: String]

  /// Joins arrays and metadata.
  public init(arrays: [String: NamedArray], metadata: [String: String] = [:]) {
    self.arrays = arrays
    self.metadata = metadata
  }
}

/// Reads and writes safetensors files: `u64 header length, JSON header, data`, little-endian.
///
/// Element types U8, I32, I64, F32 and F64; F16 and BF16 are read as float32. Every size is checked against the bytes at hand before
/// anything is allocated, and the data must be covered exactly: no overlap, no gap, nothing after.
/// Source: github.com/huggingface/safetensors, README "Format".
public enum Safetensors {
  /// Longest header accepted, in bytes; the reference implementation has the same limit.
  public static let headerLimit = 100_000_000

  /// Reads a file.
  ///
  /// - Throws: `Problem(.noInput)` when it cannot be read, `Problem(.corrupt)` when it is not a
  ///   sound safetensors file.
  public static func read(_ path: String) throws -> SafetensorsFile {
    try decode(try Files.read(path), source: path)
  }

  /// Writes a file in one step; the same content gives the same bytes.
  public static func write(_ file: SafetensorsFile, to path: String) throws {
    try Files.writeAtomically(try encode(file), to: path)
  }

  /// Reads the bytes of a file; `source` names it in errors.
  public static func decode(_ bytes: [UInt8], source: String) throws -> SafetensorsFile {
    let (places, metadata) = try layout(of: bytes, fileBytes: bytes.count, source: source)
    let arrays = places.mapValues { place in
      NamedArray(shape: place.shape, values: place.type.decode(bytes[place.bytes]))
    }
    return SafetensorsFile(arrays: arrays, metadata: metadata)
  }

  /// Where the arrays of a file lie; the data are covered exactly.
  ///
  /// - Parameter head: the file's first bytes, at least to the end of its header.
  static func layout(
    of head: [UInt8], fileBytes: Int, source: String
  ) throws -> (places: [String: ArrayPlace], metadata: [String: String]) {
    let dataStart = try dataStart(of: head, fileBytes: fileBytes, source: source)
    let header = try parseHeader(head[8..<dataStart], source: source)
    let entries = try header.members.sorted { $0.key < $1.key }.map { name, value in
      try Entry(name: name, value, source: source)
    }
    try checkCoverage(entries, dataSize: fileBytes - dataStart, source: source)
    let places = entries.map { entry in
      let bytes = dataStart + entry.begin..<dataStart + entry.end
      return (entry.name, ArrayPlace(type: entry.type, shape: entry.shape, bytes: bytes))
    }
    return (Dictionary(uniqueKeysWithValues: places), header.metadata)
  }

  /// The bytes of a file: widest elements first, then by name, so that every array is aligned.
  ///
  /// - Precondition: no array is named `__metadata__`.
  public static func encode(_ file: SafetensorsFile) throws -> [UInt8] {
    let (header, places) = try header(
      of: file.arrays.map { ($0.key, ElementType(of: $0.value.values), $0.value.shape) },
      metadata: file.metadata)
    var bytes = header
    bytes.reserveCapacity(places.values.map(\.bytes.upperBound).max() ?? header.count)
    for (name, _) in places.sorted(by: { $0.value.bytes.lowerBound < $1.value.bytes.lowerBound }) {
      file.arrays[name]?.values.append(to: &bytes)
    }
    return bytes
  }

  /// What comes before the data, and where each array then lies.
  ///
  /// - Precondition: names differ, none is `__metadata__`.
  static func header(
    of arrays: [(name: String, type: ElementType, shape: [Int])], metadata: [String: String]
  ) throws -> (bytes: [UInt8], places: [String: ArrayPlace]) {
    let order = arrays.sorted { left, right in
      left.type.size == right.type.size
        ? left.name < right.name : left.type.size > right.type.size
    }
    var header: [String: JSONValue] = [:]
    if !metadata.isEmpty { header[metadataKey] = .object(metadata.mapValues { .string($0) }) }
    var places: [String: ArrayPlace] = [:]
    var position = 0
    for (name, type, shape) in order {
      precondition(
        name != metadataKey && places[name] == nil, "an array cannot be named \(name) (again)")
      let end = position + shape.reduce(type.size, *)
      header[name] = .object([
        "dtype": .string(type.safetensorsName),
        "shape": .array(shape.map { .integer($0) }),
        "data_offsets": .array([.integer(position), .integer(end)]),
      ])
      places[name] = ArrayPlace(type: type, shape: shape, bytes: position..<end)
      position = end
    }
    var text = Array(try canonicalJSON(JSONValue.object(header)).utf8)
    while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(UInt64(text.count))
    bytes += text
    return (bytes, places.mapValues { $0.moved(by: bytes.count) })
  }
}

private let metadataKey = "__metadata__"

/// Where one array lies in the data, with its type and shape; sizes already agree.
private struct Entry {
  var name: String
  var type: ElementType
  var shape: [Int]
  var begin: Int
  var end: Int

  init(name: String, _ value: JSONValue, source: String) throws {
    func problem(_ text: String) -> Problem {
      Problem(.corrupt, "\(source): array '\(name)' \(text)")
    }
    guard let members = value.object, Set(members.keys) == ["dtype", "shape", "data_offsets"] else {
      throw problem("must have exactly the members dtype, shape and data_offsets")
    }
    let typeName = members["dtype"]?.string ?? "?"
    guard let type = ElementType.allCases.first(where: { $0.safetensorsName == typeName }) else {
      throw problem(
        "has elements of type \(typeName); U8, I32, I64, F16, BF16, F32 and F64 are "
          + "read")
    }
    let shape = members["shape"]?.array?.compactMap(\.integer) ?? []
    let offsets = members["data_offsets"]?.array?.compactMap(\.integer) ?? []
    guard shape.count == members["shape"]?.array?.count, shape.allSatisfy({ $0 >= 0 }) else {
      throw problem("has a shape that is not a list of lengths")
    }
    guard offsets.count == 2, members["data_offsets"]?.array?.count == 2,
      0 <= offsets[0], offsets[0] <= offsets[1]
    else {
      throw problem("has data_offsets that are not [begin, end]")
    }
    guard let count = elementCount(of: shape), let size = elementCount(of: [count, type.size]),
      size == offsets[1] - offsets[0]
    else {
      throw problem(
        "of shape \(shape) and type \(typeName) lies in \(offsets[1] - offsets[0]) bytes, "
          + "which is not its size")
    }
    (self.name, self.type, self.shape) = (name, type, shape)
    (begin, end) = (offsets[0], offsets[1])
  }
}

extension ElementType {
  fileprivate var safetensorsName: String {
    switch self {
    case .uint8: "U8"
    case .int32: "I32"
    case .int64: "I64"
    case .float16: "F16"
    case .bfloat16: "BF16"
    case .float32: "F32"
    case .float64: "F64"
    }
  }
}

/// Where the data begins; the header before it lies wholly inside the file.
private func dataStart(
  of bytes: [UInt8], fileBytes: Int, source: String
) throws -> Int {
  guard bytes.count >= 8 else {
    throw Problem(
      .corrupt, "\(source) is not a safetensors file: \(bytes.count) bytes, the shortest has 8")
  }
  let length = bytes.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
  guard length <= UInt64(Safetensors.headerLimit) else {
    throw Problem(
      .corrupt,
      "\(source) is not a safetensors file: it claims a header of \(length) bytes, "
        + "the limit is \(Safetensors.headerLimit)")
  }
  guard Int(length) <= fileBytes - 8 else {
    throw Problem(
      .corrupt,
      "\(source) is cut off: its header claims \(length) bytes, \(fileBytes - 8) follow")
  }
  return 8 + Int(length)
}

private func parseHeader(
  _ text: ArraySlice<UInt8>, source: String
) throws -> (members: [String: JSONValue], metadata: [String: String]) {
  let value: JSONValue
  do {
    value = try parseJSON(text, source: "the header of \(source)")
  } catch let problem as Problem {
    throw Problem(.corrupt, problem.message)
  }
  guard text.first == UInt8(ascii: "{"), var members = value.object else {
    throw Problem(.corrupt, "\(source) is not a safetensors file: its header is no JSON object")
  }
  guard memberCount(of: value) == writtenMemberCount(in: text) else {
    throw Problem(.corrupt, "the header of \(source) has the same name twice")
  }
  guard let entry = members.removeValue(forKey: metadataKey) else { return (members, [:]) }
  let metadata = entry.object?.compactMapValues(\.string)
  guard let metadata, metadata.count == entry.object?.count else {
    throw Problem(.corrupt, "\(source): \(metadataKey) must map names to text")
  }
  return (members, metadata)
}

/// How many `name: value` pairs a parsed document has.
private func memberCount(of value: JSONValue) -> Int {
  switch value {
  case .object(let members): members.values.reduce(members.count) { $0 + memberCount(of: $1) }
  case .array(let elements): elements.reduce(0) { $0 + memberCount(of: $1) }
  default: 0
  }
}

/// How many `name: value` pairs valid JSON text spells out: its colons outside of strings.
///
/// The parser keeps one of two equal names, so a difference of the counts betrays a repeated name.
private func writtenMemberCount(in text: ArraySlice<UInt8>) -> Int {
  var (count, inString, escaped) = (0, false, false)
  for byte in text {
    if escaped {
      escaped = false
    } else if byte == UInt8(ascii: "\\") {
      escaped = true
    } else if byte == UInt8(ascii: "\"") {
      inString.toggle()
    } else if byte == UInt8(ascii: ":"), !inString {
      count += 1
    }
  }
  return count
}

/// Refuses arrays that overlap, leave gaps, or do not end where the file ends.
private func checkCoverage(_ entries: [Entry], dataSize: Int, source: String) throws {
  var position = 0
  for entry in entries.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
    guard entry.begin == position else {
      throw Problem(
        .corrupt,
        "\(source): array '\(entry.name)' begins at byte \(entry.begin) of the data, where "
          + "\(position) was expected: arrays must neither overlap nor leave gaps")
    }
    position = entry.end
  }
  guard position == dataSize else {
    throw Problem(
      .corrupt, "\(source) has \(dataSize) bytes of data where its header describes \(position)")
  }
}
