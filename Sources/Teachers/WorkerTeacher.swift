public import Basics
public import DataSets
import Losses
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
  public var positions: Int { pool.welcome.positions }
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
  ///   - positions: the labels of a sample.
  /// - Throws: `Problem`: no such command, a worker that ends or says no, or one whose classes are not
  ///   the data set's.
  public init(
    configuration value: JSONValue, path: String, inputShape: SampleShape, classNames: [String],
    positions: Int = 1
  ) throws {
    configuration = try WorkerConfiguration(value, path: path)
    shape = inputShape
    batchSize = configuration.batch
    pool = try WorkerPool(
      configuration,
      hello: configuration.hello(inputShape, classNames: classNames, positions: positions))
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
      "output": output.workerIdentity(welcome),
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
  private var answer: WorkerAnswer?

  init(_ pool: WorkerPool, _ shape: SampleShape, batch: Int, _ reader: OutputReader) {
    self.pool = pool
    self.shape = shape
    self.batch = batch
    self.reader = reader
  }

  func logits(of batch: borrowing ViewBatch, into logits: inout MutableSpan<Float>) throws {
    precondition(pool.welcome.positions == 1, "\(pool.welcome.positions) rows for one of a view")
    let answer = try ask(batch)
    try answer.withRows { try reader.read($0, count: batch.count, into: &logits) }
    let (width, views) = (logits.count / batch.count, batch.count)
    try logits.demandFinite(0..<logits.count, pool.welcome) { place in
      "class \(place % width) of view \(place / width) of a batch of \(views)"
    }
  }

  func logits(
    of batch: borrowing ViewBatch, into logits: inout MutableSpan<Float>,
    places: inout RowPlaces
  ) throws {
    let answer = try ask(batch)
    guard let given = answer.places else { preconditionFailure("one row for many of a view") }
    try answer.withRows { try reader.read($0, at: given, into: &logits) }
    let (positions, views) = (pool.welcome.positions, batch.count)
    let width = logits.count / (views * positions)
    for view in 0..<views {
      let counting = given.positions[given.rows(of: view)]
      for position in counting.lazy.map({ Int($0) }) {
        let start = (view * positions + position) * width
        try logits.demandFinite(start..<start + width, pool.welcome) { place in
          "class \(place - start) at position \(position) of view \(view) of a batch of \(views)"
        }
      }
      places.append(sampleAt: counting)
    }
  }

  /// Sends views and waits for what the worker says.
  private func ask(_ batch: borrowing ViewBatch) throws -> WorkerAnswer {
    precondition(batch.shape == shape, "views of \(batch.shape) for a worker of \(shape)")
    precondition((1...self.batch).contains(batch.count), "\(batch.count) of \(self.batch) views")
    fillFrame(with: batch)
    let answer = try WorkerAnswer(
      pool.answer(to: &frame).payload, count: batch.count, pool.welcome)
    self.answer = answer
    return answer
  }

  func features(into features: inout MutableSpan<Float>) throws {
    answer?.withFeatures { values in
      precondition(features.count == values.count, "\(features.count) of \(values.count) features")
      for index in 0..<values.count { features[index] = values[index] }
    }
    let (width, views) = (pool.welcome.featureWidth, features.count / pool.welcome.featureWidth)
    try features.demandFinite(0..<features.count, pool.welcome) { place in
      "feature \(place % width) of view \(place / width) of a batch of \(views)"
    }
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

extension MutableSpan<Float> {
  /// Refuses what is NaN or infinite.
  ///
  /// - Parameter name: names the number at a place.
  fileprivate func demandFinite(
    _ range: Range<Int>, _ welcome: WorkerWelcome, _ name: (Int) -> String
  ) throws {
    var sum: Float = 0
    // 0 for finite values, NaN for others.
    for index in range { sum += self[index] * 0 }
    guard sum != 0 else { return }
    for index in range where !self[index].isFinite {
      throw welcome.problem(
        "gave \(self[index]) for \(name(index)): its numbers must be finite")
    }
  }
}

extension OutputPlan {
  /// For the rows of a worker.
  fileprivate init(_ welcome: WorkerWelcome, _ configuration: WorkerConfiguration) {
    kind = welcome.output
    layout = welcome.positions == 1 ? .nc : .ntc
    floor = configuration.floor
    blank = nil
    name = "logits"
    shape = [configuration.batch, welcome.positions, welcome.classes]
    classes = welcome.classes
    positions = welcome.positions
    rule = welcome.positions == 1 ? nil : .every
    model = "worker \(welcome.name)"
  }

  /// For a worker's identity.
  fileprivate func workerIdentity(_ welcome: WorkerWelcome) -> JSONValue {
    var members: [String: JSONValue] = ["kind": .string(kind.rawValue), "floor": .text(floor)]
    if positions > 1 {
      members["position"] = .string(
        "\(welcome.isRagged ? "some" : "every") of \(positions) positions")
    }
    return .object(members)
  }
}

extension WorkerConfiguration {
  /// Refuses batches whose answers are too long.
  fileprivate func demandRoom(for welcome: WorkerWelcome) throws {
    let places = welcome.isRagged ? 1 + welcome.positions : 0
    let size =
      16 + 4 * batch * (places + welcome.positions * welcome.classes + welcome.featureWidth)
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
