import Basics

/// What a worker says of itself before its first batch.
struct WorkerWelcome: Equatable, Sendable {
  /// C, classes of a row.
  let classes: Int
  /// M, the positions of a view that may have rows; 1 for one row a view.
  let positions: Int
  /// Whether answers say which positions have rows; else all have.
  let isRagged: Bool
  /// D, 0 for none.
  let featureWidth: Int
  /// What rows are.
  let output: OutputKind
  /// Everything that decides its rows; no fractions.
  let identity: JSONValue
  let classNames: [String]?

  /// What people call it.
  var name: String { identity["name"]?.string ?? "" }

  /// Reads the payload of a welcome.
  ///
  /// - Throws: `Problem(.corrupt)` with what is wrong, to be read after the worker's name.
  init(_ payload: [UInt8]) throws {
    guard let value = try? parseJSON(payload, source: "the welcome"), value.object != nil else {
      throw Problem(.corrupt, "sent a welcome that is no JSON object")
    }
    func wrong(_ member: String, _ rule: String) -> Problem {
      let found = value[member].flatMap { try? canonicalJSON($0) } ?? "missing"
      return Problem(
        .corrupt, "sent a welcome whose \(member) is \(found.prefix(200)): it must be \(rule)")
    }
    func count(_ member: String, _ range: ClosedRange<Int>, default number: Int? = nil) throws
      -> Int
    {
      guard let count = value[member] == nil ? number : value[member]?.integer, range ~= count
      else {
        throw wrong(member, "a whole number in \(range.lowerBound)...\(range.upperBound)")
      }
      return count
    }
    classes = try count("classes", 2...1 << 20)
    featureWidth = try count("featureWidth", 0...1 << 16, default: 0)
    positions = try count("positions", 1...4096, default: 1)
    guard let ragged = value["ragged"] == nil ? false : value["ragged"]?.bool else {
      throw wrong("ragged", "true or false")
    }
    isRagged = ragged
    guard positions > 1 || !ragged else {
      throw wrong("ragged", "left out where positions is 1")
    }
    guard positions == 1 || featureWidth == 0 else {
      throw wrong("featureWidth", "0 where positions is above 1: features are kept of whole views")
    }
    guard let kind = value["output"]?.string.flatMap(OutputKind.init) else {
      throw wrong("output", "logits, log-probabilities, probabilities or sigmoid")
    }
    output = kind
    guard let identity = value["identity"], identity["name"]?.string != nil else {
      throw wrong("identity", "an object with a name")
    }
    if let place = identity.placeOfFraction(at: "identity") {
      throw Problem(
        .corrupt,
        "sent a welcome whose \(place) is a number with a fraction: it must be written as text")
    }
    self.identity = identity
    classNames = value["classNames"]?.array?.compactMap(\.string)
    guard value["classNames"] == nil || classNames?.count == classes else {
      throw wrong("classNames", "a list of \(classes) names, one for each class")
    }
  }

  /// What differs from another welcome, "identity.weights was ab, it is cd" and so on.
  func differences(from other: WorkerWelcome) -> String {
    let (mine, theirs) = (leaves, other.leaves)
    let places = Set(mine.keys).union(theirs.keys).filter { mine[$0] != theirs[$0] }.sorted()
    return places.map { "\($0) was \(theirs[$0] ?? "missing"), it is \(mine[$0] ?? "missing")" }
      .joined(separator: "; ")
  }

  private var leaves: [String: String] {
    var leaves = identity.leaves(at: "identity")
    leaves["classes"] = "\(classes)"
    leaves["positions"] = "\(positions)"
    leaves["ragged"] = "\(isRagged)"
    leaves["featureWidth"] = "\(featureWidth)"
    leaves["output"] = output.rawValue
    if let classNames { leaves["classNames"] = classNames.joined(separator: ", ") }
    return leaves
  }
}
