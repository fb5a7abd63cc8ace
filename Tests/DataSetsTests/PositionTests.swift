import Arrays
import Basics
import DataSets
import TestSupport
import Testing

/// Features of two samples with three positions each, and masked labels.
private struct Tokens {
  let folder = ScratchFolder()

  func open(
    features: [Int] = [2, 3, 2], labels: [Int] = [2, 3],
    _ values: ArrayValues = .int64([0, -1, 1, -100, 1, -7])
  ) throws -> InMemoryDataSet {
    let numbers = (0..<features.reduce(1, *)).map(Float.init)
    try NumPy.write(
      NamedArray(shape: features, values: .float32(numbers)), to: folder.file("features.npy"))
    try NumPy.write(NamedArray(shape: labels, values: values), to: folder.file("labels.npy"))
    let path = try folder.write(
      "{name: tokens, kind: arrays, classNames: [a, b], features: features.npy, labels: labels.npy}",
      to: "tokens.yaml")
    return try #require(try openDataSet(path) as? InMemoryDataSet)
  }
}

@Suite struct PositionTests {
  @Test func `labels of every position are read, and any negative number masks one`() throws {
    let data = try Tokens().open()
    #expect(data.positions == 3)
    #expect(data.count == 2)
    #expect(data.shape == .features(width: 6))
    #expect(data.labels == [0, -1, 1, -1, 1, -1])
    let second = try data.slice(1..<2, name: "second")
    #expect(second.labels == [-1, 1, -1])
    var features = [Float](repeating: 0, count: 6)
    var span = features.mutableSpan
    second.copyFeatures(of: 0, into: &span)
    #expect(features == [6, 7, 8, 9, 10, 11])
  }

  @Test func `the number of positions and every mask are in the fingerprint`() throws {
    let data = try Tokens().open()
    // tools/python/tests/test_views.py has the same data.
    #expect(
      data.fingerprint.description
        == "6264da2cc239f961e69e5eb0048dfd50cdb8bc887230a6a6bb0b3ec14b5235e8")
    let int32 = try Tokens().open(.int32([0, -1, 1, -1, 1, -1]))
    #expect(int32.fingerprint == data.fingerprint)
    let other = try Tokens().open(.int32([0, -1, 1, -1, 1, 0]))
    #expect(other.fingerprint != data.fingerprint)
  }

  @Test func `one position is no position: the fingerprint stays that of plain labels`() throws {
    let plain = try Tokens().open(features: [2, 4], labels: [2], .int32([0, 1]))
    let column = try Tokens().open(features: [2, 1, 4], labels: [2, 1], .int32([0, 1]))
    #expect(column.positions == 1)
    #expect(column.fingerprint == plain.fingerprint)
  }

  @Test(arguments: [
    ([2, 3, 2], [2, 3], [-1, -1, -1, -1, -1, -100], "every position of every sample is masked"),
    ([2, 3, 2], [2, 3], [-1, -1, -1, -1, 2, 0], "sample 1, position 1, has the label 2"),
    ([2, 3, 2], [2], [0, 1], "the labels are for 1 position of each sample, these for 3"),
    ([2, 6], [2, 3], [0, 1, 0, 1, 0, 1], "the labels are for 3 positions"),
    ([2, 3, 2], [1, 3], [0, 1, 0], "holds 2 samples, but"),
    ([2, 1, 2], [2, 1], [0, -1], "sample 1 has the label -1, but there are 2 classes"),
    ([2, 2, 3, 2], [2, 3], [0, 1, 0, 1, 0, 1], "features must be float32 of shape [n, d] or"),
    ([0, 1_099_511_627_776, 1_099_511_627_776], [0, 1_099_511_627_776], [], "is empty"),
    ([2, 3, 2], [2, 0], [], "labels must be integers of shape [n] or [n, positions]"),
  ])
  func `labels that do not fit are refused in words`(
    features: [Int], labels: [Int], values: [Int64], words: String
  ) throws {
    let problem = try #require(throws: Problem.self) {
      try Tokens().open(features: features, labels: labels, .int64(values))
    }
    #expect(problem.kind == .corrupt)
    #expect(problem.message.contains(words), "\(problem)")
  }
}
