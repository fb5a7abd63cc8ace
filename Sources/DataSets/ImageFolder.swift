import Basics
import Foundation
import Schemas

/// Where labelled pictures are, as a description of `kind: folder` says.
struct ImageFolder {
  /// A picture's file.
  struct File {
    /// Where it is.
    var path: String
    /// The same from the folder or list on: "cat/001.jpg".
    var name: String
    var label: Int32
  }

  /// The description's path.
  let source: String
  let name: String
  /// A folder with one folder for each class, or a list of files and classes.
  let path: String
  let shape: SampleShape
  /// The classes wanted, in order; `nil` for all, sorted by bytes.
  let wanted: [String]?
  /// Whether what is no picture is passed over; otherwise it is an error.
  let skipsOthers: Bool
  /// Use only so many samples, from the first on.
  let first: Int?

  /// Reads a description; `nil` when the file is not one of `kind: folder`.
  init?(describedBy path: String) throws {
    guard Files.exists(path) else { return nil }
    let value = try Schemas.load(yamlAt: path, as: .dataset)
    guard value["kind"] == .string("folder") else { return nil }
    source = path
    name = value["name"]!.string!
    self.path = Files.path(value["path"]!.string!, relativeTo: path)
    shape = .image(
      height: value["size"]!["height"]!.integer!, width: value["size"]!["width"]!.integer!,
      channels: value["channels"]?.integer ?? 3)
    wanted = value["classNames"]?.array?.map { $0.string! }
    skipsOthers = value["others"]?.string == "skip"
    first = value["first"]?.integer
  }

  /// All pictures in the order of samples, and the classes' names.
  ///
  /// - Throws: `Problem`: `.noInput` when folder or list cannot be read, `.configuration` when something
  ///   in them does not belong there.
  func files() throws -> (files: [File], classNames: [String]) {
    var seen: Set<String> = []
    if let twice = wanted?.first(where: { !seen.insert($0).inserted }) {
      throw Problem(.configuration, "\(source) names the class '\(twice)' twice")
    }
    let (files, classNames) = EntryKind(path) == .folder ? try filesOfFolder() : try filesOfList()
    var counts = [Int](repeating: 0, count: classNames.count)
    for file in files { counts[Int(file.label)] += 1 }
    if let empty = counts.firstIndex(of: 0) {
      throw Problem(.configuration, "\(source): the class '\(classNames[empty])' has no picture")
    }
    guard classNames.count >= 2 else {
      throw Problem(
        .configuration,
        "\(source): \(path) has \(counted(classNames.count, "class", "classes")), at least 2 are needed"
      )
    }
    return (files, classNames)
  }

  /// Classes are sub-folders; samples are in the order of their names' SHA-256: any run of them
  /// has nearly all classes in their proportions.
  private func filesOfFolder() throws -> ([File], [String]) {
    var classNames: [String] = []
    for entry in try entries(of: path) {
      if entry.kind == .folder {
        classNames.append(entry.name)
      } else {
        try refuseOther(entry.name)
      }
    }
    if let wanted {
      let found = Set(classNames)
      if let absent = wanted.first(where: { !found.contains($0) }) {
        throw Problem(.configuration, "\(source): \(path) has no folder for the class '\(absent)'")
      }
      classNames = wanted
    }
    var ordered: [(key: [UInt8], file: File)] = []
    for (label, folder) in classNames.enumerated() {
      for entry in try entries(of: path + "/" + folder) {
        let name = folder + "/" + entry.name
        guard isPictureName(entry.name), entry.kind == .file else {
          try refuseOther(name)
          continue
        }
        let file = File(path: path + "/" + name, name: name, label: Int32(label))
        ordered.append((Digest(of: name).bytes, file))
      }
    }
    ordered.sort { $0.key.lexicographicallyPrecedes($1.key) }
    return (ordered.map(\.file), classNames)
  }

  /// Samples are in the list's order; its paths start at its folder.
  private func filesOfList() throws -> ([File], [String]) {
    guard let text = String(validating: try Files.read(path), as: UTF8.self) else {
      throw Problem(.configuration, "\(path) is not UTF-8 text")
    }
    var lines: [(path: String, name: String)] = []
    for (index, line) in text.split(
      omittingEmptySubsequences: false, whereSeparator: \.isNewline
    ).enumerated() where !line.isEmpty {
      let parts = line.split(separator: "\t", omittingEmptySubsequences: false).map { String($0) }
      guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
        throw Problem(
          .configuration, "\(path), line \(index + 1): expected a path, a tab and a class")
      }
      lines.append((parts[0], parts[1]))
    }
    let classNames = wanted ?? Set(lines.map(\.name)).sorted(by: precedes)
    let labels = Dictionary(uniqueKeysWithValues: classNames.enumerated().map { ($1, Int32($0)) })
    let files = try lines.map { line in
      guard let label = labels[line.name] else {
        throw Problem(.configuration, "\(path): '\(line.name)' is not one of the classes")
      }
      return File(
        path: Files.path(line.path, relativeTo: path), name: line.path, label: label)
    }
    return (files, classNames)
  }

  private func refuseOther(_ name: String) throws {
    guard skipsOthers else {
      throw Problem(
        .configuration,
        "\(path)/\(name) is no picture file of a class (CLASS/NAME.jpg, .jpeg or .png): take it away, or "
          + "write 'others: skip' in \(source)")
    }
  }
}

/// What a name in a folder stands for.
private enum EntryKind {
  case folder, file
  /// A named pipe, a socket or a device: nothing to be opened.
  case other

  /// Follows links; what cannot be looked at counts as a file, so that opening it says why.
  init(_ path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else {
      self = .file
      return
    }
    switch status.st_mode & S_IFMT {
    case S_IFDIR: self = .folder
    case S_IFREG: self = .file
    default: self = .other
    }
  }
}

/// What is in a folder, hidden names left out, sorted by bytes.
private func entries(of folder: String) throws -> [(name: String, kind: EntryKind)] {
  guard let stream = opendir(folder) else {
    throw Problem(.noInput, "cannot open \(folder): \(String(cString: strerror(errno)))")
  }
  defer { closedir(stream) }
  var found: [(name: String, kind: EntryKind)] = []
  while let entry = readdir(stream) {
    let bytes = withUnsafeBytes(of: entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
    guard bytes[0] != UInt8(ascii: ".") else { continue }
    guard let name = String(validating: bytes, as: UTF8.self), !name.contains(where: isSeparator)
    else {
      throw Problem(
        .configuration,
        "\(folder) has a name that is not UTF-8, or has a tab or line break in it: "
          + "'\(String(decoding: bytes, as: UTF8.self))'")
    }
    // Links, and file systems that do not say, cost a look.
    let kind: EntryKind =
      switch Int(entry.pointee.d_type) {
      case Int(DT_DIR): .folder
      case Int(DT_REG): .file
      default: EntryKind(folder + "/" + name)
      }
    found.append((name, kind))
  }
  return found.sorted { precedes($0.name, $1.name) }
}

/// By UTF-8 bytes; `<` on strings would take equivalent spellings as equal.
private func precedes(_ a: String, _ b: String) -> Bool {
  a.utf8.lexicographicallyPrecedes(b.utf8)
}

private func isSeparator(_ character: Character) -> Bool {
  character == "\t" || character.isNewline
}

private func isPictureName(_ name: String) -> Bool {
  let name = name.lowercased()
  return [".jpg", ".jpeg", ".png"].contains { name.hasSuffix($0) }
}
