import BLAS
public import Basics
public import DataSets
import Losses
import ONNXRuntime
import Views

/// A model in an ONNX file as teacher, run by ONNX Runtime.
///
/// Every forward pass has the same batch shape: the last batch of a block is filled up with zeros, so
/// that a record never depends on how many others stand beside it in a short batch. Threads share the
/// model and have inputs of their own.
public struct ONNXTeacher: Teacher {
  /// See `Teacher`: the digests of model and class map, runtime, providers, CPU, batch shape,
  /// preprocessing and what is made of the output.
  public let identity: JSONValue
  /// See `Teacher`.
  public var classes: Int { map.indices.count }
  /// See `Teacher`: 1 unless the configuration records more than the best.
  public var positions: Int { output.recordedPositions }
  /// See `Teacher`.
  public var batchSize: Int { input.shape[0] }
  private let session: Session
  private let input: InputPlan
  private let output: OutputPlan
  private let map: ClassMap

  /// Opens the model that a configuration describes, and runs it once on zeros.
  ///
  /// - Parameters:
  ///   - configuration: fits `schemas/teacher.schema.json`, with kind `onnx`.
  ///   - path: the configuration's file; paths in it start at its folder.
  ///   - positions: the labels of a sample.
  ///   - library: where the command line says that ONNX Runtime is.
  /// - Throws: `Problem`: no runtime (with what to install), a file that is no model, or a model,
  ///   configuration and data set that do not fit together.
  public init(
    configuration: JSONValue, path: String, inputShape: SampleShape, classNames: [String],
    positions: Int = 1, library: String?
  ) throws {
    let configuration = try ONNXConfiguration(configuration, path: path)
    if positions > 1, configuration.positionRule == .nonblank {
      throw configuration.problem(
        "output.position.rule is nonblank, but the data set has labels for \(positions) positions, which "
          + "say themselves which are recorded: choose every")
    }
    let model = try Files.read(configuration.model)
    let runtime = try Runtime(
      LibraryPlace.chosen(flag: library, configured: configuration.runtime))
    session = try Session(
      runtime, model: model, source: configuration.model, threads: configuration.threads)
    input = try InputPlan(session, configuration, inputShape)
    output =
      switch input.elementType {
      case .float32: try session.plan(input, configuration, of: Float.self)
      case .uint8: try session.plan(input, configuration, of: UInt8.self)
      case .int32: try session.plan(input, configuration, of: Int32.self)
      }
    map = try ClassMap(
      configuration.classChoice(session, output.classes), modelClasses: output.classes,
      dataSetNames: classNames)
    identity = .object([
      "kind": .string("onnx"),
      "model": .string(Digest(of: model).description),
      "runtime": .string("ONNX Runtime \(runtime.version)"),
      "providers": .string(runtime.providers.joined(separator: " ")),
      "cpu": .string(vectorUnits),
      "threads": .integer(configuration.threads),
      "batchShape": .string(input.shape.map(String.init).joined(separator: " x ")),
      "input": input.identity,
      "output": output.identity,
      "classes": map.identity,
    ])
  }

  /// See `Teacher`.
  public func makeSession() throws -> any TeacherSession {
    let reader = OutputReader(output, map)
    return switch input.elementType {
    case .float32: try ONNXSession<Float>(session, input, output, reader)
    case .uint8: try ONNXSession<UInt8>(session, input, output, reader)
    case .int32: try ONNXSession<Int32>(session, input, output, reader)
    }
  }
}

extension ONNXConfiguration {
  /// Which of the classes are recorded.
  fileprivate func classChoice(_ session: Session, _ classes: Int) throws -> ClassChoice {
    let names = try self.classNames.map { setting in
      try Teachers.classNames(setting, classes: classes, model: model, path: path) { key in
        guard let text = try session.metadata(key) else {
          throw Problem(.corrupt, "\(model) has no metadata '\(key)'")
        }
        return text
      }
    }
    return ClassChoice(
      keep: keep, blank: blank, keepsBlank: keepsBlank, names: names, model: model, path: path)
  }
}

extension Session {
  /// Runs the model on zeros, which shows the output's shape where the model leaves it open.
  ///
  /// Two views show as much as a whole batch, in less time, unless the model takes batches of one size only and
  /// does not say so; ONNX Runtime then writes a line of its own about the first try to standard error.
  fileprivate func plan<Element: TensorElement>(
    _ input: InputPlan, _ configuration: ONNXConfiguration, of type: Element.Type
  ) throws -> OutputPlan {
    let output = try outputs.only(configuration.outputName, "output", configuration).name
    func plan(views: Int) throws -> OutputPlan {
      let zeros = try InputTensor<Element>(runtime, shape: [views] + input.shape.dropFirst())
      let trial = try run(zeros, as: input.name, giving: output)
      return try OutputPlan(
        trial, of: views, named: output, batch: input.shape[0], configuration)
    }
    if input.isBatchFree, input.shape[0] > 2, let plan = try? plan(views: 2) { return plan }
    return try plan(views: input.shape[0])
  }
}

private final class ONNXSession<Element: InputElement>: TeacherSession {
  private let session: Session
  private let plan: InputPlan
  private let output: OutputPlan
  private let input: InputTensor<Element>
  private var filler: InputFiller<Element>
  private var reader: OutputReader

  init(
    _ session: Session, _ plan: InputPlan, _ output: OutputPlan, _ reader: OutputReader
  ) throws {
    self.session = session
    self.plan = plan
    self.output = output
    self.reader = reader
    input = try InputTensor(session.runtime, shape: plan.shape)
    filler = InputFiller(plan)
  }

  func logits(of batch: borrowing ViewBatch, into logits: inout MutableSpan<Float>) throws {
    let given = try run(batch)
    try given.withValues { try reader.read($0, count: batch.count, into: &logits) }
  }

  func logits(
    of batch: borrowing ViewBatch, into logits: inout MutableSpan<Float>,
    places: inout RowPlaces
  ) throws {
    let given = try run(batch)
    try given.withValues {
      try reader.readPositions($0, count: batch.count, into: &logits, places: &places)
    }
  }

  private func run(_ batch: borrowing ViewBatch) throws -> OutputTensor {
    precondition(batch.count <= plan.shape[0], "\(batch.count) views for \(plan.shape)")
    input.withMutableValues { filler.fill(&$0, with: batch) }
    let given = try session.run(input, as: plan.name, giving: output.name)
    guard given.shape == output.shape else {
      throw Problem(
        .corrupt,
        "\(output.model) gave \(output.name) of shape \(given.shape), before it was \(output.shape)"
      )
    }
    return given
  }
}

/// The instruction sets of this CPU by which ONNX Runtime chooses kernels; others round differently.
private var vectorUnits: String {
  ["avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"]
    .filter(CPU.flags.contains).joined(separator: " ")
}
