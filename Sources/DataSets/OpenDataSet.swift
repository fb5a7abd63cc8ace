import Basics
import Foundation
import Schemas

/// Opens a data set by name or by the path of its description.
///
/// - Parameter spec: a preset, `fashion-mnist/train` or `fashion-mnist/test` (Debian package
///   `dataset-fashion-mnist`), or the path of a YAML file that fits `schemas/dataset.schema.json`;
///   either may end in a range of samples: `fashion-mnist/train[0:500]`.
/// - Parameter progress: called now and then while picture files are decoded for the first time.
/// - Throws: `Problem`: `.usage` for a bad range, `.noInput` when files are missing,
///   `.configuration` for a bad description, `.corrupt` for damaged data.
public func openDataSet(
  _ spec: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
) throws -> any DataSet {
  let part = try splitRange(spec)
  let source = part?.source ?? spec
  if !presets.contains(where: { $0.name == source }),
    let folder = try ImageFolder(describedBy: source)
  {
    return try folder.open(part?.range, name: spec, progress: progress)
  }
  let whole = try openWhole(source)
  return try part.map { try whole.slice($0.range, name: spec) } ?? whole
}

/// A data set's name as written in the file `reference`: paths start at that file's folder, presets
/// are names and stay as they are.
public func dataSetName(_ spec: String, relativeTo reference: String) -> String {
  let isPreset = presets.contains { spec == $0.name || spec.hasPrefix($0.name + "[") }
  return isPreset ? spec : Files.path(spec, relativeTo: reference)
}

/// Splits `source[begin:end]`; `nil` when there is no range.
private func splitRange(_ spec: String) throws -> (source: String, range: Range<Int>)? {
  guard spec.hasSuffix("]"), let bracket = spec.lastIndex(of: "[") else { return nil }
  let inside = spec[spec.index(after: bracket)...].dropLast()
  let bounds = inside.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
  guard bounds.count == 2, let begin = bounds[0], let end = bounds[1], 0 <= begin, begin < end
  else {
    throw Problem(
      .usage, "'[\(inside)]' in \(spec) is not a range of samples such as [0:500] (500 excluded)")
  }
  return (String(spec[..<bracket]), begin..<end)
}

private func openWhole(_ source: String) throws -> InMemoryDataSet {
  if let preset = presets.first(where: { $0.name == source }) {
    return try openPreset(preset, folder: presetFolder)
  }
  guard Files.exists(source) else {
    let names = presets.map(\.name).joined(separator: ", ")
    throw Problem(
      .noInput, "there is no data set '\(source)': neither a file nor one of \(names)")
  }
  return try openDescription(source)
}

/// Opens what a YAML file describes; paths in it are relative to its folder.
private func openDescription(_ path: String) throws -> InMemoryDataSet {
  let value = try Schemas.load(yamlAt: path, as: .dataset)
  let whole =
    switch value["kind"]?.string {
    case "glyphs": try GlyphDescription(value, path: path).draw()
    case "text": try readTexts(value, path: path)
    default: try readFiles(value, path: path)
    }
  guard let first = value["first"]?.integer else { return whole }
  return try whole.slice(0..<first, name: whole.name)
}

/// Reads the files of samples and labels that a description names.
private func readFiles(_ value: JSONValue, path: String) throws -> InMemoryDataSet {
  func text(_ name: String) -> String { value[name]!.string! }
  func file(_ name: String) -> String { Files.path(text(name), relativeTo: path) }
  let classNames = value["classNames"]!.array!.map { $0.string! }
  let member = value["images"] == nil ? "features" : "images"
  return text("kind") == "idx"
    ? try readIDXDataSet(
      name: text("name"), imagesPath: file("images"), labelsPath: file("labels"),
      classNames: classNames)
    : try readArrayDataSet(
      name: text("name"), member: member, samplesPath: file(member), labelsPath: file("labels"),
      classNames: classNames)
}

/// A data set that a Debian package installs.
package struct Preset: Sendable {
  package var name: String
  var images: String
  var labels: String
}

private let presetFolder = "/usr/share/datasets/fashion-mnist"

/// The data sets known by name.
package let presets = [
  Preset(
    name: "fashion-mnist/train", images: "train-images-idx3-ubyte.gz",
    labels: "train-labels-idx1-ubyte.gz"),
  Preset(
    name: "fashion-mnist/test", images: "t10k-images-idx3-ubyte.gz",
    labels: "t10k-labels-idx1-ubyte.gz"),
]

/// The classes of Fashion-MNIST (github.com/zalandoresearch/fashion-mnist, "Labels").
private let fashionClassNames = [
  "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
  "Ankle boot",
]

/// Opens a preset whose files lie in `folder`.
package func openPreset(_ preset: Preset, folder: String) throws -> InMemoryDataSet {
  let (images, labels) = (folder + "/" + preset.images, folder + "/" + preset.labels)
  guard Files.exists(images), Files.exists(labels) else {
    throw Problem(
      .noInput,
      "\(preset.name) is not installed: \(folder) lacks \(preset.images) or \(preset.labels); "
        + "install it with: apt-get install dataset-fashion-mnist")
  }
  return try readIDXDataSet(
    name: preset.name, imagesPath: images, labelsPath: labels, classNames: fashionClassNames)
}
