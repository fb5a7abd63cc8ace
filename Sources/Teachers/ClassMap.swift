import Basics

/// What a configuration says about a model's classes.
struct ClassChoice {
  /// Which classes are recorded.
  enum Keep {
    case all, dataSet
    case names(file: String)
    case indices(file: String)

    /// Reads the setting `keep-classes` of the configuration at `path`.
    init(_ setting: JSONValue?, path: String) {
      func file(_ name: String) -> String? {
        setting?[name]?.string.map { Files.path($0, relativeTo: path) }
      }
      if let names = file("names") {
        self = .names(file: names)
      } else if let indices = file("indices") {
        self = .indices(file: indices)
      } else {
        self = setting?.string == "data-set" ? .dataSet : .all
      }
    }
  }

  var keep: Keep
  /// The class that means nothing.
  var blank: Int?
  /// Whether the blank is recorded all the same.
  var keepsBlank = false
  /// The names of all of the model's classes; `nil` when nobody tells them.
  var names: [String]?
  /// What the model is called in errors.
  var model: String
  /// The configuration's file.
  var path: String

  /// The blank when it is not recorded.
  var removedBlank: Int? { keepsBlank ? nil : blank }

  /// A problem with the configuration.
  func problem(_ text: String) -> Problem { Problem(.configuration, "\(path): \(text)") }
}

/// Which of a model's classes are recorded, and in which order.
struct ClassMap {
  /// The model's class of each recorded one.
  let indices: [Int32]
  /// C of the model.
  let modelClasses: Int

  /// - Parameters:
  ///   - choice: what the configuration says.
  ///   - modelClasses: C of the model's rows.
  ///   - dataSetNames: the data set's classes.
  /// - Throws: `Problem` that names the first classes that do not fit.
  init(
    _ choice: ClassChoice, modelClasses: Int, dataSetNames: [String]
  ) throws {
    self.modelClasses = modelClasses
    if let blank = choice.blank, blank >= modelClasses {
      throw choice.problem(
        "output.position.blank is \(blank), the model has \(counted(modelClasses, "class", "classes"))"
      )
    }
    let removed = choice.removedBlank
    let kept = (0..<Int32(modelClasses)).filter { $0 != removed.map { Int32($0) } }
    switch choice.keep {
    case .all:
      indices = kept
      try choice.names.map { try demandEqual($0, kept, dataSetNames, choice) }
    case .dataSet:
      indices = try find(dataSetNames, "the data set", kept, choice)
    case .names(let file):
      let chosen = try lines(of: file)
      try demandCount(chosen.count, dataSetNames.count, file)
      indices = try find(chosen, file, kept, choice)
    case .indices(let file):
      indices = try lines(of: file).enumerated().map { place, line in
        guard let index = Int32(line), kept.contains(index) else {
          throw Problem(
            .configuration,
            "\(file), line \(place + 1): '\(line)' is no class of the model, 0...\(modelClasses - 1)"
              + (removed.map { " without the blank \($0)" } ?? ""))
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

/// The names that the setting `class-names` of the configuration at `path` lists.
///
/// - Parameters:
///   - classes: C of the model.
///   - metadata: the text that the model keeps under a key.
func classNames(
  _ setting: JSONValue, classes: Int, model: String, path: String,
  metadata: (String) throws -> String
) throws -> [String] {
  var listed: [String] = []
  if let key = setting["metadata"]?.string {
    listed = lines(ofText: try metadata(key))
  } else if let file = setting["file"]?.string {
    listed = try lines(of: Files.path(file, relativeTo: path))
  }
  func texts(_ name: String) -> [String] { setting[name]?.array?.compactMap(\.string) ?? [] }
  let names = texts("first") + listed + texts("last")
  guard names.count == classes else {
    throw Problem(
      .configuration,
      "\(path): class-names are \(texts("first").count) + \(listed.count) + "
        + "\(texts("last").count) names, \(model) has \(counted(classes, "class", "classes"))")
  }
  return names
}

/// The classes of some names.
private func find(
  _ chosen: [String], _ source: String, _ kept: [Int32], _ choice: ClassChoice
) throws -> [Int32] {
  guard let names = choice.names else {
    throw choice.problem("keep-classes by name needs class-names")
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
      "\(choice.model) lacks \(missing.count) of the \(counted(chosen.count, "class", "classes")) that \(source) "
        + "names: \(examples)")
  }
  if let repeated = chosen.indices.first(where: { found[$0].count > 1 }) {
    throw Problem(
      .corrupt,
      "\(choice.model) has \(counted(found[repeated].count, "class", "classes")) named '\(chosen[repeated])'; "
        + "choose classes by indices instead")
  }
  return found.map { $0[0] }
}

private func demandCount(_ count: Int, _ classes: Int, _ file: String) throws {
  guard count == classes else {
    throw Problem(
      .configuration,
      "\(file) has \(counted(count, "line")), the data set has \(counted(classes, "class", "classes"))"
    )
  }
}

/// All classes are kept: then labels mean the model's classes, so names must be equal.
private func demandEqual(
  _ names: [String], _ kept: [Int32], _ dataSetNames: [String], _ choice: ClassChoice
) throws {
  guard kept.count == dataSetNames.count else { return }  // refused by both counts elsewhere
  for (label, index) in kept.enumerated()
  where !names[Int(index)].utf8.elementsEqual(dataSetNames[label].utf8) {
    throw Problem(
      .corrupt,
      "class \(label) is '\(names[Int(index)])' for \(choice.model), but "
        + "'\(dataSetNames[label])' for the data set; set keep-classes to data-set, or leave out "
        + "class-names if both mean the same")
  }
}

/// The lines of a text file; the newline after the last one may be missing.
///
/// - Throws: `Problem`: `.noInput` when it cannot be read, `.corrupt` when it is not UTF-8.
package func lines(of file: String) throws -> [String] {
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
