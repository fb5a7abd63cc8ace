import Arrays
import Basics
import DataSets
import TestSupport
import Testing

/// A folder with arrays described by `data.yaml`.
private struct ArraysFolder {
  let folder = ScratchFolder()

  func open(_ description: String) throws -> any DataSet {
    try Files.writeAtomically(
      "{name: test, kind: arrays, classNames: [a, b], \(description)}",
      to: folder.file("data.yaml"))
    return try openDataSet(folder.file("data.yaml"))
  }

  func write(_ name: String, _ shape: [Int], _ values: ArrayValues) throws {
    try NumPy.write(NamedArray(shape: shape, values: values), to: folder.file(name))
  }
}

@Suite struct ArrayDataSetTests {
  @Test func `numpy files, one safetensors file and IDX files of the same data are one data set`()
    throws
  {
    let folder = ArraysFolder()
    let pixels = (0..<24).map { UInt8($0 * 10) }
    try folder.write("images.npy", [2, 3, 4], .uint8(pixels))
    try folder.write("labels.npy", [2], .int64([1, 0]))
    let numpy = try folder.open("images: images.npy, labels: labels.npy")
    let images = NamedArray(shape: [2, 3, 4, 1], values: .uint8(pixels))
    let labels = NamedArray(shape: [2], values: .int32([1, 0]))
    try Safetensors.write(
      SafetensorsFile(arrays: ["images": images, "labels": labels, "more": labels]),
      to: folder.folder.file("data.safetensors"))
    let safetensors = try folder.open("images: data.safetensors, labels: data.safetensors")
    try Files.writeAtomically(
      [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4] + pixels, to: folder.folder.file("images"))
    try Files.writeAtomically([0, 0, 8, 1, 0, 0, 0, 2, 1, 0], to: folder.folder.file("labels"))
    try Files.writeAtomically(
      "{name: other, kind: idx, images: images, labels: labels, classNames: [a, b]}",
      to: folder.folder.file("idx.yaml"))
    let idx = try openDataSet(folder.folder.file("idx.yaml"))
    #expect(numpy.shape == .image(height: 3, width: 4, channels: 1))
    #expect(numpy.labels == [1, 0])
    #expect(numpy.fingerprint == safetensors.fingerprint)
    #expect(numpy.fingerprint == idx.fingerprint)
  }

  @Test func `everything that matters changes the fingerprint`() throws {
    func fingerprint(
      shape: SampleShape = .image(height: 1, width: 2, channels: 1),
      classes: [String] = ["a", "b"],
      labels: [Int32] = [0, 1], pixels: [UInt8] = [1, 2, 3, 4], name: String = "x"
    ) throws -> Digest {
      try InMemoryDataSet(
        name: name, shape: shape, classNames: classes, labels: labels, elements: .pixels(pixels)
      ).fingerprint
    }
    let base = try fingerprint()
    #expect(try fingerprint(name: "y") == base)
    #expect(try fingerprint(shape: .image(height: 2, width: 1, channels: 1)) != base)
    #expect(try fingerprint(shape: .image(height: 1, width: 1, channels: 2)) != base)
    #expect(try fingerprint(classes: ["a", "c"]) != base)
    #expect(try fingerprint(classes: ["ab", ""]) != base)
    #expect(try fingerprint(labels: [0, 0]) != base)
    #expect(try fingerprint(pixels: [1, 2, 3, 5]) != base)
  }

  @Test func `features are read, and their samples sliced`() throws {
    let folder = ArraysFolder()
    try folder.write("features.npy", [3, 2], .float32([0, 1, 2, 3, 4, 5]))
    try folder.write("labels.npy", [3], .uint8([0, 1, 0]))
    let dataSet = try folder.open("features: features.npy, labels: labels.npy, first: 2")
    #expect(dataSet.shape == .features(width: 2))
    #expect(dataSet.count == 2)
    var features: [Float] = [9, 9]
    var span = features.mutableSpan
    dataSet.copyFeatures(of: 1, into: &span)
    #expect(features == [2, 3])
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func `a feature that is no finite number is refused with its place`(value: Float) throws {
    let folder = ArraysFolder()
    try folder.write("features.npy", [3, 2], .float32([0, 1, 2, 3, 4, value]))
    try folder.write("labels.npy", [3], .uint8([0, 1, 0]))
    let problem = try #require(throws: Problem.self) {
      try folder.open("features: features.npy, labels: labels.npy")
    }
    #expect(problem.kind == .corrupt)
    #expect(problem.message.contains("feature 1 of sample 2 is \(value)"), "\(problem)")
  }

  @Test(arguments: [
    ("images: u4.npy, labels: labels.npy", "holds uint8 of shape [4]; images must be uint8"),
    ("images: f22.npy, labels: labels.npy", "holds float32 of shape [2, 2]; images must be uint8"),
    ("features: u222.npy, labels: labels.npy", "features must be float32 of shape [n, d]"),
    ("images: u222.npy, labels: f22.npy", "labels must be integers of shape [n]"),
    ("images: u222.npy, labels: far.npy", "sample 1 has the label 9000000000"),
    ("images: u222.npy, labels: minus.npy", "sample 0 has the label -1, but there are 2 classes"),
    ("images: u222.npy, labels: u4.npy", "holds 2 samples, but"),
    ("images: x.safetensors, labels: labels.npy", "no array named 'images'; it has: other"),
  ])
  func `arrays of other shapes and types are refused in words`(
    description: String, words: String
  ) throws {
    let folder = ArraysFolder()
    try folder.write("u4.npy", [4], .uint8([0, 0, 0, 0]))
    try folder.write("u222.npy", [2, 2, 2], .uint8([0, 1, 2, 3, 4, 5, 6, 7]))
    try folder.write("f22.npy", [2, 2], .float32([1, 2, 3, 4]))
    try folder.write("labels.npy", [2], .int32([0, 1]))
    try folder.write("far.npy", [2], .int64([0, 9_000_000_000]))
    try folder.write("minus.npy", [2], .int64([-1, 0]))
    try Safetensors.write(
      SafetensorsFile(arrays: ["other": NamedArray(shape: [], values: .uint8([1]))]),
      to: folder.folder.file("x.safetensors"))
    let problem = try #require(throws: Problem.self) { try folder.open(description) }
    #expect(problem.kind == .corrupt)
    #expect(problem.message.contains(words), "\(problem)")
  }

  @Test(arguments: [
    ("labels: l", "images is missing"), ("images: i, labels: l, first: 0", "first must be"),
    ("images: i, labels: l, features: f", "not known here"),
    ("images: 3, labels: l", "images must"),
  ])
  func `a wrong description is refused in words`(description: String, words: String) throws {
    let problem = try #require(throws: Problem.self) { try ArraysFolder().open(description) }
    #expect(problem.kind == .configuration)
    #expect(problem.message.contains(words), "\(problem)")
  }
}
