import Basics
import DataSets
import Foundation

/// What a configuration of kind `worker` says (`schemas/teacher.schema.json`), with its defaults.
struct WorkerConfiguration: Sendable {
  let path: String
  /// The program and its arguments.
  let command: [String]
  let batch: Int
  /// Workers side by side.
  let processes: Int
  /// Batches that one of them has at once.
  let inFlight: Int
  /// How often workers that died are started again in a run.
  let restarts: Int
  /// How long an answer may take, in seconds.
  let timeout: Int
  let parameters: JSONValue
  /// Smaller probabilities count as this one.
  let floor: Float

  /// - Parameters:
  ///   - value: fits the schema.
  ///   - path: the file.
  init(_ value: JSONValue, path: String) throws {
    self.path = path
    command = value["command"]?.array?.compactMap(\.string) ?? []
    batch = value["batch"]?.integer ?? 64
    processes = value["processes"]?.integer ?? 1
    inFlight = value["in-flight"]?.integer ?? 2
    restarts = value["restarts"]?.integer ?? 3
    timeout = value["timeout-seconds"]?.integer ?? 600
    parameters = value["parameters"] ?? .object([:])
    floor = value["floor"]?.double.map { Float($0) } ?? Float.leastNormalMagnitude
    guard floor >= Float.leastNormalMagnitude else {
      throw Problem(
        .configuration, "\(path): floor must be at least \(Float.leastNormalMagnitude)")
    }
  }

  /// Where workers are started: the configuration's folder.
  var folder: String {
    let folder = (path as NSString).deletingLastPathComponent
    return folder.isEmpty ? "." : folder
  }

  /// The bytes of a batch of `count` views, without the frame's header.
  func payloadSize(_ shape: SampleShape, count: Int) -> Int {
    8 + count * shape.elementCount * shape.elementSize
  }

  /// What the program asks for, as the payload of a hello.
  ///
  /// - Parameter positions: the labels of a sample.
  func hello(_ shape: SampleShape, classNames: [String], positions: Int) throws -> [UInt8] {
    let size = payloadSize(shape, count: batch)
    guard size <= WorkerFrame.limit else {
      throw Problem(
        .configuration,
        "\(path): a batch of \(batch) views is \(size) bytes, at most \(WorkerFrame.limit) fit into "
          + "a frame: choose a smaller batch")
    }
    let hello: JSONValue = .object([
      "batch": .integer(batch), "classes": .integer(classNames.count),
      "classNames": .array(classNames.map { .string($0) }), "input": shape.workerInput,
      "parameters": parameters, "positions": .integer(positions),
    ])
    return Array(try canonicalJSON(hello).utf8)
  }
}

extension SampleShape {
  /// How it is described to a worker.
  fileprivate var workerInput: JSONValue {
    let (kind, lengths): (String, [Int]) =
      switch self {
      case .image(let height, let width, let channels): ("image", [height, width, channels])
      case .features(let width): ("features", [width])
      case .text(let bytes): ("text", [bytes])
      }
    return .object([
      "kind": .string(kind), "shape": .array(lengths.map { .integer($0) }),
      "type": .string(elementSize == 1 ? "uint8" : "float32"),
    ])
  }

  /// Bytes of a number of a view.
  var elementSize: Int {
    switch self {
    case .image, .text: 1
    case .features: 4
    }
  }
}
