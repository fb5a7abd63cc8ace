import Arrays
import Basics

/// A data set from array files: images uint8 [n, h, w] or [n, h, w, c], or features float32 [n, d] or,
/// for T positions, [n, T, d]; labels of any integer type, [n] or [n, T].
///
/// Of T labels those below 0 say that a position has none. Each path is an `.npy` file, or a
/// `.safetensors` file in which the array has the member's own name (`images`, `features`,
/// `labels`); one safetensors file may be named for both.
func readArrayDataSet(
  name: String, member: String, samplesPath: String, labelsPath: String, classNames: [String]
) throws -> InMemoryDataSet {
  let samples = try readArray(member, path: samplesPath)
  let labels = try readLabels(path: labelsPath)
  guard samples.shape.first != 0 else {
    throw Problem(.corrupt, "\(samplesPath) is empty: it has the shape \(samples.shape)")
  }
  let (shape, elements) =
    member == "images"
    ? try images(samples, path: samplesPath)
    : try features(samples, positions: labels.positions, path: samplesPath)
  try checkCounts(
    samples: samples.shape[0], of: samplesPath, labels: labels.samples, of: labelsPath)
  return try InMemoryDataSet(
    name: name, shape: shape, classNames: classNames, positions: labels.positions,
    labels: labels.values, elements: elements)
}

private func readArray(_ member: String, path: String) throws -> NamedArray {
  guard path.hasSuffix(".safetensors") else { return try NumPy.read(path) }
  let file = try Safetensors.read(path)
  guard let array = file.arrays[member] else {
    let names = file.arrays.keys.sorted().joined(separator: ", ")
    throw Problem(.corrupt, "\(path) has no array named '\(member)'; it has: \(names)")
  }
  return array
}

private func images(
  _ array: NamedArray, path: String
) throws -> (SampleShape, InMemoryDataSet.Elements) {
  guard case .uint8(let pixels) = array.values, (3...4).contains(array.shape.count) else {
    throw unexpected(array, path, "images must be uint8 of shape [n, h, w] or [n, h, w, c]")
  }
  return (imageShape(array.shape), .pixels(pixels))
}

private func features(
  _ array: NamedArray, positions: Int, path: String
) throws -> (SampleShape, InMemoryDataSet.Elements) {
  guard case .float32(let features) = array.values, (2...3).contains(array.shape.count) else {
    throw unexpected(array, path, "features must be float32 of shape [n, d] or [n, positions, d]")
  }
  let found = array.shape.count == 3 ? array.shape[1] : 1
  guard found == positions else {
    throw unexpected(
      array, path,
      "the labels are for \(counted(positions, "position")) of each sample, these for \(found)")
  }
  return (.features(width: array.shape.dropFirst().reduce(1, *)), .features(features))
}

/// Labels [samples, positions], row-major.
private struct Labels {
  var values: [Int32]
  var samples: Int
  var positions: Int
}

private func readLabels(path: String) throws -> Labels {
  let array = try readArray("labels", path: path)
  let rule = "labels must be integers of shape [n] or [n, positions]"
  let positions = array.shape.count == 2 ? array.shape[1] : 1
  guard (1...2).contains(array.shape.count), positions > 0 else {
    throw unexpected(array, path, rule)
  }
  func label(_ value: Int64, _ index: Int) throws -> Int32 {
    // PyTorch masks with -100, others with -1.
    if value < 0 && positions > 1 { return -1 }
    guard let label = Int32(exactly: value) else {
      throw Problem(
        .corrupt, "\(path): sample \(index / positions) has the label \(value), no class's")
    }
    return label
  }
  let values: [Int32]
  switch array.values {
  case .uint8(let labels): values = labels.map(Int32.init)
  case .int32(let labels):
    values = try labels.enumerated().map { try label(Int64($1), $0) }
  case .int64(let labels): values = try labels.enumerated().map { try label($1, $0) }
  case .float32, .float64: throw unexpected(array, path, rule)
  }
  return Labels(values: values, samples: array.shape[0], positions: positions)
}

private func unexpected(_ array: NamedArray, _ path: String, _ rule: String) -> Problem {
  Problem(
    .corrupt, "\(path) holds \(array.values.typeName) of shape \(array.shape); \(rule)")
}
