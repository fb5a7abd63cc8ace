import Basics
import Losses

/// What a worker gave for a batch (docs/WORKER.md), found to have the shape that its welcome announced.
struct WorkerAnswer {
  /// Where the rows belong; `nil` where every view has one.
  let places: RowPlaces?
  /// Four counts, where ragged the places, rows, features.
  private let payload: [UInt8]
  /// Where rows and features are.
  private let rows: Range<Int>
  private static let start = 16

  /// - Throws: `Problem(.corrupt)` when its shape is not that of the batch and the welcome.
  init(_ payload: [UInt8], count: Int, _ welcome: WorkerWelcome) throws {
    let expected = [count, welcome.positions, welcome.classes, welcome.featureWidth]
    let given = (0..<4).map { place -> Int in
      payload.count < Self.start ? 0 : Int(payload.number(at: 4 * place) as UInt32)
    }
    guard given == expected else {
      throw welcome.problem(
        "answered a batch of \(count) views with \(Self.text(given)); \(Self.text(expected)) were "
          + "expected")
    }
    self.payload = payload
    if welcome.isRagged {
      let places = try Self.raggedPlaces(payload, count: count, welcome)
      let first = Self.start + 4 * (count + places.rows)
      (self.places, rows) = (places, first..<payload.count)
      return
    }
    places = welcome.positions == 1 ? nil : .every(welcome.positions, of: count)
    let end = Self.start + 4 * count * welcome.positions * welcome.classes
    try welcome.demand(
      end + 4 * count * welcome.featureWidth, bytes: payload.count, for: Self.text(given))
    rows = Self.start..<end
  }

  /// Reads which positions of each view have rows.
  private static func raggedPlaces(
    _ payload: [UInt8], count: Int, _ welcome: WorkerWelcome
  ) throws -> RowPlaces {
    let first = start + 4 * count
    guard payload.count >= first else {
      throw welcome.problem(
        "answered with \(payload.count) bytes; how many rows each of \(count) views has would be \(first)"
      )
    }
    let counts = (0..<count).map { Int(payload.number(at: start + 4 * $0) as UInt32) }
    if let view = counts.firstIndex(where: { $0 > welcome.positions }) {
      throw welcome.problem(
        "answered view \(view) of a batch of \(count) with \(counts[view]) rows; it announced at most "
          + "\(welcome.positions)")
    }
    let total = counts.reduce(0, +)
    try welcome.demand(
      first + 4 * total * (1 + welcome.classes), bytes: payload.count,
      for: text([total, 1, welcome.classes, 0]))
    var places = RowPlaces()
    for (view, count) in counts.enumerated() {
      let positions = (places.rows..<places.rows + count).map {
        payload.number(at: first + 4 * $0) as UInt32
      }
      for (index, position) in positions.enumerated()
      where position >= welcome.positions || index > 0 && position <= positions[index - 1] {
        throw welcome.problem(
          "answered view \(view) of a batch of \(counts.count) with rows at the positions "
            + "\(positions.map(String.init).joined(separator: ", ")): they must ascend and be below "
            + "\(welcome.positions)")
      }
      places.append(sampleAt: positions.lazy.map { Int32($0) })
    }
    return places
  }

  /// Counts of views, positions, classes and features in words.
  private static func text(_ counts: [Int]) -> String {
    "\(counts[0]) rows of \(counts[2]) classes"
      + (counts[1] == 1 ? "" : " at \(counts[1]) positions")
      + (counts[3] == 0 ? "" : " and \(counts[3]) features")
  }

  func withRows<Result>(_ body: (Span<Float>) throws -> Result) rethrows -> Result {
    try withFloats(rows, body)
  }

  func withFeatures<Result>(_ body: (Span<Float>) throws -> Result) rethrows -> Result {
    try withFloats(rows.upperBound..<payload.count, body)
  }

  private func withFloats<Result>(
    _ range: Range<Int>, _ body: (Span<Float>) throws -> Result
  ) rethrows -> Result {
    try payload.withUnsafeBytes {
      try $0[range].withMemoryRebound(to: Float.self) { try body($0.span) }
    }
  }
}

extension WorkerWelcome {
  /// A problem with an answer.
  func problem(_ text: String) -> Problem { Problem(.corrupt, "worker \(name) \(text)") }

  /// Refuses an answer of another length than its counts say.
  fileprivate func demand(_ expected: Int, bytes: Int, for counts: String) throws {
    guard bytes == expected else {
      throw problem("answered with \(bytes) bytes for \(counts); these are \(expected) bytes")
    }
  }
}

extension RowPlaces {
  /// A row for each of so many positions of so many samples.
  static func every(_ positions: Int, of samples: Int) -> RowPlaces {
    var places = RowPlaces()
    for _ in 0..<samples { places.append(sampleAt: 0..<Int32(positions)) }
    return places
  }
}
