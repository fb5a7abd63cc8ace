public import Basics
public import DataSets
import Views

/// A teacher in a child process, in any language (docs/WORKER.md).
///
/// All threads share the workers; each thread's session has one batch under way.
public struct WorkerTeacher: Teacher {
  /// See `Teacher`: what the worker says of itself, the protocol's version, what rows are, batch size
  /// and classes.
  public let identity: JSONValue
  /// See `Teacher`.
  public var classes: Int { map.indices.count }
  /// See `Teacher`.
  public var featureWidth: Int { pool.welcome.featureWidth }
  /// See `Teacher`.
  public let batchSize: Int
  private let pool: WorkerPool
  private let shape: SampleShape
  private let output: OutputPlan
  private let map: ClassMap
  private let configuration: WorkerConfiguration

  /// Starts the worker that a configuration describes.
  ///
  /// - Parameters:
  ///   - configuration: fits `schemas/teacher.schema.json`, with kind `worker`.
  ///   - path: the configuration's file; the worker starts in its folder.
  /// - Throws: `Problem`: no such command, a worker that ends or says no, or one whose classes are not
  ///   the data set's.
  public init(
    configuration value: JSONValue, path: String, inputShape: SampleShape, classNames: [String]
  ) throws {
    configuration = try WorkerConfiguration(value, path: path)
    shape = inputShape
    batchSize = configuration.batch
    pool = try WorkerPool(
      configuration, hello: configuration.hello(inputShape, classNames: classNames))
    let welcome = pool.welcome
    try configuration.demandRoom(for: welcome)
    output = OutputPlan(welcome, configuration)
    let choice = try configuration.classChoice(value, welcome)
    map = try ClassMap(choice, modelClasses: welcome.classes, dataSetNames: classNames)
    guard map.indices.count == classNames.count else {
      throw Problem(
        .corrupt,
        "worker \(welcome.name) gives rows of \(welcome.classes) classes, the data set has "
          + "\(classNames.count): say in \(path) which of them are kept (keep-classes)")
    }
    identity = .object([
      "kind": .string("worker"),
      "protocol": .integer(Int(WorkerFrame.version)),
      "worker": welcome.identity,
      "output": output.workerIdentity,
      "batch": .integer(configuration.batch),
      "classes": map.identity,
    ])
  }

  /// See `Teacher`.
  public func makeSession() throws -> any TeacherSession {
    WorkerSession(pool, shape, batch: batchSize, OutputReader(output, map))
  }
}

private final class WorkerSession: TeacherSession {
  private let pool: WorkerPool
  private let shape: SampleShape
  private let batch: Int
  private var reader: OutputReader
  /// Of the batch that is sent.
  private var frame: [UInt8] = []
  private var answer = WorkerAnswer()

  init(_ pool: WorkerPool, _ shape: SampleShape, batch: Int, _ reader: OutputReader) {
    self.pool = pool
    self.shape = shape
    self.batch = batch
    self.reader = reader
  }

  func logits(of batch: borrowing ViewBatch, into logits: inout MutableSpan<Float>) throws {
    precondition(batch.shape == shape, "views of \(batch.shape) for a worker of \(shape)")
    precondition((1...self.batch).contains(batch.count), "\(batch.count) of \(self.batch) views")
    fillFrame(with: batch)
    let welcome = pool.welcome
    answer = try WorkerAnswer(pool.answer(to: &frame).payload, count: batch.count, welcome)
    try answer.withRows { try reader.read($0, count: batch.count, into: &logits) }
    try logits.demandFinite(width: logits.count / batch.count, "class", welcome.name)
  }

  func features(into features: inout MutableSpan<Float>) throws {
    answer.withFeatures { values in
      precondition(features.count == values.count, "\(features.count) of \(values.count) features")
      for index in 0..<values.count { features[index] = values[index] }
    }
    try features.demandFinite(width: pool.welcome.featureWidth, "feature", pool.welcome.name)
  }

  /// Writes the views into the frame; its header comes later.
  private func fillFrame(with views: borrowing ViewBatch) {
    frame.removeAll(keepingCapacity: true)
    frame.append(contentsOf: repeatElement(0, count: WorkerFrame.headerSize + 8))
    frame.write(UInt32(views.count), at: WorkerFrame.headerSize)
    let count = views.count * shape.elementCount
    switch shape {
    case .image, .text: frame.append(contentsOf: views.pixels[..<count])
    case .features: views.features[..<count].withUnsafeBytes { frame.append(contentsOf: $0) }
    }
  }
}

/// What a worker gave for a batch.
private struct WorkerAnswer {
  /// Four counts, rows, features (docs/WORKER.md).
  private let payload: [UInt8]
  /// Where the features begin.
  private let middle: Int
  private static let start = 16

  init() { (payload, middle) = ([UInt8](repeating: 0, count: Self.start), Self.start) }

  /// - Throws: `Problem(.corrupt)` when its shape is not that of the batch and the welcome.
  init(_ payload: [UInt8], count: Int, _ welcome: WorkerWelcome) throws {
    let expected = [count, 1, welcome.classes, welcome.featureWidth]
    let given = (0..<4).map { place -> Int in
      payload.count < Self.start ? 0 : Int(payload.number(at: 4 * place) as UInt32)
    }
    middle = Self.start + 4 * count * welcome.classes
    let size = middle + 4 * count * welcome.featureWidth
    guard given == expected else {
      throw Problem(
        .corrupt,
        "worker \(welcome.name) answered a batch of \(count) views with \(Self.text(given)); "
          + "\(Self.text(expected)) were expected")
    }
    guard payload.count == size else {
      throw Problem(
        .corrupt,
        "worker \(welcome.name) answered with \(payload.count) bytes for \(Self.text(given)); "
          + "these are \(size) bytes")
    }
    self.payload = payload
  }

  private static func text(_ counts: [Int]) -> String {
    "\(counts[0]) rows of \(counts[2]) classes"
      + (counts[1] == 1 ? "" : " at \(counts[1]) positions")
      + (counts[3] == 0 ? "" : " and \(counts[3]) features")
  }

  func withRows<Result>(_ body: (Span<Float>) throws -> Result) rethrows -> Result {
    try withFloats(Self.start..<middle, body)
  }

  func withFeatures<Result>(_ body: (Span<Float>) throws -> Result) rethrows -> Result {
    try withFloats(middle..<payload.count, body)
  }

  private func withFloats<Result>(
    _ range: Range<Int>, _ body: (Span<Float>) throws -> Result
  ) rethrows -> Result {
    try payload.withUnsafeBytes {
      try $0[range].withMemoryRebound(to: Float.self) { try body($0.span) }
    }
  }
}

extension MutableSpan<Float> {
  /// Refuses what is NaN or infinite, by its place in the batch.
  fileprivate func demandFinite(width: Int, _ what: String, _ worker: String) throws {
    var sum: Float = 0
    // 0 for finite values, NaN for others.
    for index in 0..<count { sum += self[index] * 0 }
    guard sum != 0 else { return }
    for index in 0..<count where !self[index].isFinite {
      throw Problem(
        .corrupt,
        "worker \(worker) gave \(self[index]) for \(what) \(index % width) of view \(index / width) of a "
          + "batch of \(count / width): its numbers must be finite")
    }
  }
}

extension OutputPlan {
  /// For the rows of a worker.
  fileprivate init(_ welcome: WorkerWelcome, _ configuration: WorkerConfiguration) {
    kind = welcome.output
    layout = .nc
    floor = configuration.floor
    blank = nil
    name = "logits"
    shape = [configuration.batch, welcome.classes]
    classes = welcome.classes
    positions = 1
    rule = nil
    model = "worker \(welcome.name)"
  }

  /// For a worker's identity.
  fileprivate var workerIdentity: JSONValue {
    .object(["kind": .string(kind.rawValue), "floor": .text(floor)])
  }
}

extension WorkerConfiguration {
  /// Refuses batches whose answers are too long.
  fileprivate func demandRoom(for welcome: WorkerWelcome) throws {
    let size = 16 + 4 * batch * (welcome.classes + welcome.featureWidth)
    guard size <= WorkerFrame.limit else {
      throw Problem(
        .configuration,
        "\(path): the answer to a batch of \(batch) is \(size) bytes, at most \(WorkerFrame.limit) fit "
          + "into a frame: choose a smaller batch")
    }
  }

  /// Which classes are recorded; the configuration's names come before the worker's own.
  fileprivate func classChoice(
    _ value: JSONValue, _ welcome: WorkerWelcome
  ) throws -> ClassChoice {
    let model = "worker \(welcome.name)"
    let names = try value["class-names"].map { setting in
      try classNames(setting, classes: welcome.classes, model: model, path: path) { key in
        throw Problem(.configuration, "\(path): a worker has no metadata '\(key)'")
      }
    }
    return ClassChoice(
      keep: ClassChoice.Keep(value["keep-classes"], path: path), names: names ?? welcome.classNames,
      model: model, path: path)
  }
}
