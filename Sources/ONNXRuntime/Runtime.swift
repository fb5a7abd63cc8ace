import Basics
internal import CONNXRuntime
import Glibc
import Synchronization

/// ONNX Runtime, opened from a shared library while the program runs.
///
/// Only the CPU provider is used. The library stays loaded until the process ends.
public final class Runtime: Sendable {
  /// The library's version, "1.31.1".
  public let version: String
  /// The providers that compute, in order of preference.
  public let providers = ["CPUExecutionProvider"]
  /// The library's file, for messages.
  public let path: String
  let table: Table
  let environment: Handle
  let memory: Handle
  let allocator: Handle

  /// Opens the library at `place`; without one, the library that the system's loader knows.
  ///
  /// - Throws: `Problem(.noInput)` when there is none, with what to install;
  ///   `Problem(.configuration)` when the file is not ONNX Runtime or too old.
  public convenience init(_ place: LibraryPlace?) throws {
    try self.init(place, tableVersion: UInt32(OrtTableVersion))
  }

  /// - Parameter tableVersion: the API version to ask for; a parameter for tests.
  package init(_ place: LibraryPlace?, tableVersion: UInt32) throws {
    path = try place?.libraryFile() ?? "libonnxruntime.so.1"
    guard let library = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      let reason = dlerror().map { String(cString: $0) } ?? "unknown reason"
      let named =
        place == nil ? "no place is named and the system has none (\(reason))" : reason
      throw Problem(.noInput, "cannot open ONNX Runtime: \(named); \(LibraryPlace.advice)")
    }
    guard let symbol = dlsym(library, "OrtGetApiBase"),
      let base = unsafeBitCast(symbol, to: OrtGetBase.self)()?.pointee
    else {
      throw Problem(
        .configuration,
        "\(path) is not ONNX Runtime: it has no OrtGetApiBase; \(LibraryPlace.advice)")
    }
    version = String(cString: base.GetVersionString())
    guard let pointer = base.GetApi(tableVersion) else {
      throw Problem(
        .configuration,
        "\(path) is ONNX Runtime \(version), which has no API version \(tableVersion); "
          + LibraryPlace.advice)
    }
    table = Table(pointer: pointer)
    environment = try Runtime.environment(table)
    memory = try table.make("describe memory") {
      pointer.pointee.CreateCpuMemoryInfo(Runtime.arenaAllocator, Runtime.defaultMemory, $0)
    }
    allocator = try table.make("find the allocator") {
      pointer.pointee.GetAllocatorWithDefaultOptions($0)
    }
  }

  deinit { table.pointer.pointee.ReleaseMemoryInfo(memory.pointer) }

  /// One for each library, by the address of its table, and never released: upstream refuses to make one while the last goes.
  private static let environments = Mutex<[UnsafePointer<OrtTable>: Handle]>([:])

  private static func environment(_ table: Table) throws -> Handle {
    try environments.withLock { environments in
      if let known = environments[table.pointer] { return known }
      let made = try table.make("start ONNX Runtime") {
        table.pointer.pointee.CreateEnv(errorsOnly, "logitcache", $0)
      }
      environments[table.pointer] = made
      return made
    }
  }

  // Upstream's enumerations.
  private static let errorsOnly: Int32 = 3
  private static let arenaAllocator: Int32 = 1
  private static let defaultMemory: Int32 = 0
}

/// An object of the runtime's that threads may share: environments, sessions and allocators are
/// thread-safe upstream.
struct Handle: @unchecked Sendable {
  let pointer: OpaquePointer
}

/// The runtime's functions; the table is never changed.
struct Table: @unchecked Sendable {
  let pointer: UnsafePointer<OrtTable>

  /// Checks the status that a call returned.
  ///
  /// - Parameter doing: what the call was for, with the file: "run model.onnx".
  /// - Throws: `Problem(.corrupt)` with the runtime's own words.
  func check(_ status: OpaquePointer?, _ doing: @autoclosure () -> String) throws {
    guard let status else { return }
    defer { pointer.pointee.ReleaseStatus(status) }
    let reason = String(cString: pointer.pointee.GetErrorMessage(status))
    let code = pointer.pointee.GetErrorCode(status)
    throw Problem(.corrupt, "\(doing()): \(reason) (ONNX Runtime code \(code))")
  }

  /// Calls a function that makes an object.
  func make(
    _ doing: @autoclosure () -> String,
    _ call: (UnsafeMutablePointer<OpaquePointer?>) -> OpaquePointer?
  ) throws -> Handle {
    var made: OpaquePointer?
    try check(call(&made), doing())
    guard let made else { throw Problem(.corrupt, "\(doing()): ONNX Runtime gave nothing") }
    return Handle(pointer: made)
  }

  /// Calls a function that gives a number.
  func number<Number: FixedWidthInteger>(
    _ doing: @autoclosure () -> String, _ call: (UnsafeMutablePointer<Number>) -> OpaquePointer?
  ) throws -> Int {
    var number: Number = 0
    try check(call(&number), doing())
    return Int(number)
  }

  /// Calls a function that gives text for which the caller pays; `nil` when it gives none.
  func text(
    _ doing: @autoclosure () -> String, freedBy allocator: Handle,
    _ call: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> OpaquePointer?
  ) throws -> String? {
    var text: UnsafeMutablePointer<CChar>?
    try check(call(&text), doing())
    guard let text else { return nil }
    defer { _ = pointer.pointee.AllocatorFree(allocator.pointer, text) }
    return String(cString: text)
  }
}
