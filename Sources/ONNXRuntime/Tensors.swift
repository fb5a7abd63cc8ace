import Basics
internal import CONNXRuntime

/// An input in memory of our own: made once, filled again and again.
///
/// Not for several threads at once.
public final class InputTensor<Element: TensorElement> {
  /// Its lengths.
  public let shape: [Int]
  let value: OpaquePointer
  private let runtime: Runtime
  private let memory: UnsafeMutableBufferPointer<Element>

  /// Memory for a tensor of `shape`, all zeros.
  ///
  /// - Precondition: every length is at least 1.
  public init(_ runtime: Runtime, shape: [Int]) throws {
    precondition(shape.allSatisfy { $0 >= 1 }, "a tensor of shape \(shape)")
    let count = shape.reduce(1, *)
    let bytes = count * MemoryLayout<Element>.stride
    // As aligned as the widest vectors, so that the runtime reads it at full speed.
    let raw = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes, alignment: 64)
    raw.initializeMemory(as: UInt8.self, repeating: 0)
    memory = raw.bindMemory(to: Element.self)
    self.runtime = runtime
    self.shape = shape
    do {
      value = try runtime.table.make("cannot make a tensor of shape \(shape)") {
        runtime.table.pointer.pointee.CreateTensorWithDataAsOrtValue(
          runtime.memory.pointer, raw.baseAddress!, bytes, shape.map(Int64.init), shape.count,
          Element.elementType.rawValue, $0)
      }.pointer
    } catch {
      raw.deallocate()
      throw error
    }
  }

  deinit {
    runtime.table.pointer.pointee.ReleaseValue(value)
    UnsafeMutableRawBufferPointer(memory).deallocate()
  }

  /// Gives the values to be filled, row-major.
  public func withMutableValues<Result>(
    _ body: (inout MutableSpan<Element>) throws -> Result
  ) rethrows -> Result {
    var values = memory.mutableSpan
    return try body(&values)
  }
}

/// What a run gave, in the runtime's memory.
public final class OutputTensor {
  /// Its lengths.
  public let shape: [Int]
  /// What its numbers are.
  public let elementType: ElementType?
  private let session: Session
  private let value: OpaquePointer
  private let data: UnsafeMutableRawPointer

  /// Takes over a value that a run made.
  init(_ value: Handle, of session: Session) throws {
    let table = session.runtime.table
    let doing = "cannot read what the ONNX model \(session.source) gave"
    do {
      let info = try table.make(doing) {
        table.pointer.pointee.GetTensorTypeAndShape(value.pointer, $0)
      }
      defer { table.pointer.pointee.ReleaseTensorTypeAndShapeInfo(info.pointer) }
      (elementType, shape) = try table.shape(of: info.pointer, doing)
      var data: UnsafeMutableRawPointer?
      try table.check(table.pointer.pointee.GetTensorMutableData(value.pointer, &data), doing)
      guard let data else { throw Problem(.corrupt, "\(doing): it has no values") }
      self.data = data
    } catch {
      table.pointer.pointee.ReleaseValue(value.pointer)
      throw error
    }
    self.session = session
    self.value = value.pointer
  }

  deinit { session.runtime.table.pointer.pointee.ReleaseValue(value) }

  /// Gives the values, row-major.
  ///
  /// - Precondition: they are float32.
  public func withValues<Result>(_ body: (Span<Float>) throws -> Result) rethrows -> Result {
    precondition(
      elementType == .float32, "\(elementType.map(\.description) ?? "no") values as float32")
    let values = UnsafeBufferPointer(
      start: data.assumingMemoryBound(to: Float.self), count: shape.reduce(1, *))
    return try body(values.span)
  }
}
