import Basics
import Foundation

/// An array of an `.npy` or safetensors file that is read in pieces, however large the file is.
///
/// Threads may share it: reading has no position.
package final class ArrayFile: Sendable {
  /// What it was opened as: "rows.npy", "rows.safetensors:logits".
  package let name: String
  /// The length of each axis.
  package let shape: [Int]
  private let path: String
  private let type: ElementType
  /// Where the elements begin, in bytes.
  private let start: Int
  private let file: CInt
  private let version: FileVersion

  /// The element type, for people: "float32".
  package var typeName: String { type.rawValue }
  /// Whether elements are floating-point numbers, of any width.
  package var holdsFloats: Bool {
    switch type {
    case .float16, .bfloat16, .float32, .float64: true
    case .uint8, .int32, .int64: false
    }
  }
  /// The number of elements.
  package var count: Int { shape.reduce(1, *) }
  /// Bits of an element's significand, the leading one included: how exact floating-point elements are.
  package var significantBits: Int {
    switch type {
    case .float16: 11
    case .bfloat16: 8
    case .float32: 24
    case .float64: 53
    case .uint8, .int32, .int64: type.size * 8
    }
  }

  /// Opens an array; reads no more than the file's header.
  ///
  /// - Parameter name: a path that ends in `.npy`, or in `.safetensors`, with `:ARRAY` behind it when the file
  ///   has more than one.
  /// - Throws: `Problem(.usage)` when the name does not say which array it is; `.noInput` when the file cannot be
  ///   read; `.corrupt` when it is not a sound file of its kind.
  package init(_ name: String) throws {
    let (path, array) = try ArrayFile.split(name)
    // Does not wait for somebody to write to a named pipe.
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else {
      throw Problem(.noInput, "cannot open \(path): \(String(cString: strerror(errno)))")
    }
    do {
      guard let version = FileVersion(of: file) else {
        throw Problem(.noInput, "cannot read \(path): it is not a regular file")
      }
      let place = try ArrayFile.place(of: array, in: file, version.bytes, path)
      (self.name, self.path, self.file, self.version) = (name, path, file, version)
      (shape, type, start) = (place.shape, place.type, place.bytes.lowerBound)
    } catch {
      close(file)
      throw error
    }
  }

  deinit { close(file) }

  /// Refuses a file that was changed since it was opened.
  ///
  /// - Throws: `Problem(.corrupt)`.
  package func demandUnchanged() throws {
    guard FileVersion(of: file) == version else {
      throw Problem(
        .corrupt,
        "\(path) was changed while it was read: what was made of it is of no one file; begin again")
    }
  }

  /// SHA-256 of the elements as they lie in the file.
  ///
  /// - Parameter progress: called after each piece with bytes read and bytes in all; what it throws ends the call.
  package func digest(
    progress: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }
  ) throws -> Digest {
    var builder = DigestBuilder()
    let size = count * type.size
    try withUnsafeTemporaryAllocation(byteCount: 1 << 20, alignment: 64) { piece in
      var done = 0
      while done < size {
        let part = UnsafeMutableRawBufferPointer(rebasing: piece[..<min(piece.count, size - done)])
        try read(part, at: start + done)
        builder.append(UnsafeRawBufferPointer(part))
        done += part.count
        try progress(done, size)
      }
    }
    return builder.finish()
  }

  /// Reads elements as float32; float64 is rounded, integers are converted.
  ///
  /// - Precondition: the range lies in the array, and there is room for it.
  package func read(_ range: Range<Int>, into target: UnsafeMutableBufferPointer<Float>) throws {
    precondition(target.count == range.count, "room for \(target.count) of \(range.count)")
    try forEachPiece(of: range) { bytes, done in
      switch type {
      case .float32: convert(bytes, target, done) { (bits: UInt32) in Float(bitPattern: bits) }
      case .float64:
        convert(bytes, target, done) { (bits: UInt64) in Float(Double(bitPattern: bits)) }
      case .float16: convert(bytes, target, done, float(half:))
      case .bfloat16: convert(bytes, target, done, float(bfloat:))
      case .uint8: convert(bytes, target, done) { (value: UInt8) in Float(value) }
      case .int32: convert(bytes, target, done) { (value: Int32) in Float(value) }
      case .int64: convert(bytes, target, done) { (value: Int64) in Float(value) }
      }
    }
  }

  /// Reads elements as float64.
  ///
  /// - Precondition: the range lies in the array.
  package func doubles(_ range: Range<Int>) throws -> [Double] {
    var values = [Double](repeating: 0, count: range.count)
    try values.withUnsafeMutableBufferPointer { target in
      try forEachPiece(of: range) { bytes, done in
        switch type {
        case .float32:
          convert(bytes, target, done) { (bits: UInt32) in Double(Float(bitPattern: bits)) }
        case .float64: convert(bytes, target, done) { (bits: UInt64) in Double(bitPattern: bits) }
        case .float16: convert(bytes, target, done) { Double(float(half: $0)) }
        case .bfloat16: convert(bytes, target, done) { Double(float(bfloat: $0)) }
        case .uint8: convert(bytes, target, done) { (value: UInt8) in Double(value) }
        case .int32: convert(bytes, target, done) { (value: Int32) in Double(value) }
        case .int64: convert(bytes, target, done) { (value: Int64) in Double(value) }
        }
      }
    }
    return values
  }

  /// Reads elements as integers.
  ///
  /// - Precondition: the range lies in the array, and `holdsFloats` is false.
  package func integers(_ range: Range<Int>) throws -> [Int] {
    var values = [Int](repeating: 0, count: range.count)
    try values.withUnsafeMutableBufferPointer { target in
      try forEachPiece(of: range) { bytes, done in
        switch type {
        case .uint8: convert(bytes, target, done) { (value: UInt8) in Int(value) }
        case .int32: convert(bytes, target, done) { (value: Int32) in Int(value) }
        case .int64: convert(bytes, target, done) { (value: Int64) in Int(value) }
        case .float16, .bfloat16, .float32, .float64:
          preconditionFailure("\(name) holds \(type), not integers")
        }
      }
    }
    return values
  }

  /// Reads the bytes of elements, some thousand at a time.
  private func forEachPiece(
    of range: Range<Int>, _ body: (_ bytes: UnsafeRawBufferPointer, _ done: Int) -> Void
  ) throws {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count,
      "elements \(range) of the \(count) of \(name)")
    let size = type.size
    let most = max(1, min(range.count, (1 << 18) / size))
    try withUnsafeTemporaryAllocation(byteCount: most * size, alignment: 64) { piece in
      var done = 0
      while done < range.count {
        let part = UnsafeMutableRawBufferPointer(
          rebasing: piece[..<(min(most, range.count - done) * size)])
        try read(part, at: start + (range.lowerBound + done) * size)
        body(UnsafeRawBufferPointer(part), done)
        done += part.count / size
      }
    }
  }

  private func read(_ target: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    try ArrayFile.read(file, target, at: offset, path)
  }
}

extension ArrayFile {
  /// The path, and the array's name behind `.safetensors:`.
  private static func split(_ name: String) throws -> (path: String, array: String?) {
    if name.hasSuffix(".npy") || name.hasSuffix(".safetensors") { return (name, nil) }
    if let range = name.range(of: ".safetensors:", options: .backwards) {
      let path = String(name[..<name.index(before: range.upperBound)])
      return (path, String(name[range.upperBound...]))
    }
    throw Problem(
      .usage, "'\(name)' is no array: give FILE.npy, FILE.safetensors or FILE.safetensors:ARRAY")
  }

  private static func place(
    of array: String?, in file: CInt, _ size: Int, _ path: String
  ) throws -> ArrayPlace {
    guard path.hasSuffix(".safetensors") else {
      let head = try head(of: file, min(size, 12 + NumPy.headerLimit), path)
      return try NumPy.place(in: head[...], fileBytes: size, source: path)
    }
    // The first eight bytes say how long the header is; a wrong length is refused by `layout`.
    let length = try head(of: file, min(size, 8), path).reversed().reduce(0 as UInt64) {
      $0 << 8 | UInt64($1)
    }
    let header = min(length, UInt64(Safetensors.headerLimit))
    let head = try head(of: file, min(size, 8 + Int(header)), path)
    let places = try Safetensors.layout(of: head, fileBytes: size, source: path).places
    let names = places.keys.sorted().joined(separator: ", ")
    guard let array else {
      guard places.count == 1, let only = places.first else {
        throw Problem(
          .usage, "\(path) has \(places.count) arrays (\(names)): name one, \(path):ARRAY")
      }
      return only.value
    }
    guard let place = places[array] else {
      throw Problem(.usage, "\(path) has no array '\(array)'; it has \(names)")
    }
    return place
  }

  private static func head(of file: CInt, _ count: Int, _ path: String) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try bytes.withUnsafeMutableBytes { try read(file, $0, at: 0, path) }
    return bytes
  }

  private static func read(
    _ file: CInt, _ target: UnsafeMutableRawBufferPointer, at offset: Int, _ path: String
  ) throws {
    var done = 0
    while done < target.count {
      let part = UnsafeMutableRawBufferPointer(rebasing: target[done...])
      let count = pread(file, part.baseAddress, part.count, off_t(offset + done))
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        let reason = count == 0 ? "it was cut while it was read" : String(cString: strerror(errno))
        throw Problem(.inputOutput, "cannot read \(path): \(reason)")
      }
      done += count
    }
  }
}

/// What changes when somebody writes to a file.
private struct FileVersion: Equatable, Sendable {
  var bytes: Int
  var seconds: Int
  var nanoseconds: Int

  /// `nil` when it is no regular file.
  init?(of file: CInt) {
    var status = stat()
    guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    bytes = Int(status.st_size)
    seconds = status.st_mtim.tv_sec
    nanoseconds = status.st_mtim.tv_nsec
  }
}

/// Converts little-endian numbers.
@inline(__always)
private func convert<Bits: FixedWidthInteger, Value>(
  _ bytes: UnsafeRawBufferPointer, _ target: UnsafeMutableBufferPointer<Value>, _ start: Int,
  _ value: (Bits) -> Value
) {
  let size = Bits.bitWidth / 8
  for index in 0..<bytes.count / size {
    let bits = bytes.loadUnaligned(fromByteOffset: index &* size, as: Bits.self)
    target[start &+ index] = value(Bits(littleEndian: bits))
  }
}
