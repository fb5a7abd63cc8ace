import Basics
import ONNXRuntime

/// Which of a model's classes are recorded, and in which order.
struct ClassMap {
  /// The model's class of each recorded one.
  let indices: [Int32]
  /// C of the model.
  let modelClasses: Int

  /// - Parameters:
  ///   - modelClasses: C of the model's rows.
  ///   - dataSetNames: the data set's classes.
  /// - Throws: `Problem` that names the first classes that do not fit.
  init(
    _ configuration: ONNXConfiguration, _ session: Session, modelClasses: Int,
    dataSetNames: [String]
  ) throws {
    self.modelClasses = modelClasses
    if let blank = configuration.blank, blank >= modelClasses {
      throw configuration.problem(
        "output.position.blank is \(blank), the model has \(modelClasses) classes")
    }
    let kept = (0..<Int32(modelClasses)).filter {
      $0 != configuration.removedBlank.map { Int32($0) }
    }
    let names = try classNames(configuration, session, modelClasses)
    switch configuration.keep {
    case .all:
      indices = kept
      try names.map { try demandEqual($0, kept, dataSetNames, configuration) }
    case .dataSet:
      indices = try find(dataSetNames, in: names, kept, "the data set", configuration)
    case .names(let file):
      let chosen = try lines(of: file)
      try demandCount(chosen.count, dataSetNames.count, file)
      indices = try find(chosen, in: names, kept, file, configuration)
    case .indices(let file):
      indices = try lines(of: file).enumerated().map { place, line in
        guard let index = Int32(line), kept.contains(index) else {
          throw Problem(
            .configuration,
            "\(file), line \(place + 1): '\(line)' is no class of the model, 0...\(modelClasses - 1)"
              + (configuration.removedBlank.map { " without the blank \($0)" } ?? ""))
        }
        return index
      }
      try demandCount(indices.count, dataSetNames.count, file)
    }
  }

  /// For the teacher's identity.
  var identity: JSONValue {
    var builder = DigestBuilder()
    for index in indices { builder.append(index) }
    return .object([
      "kept": .integer(indices.count), "of": .integer(modelClasses),
      "indices": .string(builder.finish().description),
    ])
  }
}

/// The names of all of the model's classes; `nil` when the configuration tells none.
private func classNames(
  _ configuration: ONNXConfiguration, _ session: Session, _ classes: Int
) throws -> [String]? {
  guard let setting = configuration.classNames else { return nil }
  var listed: [String] = []
  if let key = setting["metadata"]?.string {
    guard let text = try session.metadata(key) else {
      throw Problem(.corrupt, "\(configuration.model) has no metadata '\(key)'")
    }
    listed = lines(ofText: text)
  } else if let file = setting["file"]?.string {
    listed = try lines(of: Files.path(file, relativeTo: configuration.path))
  }
  func texts(_ name: String) -> [String] { setting[name]?.array?.compactMap(\.string) ?? [] }
  let names = texts("first") + listed + texts("last")
  guard names.count == classes else {
    throw configuration.problem(
      "class-names are \(texts("first").count) + \(listed.count) + \(texts("last").count) names, "
        + "the model \(configuration.model) has \(classes) classes")
  }
  return names
}

/// The classes of some names.
private func find(
  _ chosen: [String], in names: [String]?, _ kept: [Int32], _ source: String,
  _ configuration: ONNXConfiguration
) throws -> [Int32] {
  guard let names else {
    throw configuration.problem("keep-classes by name needs class-names")
  }
  // By bytes: Swift's own comparison takes different characters for equal (Å and Å).
  var places: [[UInt8]: [Int32]] = [:]
  for index in kept { places[Array(names[Int(index)].utf8), default: []].append(index) }
  let found = chosen.map { places[Array($0.utf8)] ?? [] }
  let missing = chosen.indices.filter { found[$0].isEmpty }
  guard missing.isEmpty else {
    let examples = missing.prefix(5).map { "'\(chosen[$0])'" }.joined(separator: ", ")
    throw Problem(
      .corrupt,
      "\(configuration.model) lacks \(missing.count) of the \(chosen.count) classes that \(source) "
        + "names: \(examples)")
  }
  if let repeated = chosen.indices.first(where: { found[$0].count > 1 }) {
    throw Problem(
      .corrupt,
      "\(configuration.model) has \(found[repeated].count) classes named '\(chosen[repeated])'; "
        + "choose classes by indices instead")
  }
  return found.map { $0[0] }
}

private func demandCount(_ count: Int, _ classes: Int, _ file: String) throws {
  guard count == classes else {
    throw Problem(
      .configuration, "\(file) has \(count) lines, the data set has \(classes) classes")
  }
}

/// All classes are kept: then labels mean the model's classes, so names must be equal.
private func demandEqual(
  _ names: [String], _ kept: [Int32], _ dataSetNames: [String], _ configuration: ONNXConfiguration
) throws {
  guard kept.count == dataSetNames.count else { return }  // refused by both counts elsewhere
  for (label, index) in kept.enumerated()
  where !names[Int(index)].utf8.elementsEqual(dataSetNames[label].utf8) {
    throw Problem(
      .corrupt,
      "class \(label) is '\(names[Int(index)])' for \(configuration.model), but "
        + "'\(dataSetNames[label])' for the data set; set keep-classes to data-set, or leave out "
        + "class-names if both mean the same")
  }
}

private func lines(of file: String) throws -> [String] {
  guard let text = String(validating: try Files.read(file), as: UTF8.self) else {
    throw Problem(.corrupt, "\(file) is not UTF-8 text")
  }
  return lines(ofText: text)
}

/// The lines of a text; the newline after the last one may be missing.
private func lines(ofText text: String) -> [String] {
  // By bytes, because Swift takes "\r\n" for one character.
  var lines = Array(text.utf8).split(
    separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false
  )
  .map { String(decoding: $0.last == UInt8(ascii: "\r") ? $0.dropLast() : $0, as: UTF8.self) }
  if lines.last == "" { lines.removeLast() }
  return lines
}
