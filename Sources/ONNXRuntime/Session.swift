import Basics
internal import CONNXRuntime

/// A model, ready to run; threads may share it.
public final class Session: Sendable {
  /// The runtime that runs it.
  public let runtime: Runtime
  /// The model's inputs, in its order.
  public let inputs: [TensorDescription]
  /// The model's outputs, in its order.
  public let outputs: [TensorDescription]
  /// What the model is called in errors, usually its path.
  let source: String
  private let handle: Handle
  private var table: Table { runtime.table }

  /// Makes a model ready, with every optimisation that the runtime has.
  ///
  /// - Parameters:
  ///   - model: the bytes of an ONNX file; weights in further files are not supported.
  ///   - source: names the model in errors.
  ///   - threads: threads of one run, >= 1; with 1 a run stays on the calling thread.
  /// - Throws: `Problem(.corrupt)` naming `source`, with the runtime's own words.
  public init(_ runtime: Runtime, model: [UInt8], source: String, threads: Int) throws {
    precondition(threads >= 1, "\(threads) threads")
    let table = runtime.table
    let doing = "cannot open the ONNX model \(source)"
    guard !model.isEmpty else { throw Problem(.corrupt, "\(doing): the file is empty") }
    let options = try table.make(doing) { table.pointer.pointee.CreateSessionOptions($0) }
    defer { table.pointer.pointee.ReleaseSessionOptions(options.pointer) }
    let functions = table.pointer.pointee
    try table.check(
      functions.SetSessionGraphOptimizationLevel(options.pointer, Session.allOptimisations), doing)
    try table.check(functions.SetIntraOpNumThreads(options.pointer, Int32(threads)), doing)
    try table.check(functions.SetInterOpNumThreads(options.pointer, 1), doing)
    handle = try table.make(doing) { session in
      model.withUnsafeBytes {
        functions.CreateSessionFromArray(
          runtime.environment.pointer, $0.baseAddress!, $0.count, options.pointer, session)
      }
    }
    self.runtime = runtime
    self.source = source
    do {
      inputs = try Session.describe(
        handle, runtime, doing, count: functions.SessionGetInputCount,
        name: functions.SessionGetInputName, type: functions.SessionGetInputTypeInfo)
      outputs = try Session.describe(
        handle, runtime, doing, count: functions.SessionGetOutputCount,
        name: functions.SessionGetOutputName, type: functions.SessionGetOutputTypeInfo)
    } catch {
      functions.ReleaseSession(handle.pointer)
      throw error
    }
  }

  deinit { table.pointer.pointee.ReleaseSession(handle.pointer) }

  private static let allOptimisations: Int32 = 99

  /// What the model's metadata says under `key`; `nil` when it has no such key.
  public func metadata(_ key: String) throws -> String? {
    let doing = "cannot read the metadata of \(source)"
    let functions = table.pointer.pointee
    let metadata = try table.make(doing) {
      functions.SessionGetModelMetadata(handle.pointer, $0)
    }
    defer { functions.ReleaseModelMetadata(metadata.pointer) }
    return try table.text(doing, freedBy: runtime.allocator) {
      functions.ModelMetadataLookupCustomMetadataMap(
        metadata.pointer, runtime.allocator.pointer, key, $0)
    }
  }

  /// Runs the model.
  ///
  /// - Parameters:
  ///   - input: the values of the input `inputName`; the model must have no other without default.
  ///   - outputName: the one output that is computed.
  /// - Throws: `Problem(.corrupt)` with the runtime's own words, for example when shapes do not fit.
  public func run<Element: TensorElement>(
    _ input: InputTensor<Element>, as inputName: String, giving outputName: String
  ) throws -> OutputTensor {
    let value = try table.make("cannot run the ONNX model \(source)") { result in
      inputName.withCString { inputName in
        outputName.withCString { outputName in
          withUnsafePointer(to: inputName) { inputNames in
            withUnsafePointer(to: outputName) { outputNames in
              withUnsafePointer(to: input.value) { inputs in
                table.pointer.pointee.Run(
                  handle.pointer, nil, inputNames, inputs, 1, outputNames, 1, result)
              }
            }
          }
        }
      }
    }
    return try OutputTensor(value, of: self)
  }

  private typealias Count =
    @convention(c) (OpaquePointer, UnsafeMutablePointer<Int>) -> OpaquePointer?
  private typealias Name =
    @convention(c) (
      OpaquePointer, Int, OpaquePointer, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    ) -> OpaquePointer?
  private typealias TypeInfo =
    @convention(c) (OpaquePointer, Int, UnsafeMutablePointer<OpaquePointer?>) -> OpaquePointer?

  /// Describes all inputs, or all outputs.
  private static func describe(
    _ session: Handle, _ runtime: Runtime, _ doing: String, count: Count, name: Name, type: TypeInfo
  ) throws -> [TensorDescription] {
    let table = runtime.table
    let number = try table.number(doing) { count(session.pointer, $0) }
    return try (0..<number).map { index in
      let name = try table.text(doing, freedBy: runtime.allocator) {
        name(session.pointer, index, runtime.allocator.pointer, $0)
      }
      let info = try table.make(doing) { type(session.pointer, index, $0) }
      defer { table.pointer.pointee.ReleaseTypeInfo(info.pointer) }
      var tensor: OpaquePointer?
      try table.check(
        table.pointer.pointee.CastTypeInfoToTensorInfo(info.pointer, &tensor), doing)
      let shape = try tensor.map { try table.shape(of: $0, doing) }
      return TensorDescription(
        name: name ?? "", elementType: shape?.elementType, dimensions: shape?.dimensions ?? [])
    }
  }
}
