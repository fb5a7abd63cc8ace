import Basics

/// Reads and writes `.npy` files, format versions 1 to 3, in C order.
///
/// Element types `u1 i4 i8 f4 f8`, little-endian; `f2` is read as float32.
/// Source: numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
public enum NumPy {
  /// Longest header accepted, in bytes; numpy itself writes fewer than 200.
  public static let headerLimit = 65_536

  /// Reads a file.
  ///
  /// - Throws: `Problem(.noInput)` when it cannot be read, `Problem(.corrupt)` when it is not an
  ///   `.npy` file of a type and order read here.
  public static func read(_ path: String) throws -> NamedArray {
    try decode(try Files.read(path), source: path)
  }

  /// Writes a file in one step; the same array gives the same bytes.
  public static func write(_ array: NamedArray, to path: String) throws {
    try Files.writeAtomically(encode(array), to: path)
  }

  /// Reads the bytes of a file; `source` names it in errors.
  public static func decode(_ bytes: [UInt8], source: String) throws -> NamedArray {
    let place = try place(in: bytes[...], fileBytes: bytes.count, source: source)
    return NamedArray(shape: place.shape, values: place.type.decode(bytes[place.bytes]))
  }

  /// Where a file's array lies; its size agrees with the file's.
  ///
  /// - Parameter head: the file's first bytes: all, or as many as the longest header takes.
  static func place(
    in head: ArraySlice<UInt8>, fileBytes: Int, source: String
  ) throws -> ArrayPlace {
    let head = Array(head)
    let (headerStart, dataStart) = try layout(of: head, source: source)
    var parser = HeaderParser(text: head[headerStart..<dataStart], source: source)
    let header = try parser.parse()
    guard let type = ElementType.allCases.first(where: { $0.numpyName == header.type }) else {
      throw Problem(
        .corrupt,
        "\(source) has elements of type '\(header.type)'; |u1, <i4, <i8, <f2, <f4 and <f8 are read")
    }
    guard !header.fortranOrder || header.shape.count < 2 else {
      throw Problem(
        .corrupt,
        "\(source) is in Fortran order; save it with numpy.ascontiguousarray to get C order")
    }
    let found = fileBytes - dataStart
    guard let count = elementCount(of: header.shape),
      let size = elementCount(of: [count, type.size]), size == found
    else {
      throw Problem(
        .corrupt,
        "\(source) has \(found) bytes of data, which is not the size of shape "
          + "\(header.shape) with elements '\(header.type)'")
    }
    return ArrayPlace(type: type, shape: header.shape, bytes: dataStart..<fileBytes)
  }

  /// The bytes of a file, format version 1.0, as numpy itself would write it.
  public static func encode(_ array: NamedArray) -> [UInt8] {
    var bytes = header(ElementType(of: array.values), array.shape)
    array.values.append(to: &bytes)
    return bytes
  }

  /// What comes before the elements.
  static func header(_ type: ElementType, _ shape: [Int]) -> [UInt8] {
    guard let name = type.numpyName else { preconditionFailure("numpy has no \(type)") }
    let lengths = shape.map(String.init).joined(separator: ", ")
    let tuple = shape.count == 1 ? "(\(lengths),)" : "(\(lengths))"
    var header = Array("{'descr': '\(name)', 'fortran_order': False, 'shape': \(tuple), }".utf8)
    // Spaces and a line feed bring the data to a multiple of 64 bytes.
    while (magic.count + 4 + header.count + 1) % 64 != 0 { header.append(UInt8(ascii: " ")) }
    header.append(UInt8(ascii: "\n"))
    var bytes = magic + [1, 0]
    bytes.appendLittleEndian(UInt16(header.count))
    return bytes + header
  }
}

private let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

extension ElementType {
  /// What `.npy` headers call it; nil for bfloat16, which numpy does not know.
  fileprivate var numpyName: String? {
    switch self {
    case .uint8: "|u1"
    case .int32: "<i4"
    case .int64: "<i8"
    case .float16: "<f2"
    case .bfloat16: nil
    case .float32: "<f4"
    case .float64: "<f8"
    }
  }
}

/// Where the header and the data begin; the header lies wholly inside the file.
private func layout(
  of bytes: [UInt8], source: String
) throws -> (headerStart: Int, dataStart: Int) {
  guard bytes.count >= 10, bytes.starts(with: magic) else {
    throw Problem(.corrupt, "\(source) is not an .npy file: it does not begin with \\x93NUMPY")
  }
  let version = bytes[6]
  guard (1...3).contains(version), bytes[7] == 0 else {
    throw Problem(
      .corrupt, "\(source) is .npy version \(version).\(bytes[7]); 1.0, 2.0 and 3.0 are read")
  }
  let lengthSize = version == 1 ? 2 : 4
  let headerStart = 8 + lengthSize
  let length = bytes[8..<min(headerStart, bytes.count)].reversed().reduce(0) { $0 << 8 | Int($1) }
  guard length <= NumPy.headerLimit, headerStart + length <= bytes.count else {
    throw Problem(
      .corrupt,
      "\(source) claims a header of \(length) bytes; \(max(0, bytes.count - headerStart)) bytes "
        + "follow and the limit is \(NumPy.headerLimit)")
  }
  return (headerStart, headerStart + length)
}

/// Reads the one shape of Python literal that `.npy` headers have: a flat dictionary with the keys
/// `descr` (text), `fortran_order` (True or False) and `shape` (a tuple of integers), each once.
private struct HeaderParser {
  var text: ArraySlice<UInt8>
  let source: String

  mutating func parse() throws -> (type: String, fortranOrder: Bool, shape: [Int]) {
    var (type, fortranOrder, shape): (String?, Bool?, [Int]?)
    try expect("{")
    while !skip("}") {
      let key = try quoted()
      try expect(":")
      switch key {
      case "descr" where type == nil: type = try quoted()
      case "fortran_order" where fortranOrder == nil: fortranOrder = try boolean()
      case "shape" where shape == nil: shape = try tuple()
      default: throw problem("has the key '\(key)' twice or unexpectedly")
      }
      if !skip(",") {
        try expect("}")
        break
      }
    }
    skipSpace()
    guard text.isEmpty else { throw problem("goes on after its end") }
    guard let type, let fortranOrder, let shape else {
      throw problem("lacks one of descr, fortran_order and shape")
    }
    return (type, fortranOrder, shape)
  }

  private func problem(_ text: String) -> Problem {
    Problem(.corrupt, "the .npy header of \(source) \(text)")
  }

  private mutating func skipSpace() {
    text = text.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }
  }

  private mutating func skip(_ token: String) -> Bool {
    skipSpace()
    guard text.starts(with: token.utf8) else { return false }
    text = text.dropFirst(token.utf8.count)
    return true
  }

  private mutating func expect(_ token: String) throws {
    guard skip(token) else { throw problem("lacks '\(token)' where it was expected") }
  }

  private mutating func quoted() throws -> String {
    let quote = skip("'") ? "'" : "\""
    if quote == "\"" { try expect(quote) }
    let content = text.prefix { $0 != quote.utf8.first }
    text = text.dropFirst(content.count)
    try expect(quote)
    return String(decoding: content, as: UTF8.self)
  }

  private mutating func boolean() throws -> Bool {
    if skip("True") { return true }
    if skip("False") { return false }
    throw problem("has a fortran_order that is neither True nor False")
  }

  private mutating func tuple() throws -> [Int] {
    var lengths: [Int] = []
    try expect("(")
    while !skip(")") {
      skipSpace()
      let digits = text.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
      guard let length = Int(String(decoding: digits, as: UTF8.self)) else {
        throw problem("has a shape that is not a tuple of lengths")
      }
      lengths.append(length)
      text = text.dropFirst(digits.count)
      if !skip(",") {
        try expect(")")
        break
      }
    }
    return lengths
  }
}
