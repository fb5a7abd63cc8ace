import Basics

/// An `.npy` or safetensors file whose arrays are written in pieces, in any order.
///
/// The file comes to be in one step, by `commit`.
package final class ArrayFileWriter {
  /// What an array is made of.
  package enum Elements: String, Codable, Sendable { case int32, int64, float32, float64 }

  /// An array to write.
  package struct Description: Sendable {
    /// Its name; `.npy` files have none.
    package var name: String
    /// Its elements.
    package var elements: Elements
    /// The length of each axis.
    package var shape: [Int]

    /// Describes an array.
    package init(_ name: String, _ elements: Elements, _ shape: [Int]) {
      (self.name, self.elements, self.shape) = (name, elements, shape)
    }
  }

  /// Bytes of the finished file.
  package let byteCount: Int
  private let file: AtomicFile
  private let places: [String: ArrayPlace]

  /// Begins an `.npy` file.
  package init(npy path: String, _ array: Description) throws {
    let type = array.elements.type
    let header = NumPy.header(type, array.shape)
    let size = array.shape.reduce(type.size, *)
    byteCount = header.count + size
    places = [
      array.name: ArrayPlace(
        type: type, shape: array.shape, bytes: header.count..<header.count + size)
    ]
    file = try AtomicFile(path)
    try header.withUnsafeBytes { try file.write($0, at: 0) }
  }

  /// Begins a safetensors file.
  ///
  /// - Precondition: names differ.
  package init(
    safetensors path: String, _ arrays: [Description], metadata: [String: String]
  ) throws {
    let (header, places) = try Safetensors.header(
      of: arrays.map { ($0.name, $0.elements.type, $0.shape) }, metadata: metadata)
    self.places = places
    byteCount = places.values.map(\.bytes.upperBound).max() ?? header.count
    file = try AtomicFile(path)
    try header.withUnsafeBytes { try file.write($0, at: 0) }
  }

  /// Writes elements of an array from element `start` on.
  ///
  /// - Precondition: the array was described, with these elements, and they lie in it.
  package func write<Element: BitwiseCopyable>(
    _ elements: some Collection<Element>, to name: String, at start: Int
  ) throws {
    guard let place = places[name] else { preconditionFailure("no array \(name) was described") }
    let size = place.type.size
    precondition(
      MemoryLayout<Element>.size == size && start >= 0
        && (start + elements.count) * size <= place.bytes.count,
      "\(elements.count) elements at \(start) of \(name), \(place.type) \(place.shape)")
    let offset = place.bytes.lowerBound + start * size
    // The same bytes as little-endian integers: all machines that Swift runs on here have that order.
    let written: Void? = try elements.withContiguousStorageIfAvailable {
      try file.write(UnsafeRawBufferPointer($0), at: offset)
    }
    if written == nil {
      try Array(elements).withUnsafeBytes { try file.write($0, at: offset) }
    }
  }

  /// Puts the file in its place.
  package func commit() throws { try file.commit() }
}

extension ArrayFileWriter.Elements {
  fileprivate var type: ElementType {
    switch self {
    case .int32: .int32
    case .int64: .int64
    case .float32: .float32
    case .float64: .float64
    }
  }
}
