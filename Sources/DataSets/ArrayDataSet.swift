import Arrays
import Basics

/// A data set from array files: images uint8 [n, h, w] or [n, h, w, c], or features float32 [n, d];
/// labels of any integer type [n].
///
/// Each path is an `.npy` file, or a `.safetensors` file in which the array has the member's own
/// name (`images`, `features`, `labels`); one safetensors file may be named for both.
func readArrayDataSet(
  name: String, member: String, samplesPath: String, labelsPath: String, classNames: [String]
) throws -> InMemoryDataSet {
  let samples = try readArray(member, path: samplesPath)
  let labels = try readLabels(path: labelsPath)
  let (shape, elements) =
    member == "images"
    ? try images(samples, path: samplesPath) : try features(samples, path: samplesPath)
  try checkCounts(
    samples: samples.shape[0], of: samplesPath, labels: labels.count, of: labelsPath)
  return try InMemoryDataSet(
    name: name, shape: shape, classNames: classNames, labels: labels, elements: elements)
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
  _ array: NamedArray, path: String
) throws -> (SampleShape, InMemoryDataSet.Elements) {
  guard case .float32(let features) = array.values, array.shape.count == 2 else {
    throw unexpected(array, path, "features must be float32 of shape [n, d]")
  }
  return (.features(width: array.shape[1]), .features(features))
}

private func readLabels(path: String) throws -> [Int32] {
  let array = try readArray("labels", path: path)
  guard array.shape.count == 1 else {
    throw unexpected(array, path, "labels must be integers of shape [n]")
  }
  switch array.values {
  case .uint8(let labels): return labels.map(Int32.init)
  case .int32(let labels): return labels
  case .int64(let labels):
    return try labels.enumerated().map { sample, label in
      guard let label32 = Int32(exactly: label) else {
        throw Problem(.corrupt, "\(path): sample \(sample) has the label \(label), no class's")
      }
      return label32
    }
  case .float32, .float64: throw unexpected(array, path, "labels must be integers of shape [n]")
  }
}

private func unexpected(_ array: NamedArray, _ path: String, _ rule: String) -> Problem {
  Problem(
    .corrupt, "\(path) holds \(array.values.typeName) of shape \(array.shape); \(rule)")
}
