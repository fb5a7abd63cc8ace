import Basics
import Compression
import DataSets
import TestSupport
import Testing

/// A folder with an IDX pair of 3 images, 2 x 2, described by `data.yaml`.
private struct IDXFolder {
  let folder = ScratchFolder()
  var images = idx([3, 2, 2], Array(0..<12))
  var labels = idx([3], [0, 1, 1])
  var classNames = "[a, b]"
  var more = ""

  func open() throws -> any DataSet {
    try Files.writeAtomically(images, to: folder.file("images"))
    try Files.writeAtomically(labels, to: folder.file("labels"))
    try Files.writeAtomically(
      "{name: test, kind: idx, images: images, labels: labels, classNames: \(classNames)\(more)}",
      to: folder.file("data.yaml"))
    return try openDataSet(folder.file("data.yaml"))
  }
}

private func idx(_ lengths: [Int], _ elements: [UInt8], type: UInt8 = 8) -> [UInt8] {
  let header = [0, 0, type, UInt8(lengths.count)]
  return header
    + lengths.flatMap { length in
      [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) }
    } + elements
}

private func pixels(_ dataSet: any DataSet, _ sample: Int) -> [UInt8] {
  var pixels = [UInt8](repeating: 0, count: dataSet.shape.elementCount)
  var span = pixels.mutableSpan
  dataSet.copyPixels(of: sample, into: &span)
  return pixels
}

@Suite struct IDXTests {
  @Test func `a pair of files is a data set`() throws {
    let dataSet = try IDXFolder().open()
    #expect(dataSet.name == "test")
    #expect(dataSet.count == 3)
    #expect(dataSet.shape == .image(height: 2, width: 2, channels: 1))
    #expect(dataSet.classNames == ["a", "b"])
    #expect(dataSet.labels == [0, 1, 1])
    #expect(pixels(dataSet, 1) == [4, 5, 6, 7])
  }

  @Test func `a fourth axis is channels`() throws {
    let dataSet = try IDXFolder(images: idx([3, 1, 2, 2], Array(0..<12))).open()
    #expect(dataSet.shape == .image(height: 1, width: 2, channels: 2))
  }

  @Test func `packed files give the same data set`() throws {
    let plain = try IDXFolder().open()
    var folder = IDXFolder()
    folder.images = Gzip.pack(folder.images)
    folder.labels = Gzip.pack(folder.labels)
    let packed = try folder.open()
    #expect(packed.fingerprint == plain.fingerprint)
    #expect(pixels(packed, 2) == pixels(plain, 2))
  }

  @Test func `a range or the first samples can be taken`() throws {
    let folder = IDXFolder(more: ", first: 2")
    let first = try folder.open()
    #expect(first.count == 2)
    let range = try openDataSet(folder.folder.file("data.yaml") + "[1:2]")
    #expect(range.count == 1)
    #expect(range.name.hasSuffix("data.yaml[1:2]"))
    #expect(pixels(range, 0) == [4, 5, 6, 7])
    #expect(range.fingerprint != first.fingerprint)
  }

  @Test(arguments: ["[1:9]", "[2:2]", "[a:1]", "[1]", "[-1:2]", "[]"])
  func `a range beyond the samples is refused`(range: String) throws {
    let folder = IDXFolder()
    _ = try folder.open()
    let problem = try #require(throws: Problem.self) {
      try openDataSet(folder.folder.file("data.yaml") + range)
    }
    #expect(problem.kind == .usage)
  }

  @Test(
    arguments: [
      (
        idx([3, 2, 2], Array(0..<11)),
        "has 27 bytes, but its header (lengths [3, 2, 2]) asks for 28"
      ),
      (idx([3, 2, 2], Array(0..<13)), "has 29 bytes"),
      (idx([2, 2, 2], Array(0..<8)), "holds 2 samples, but"),
      (idx([12], Array(0..<12)), "has 1 axis, which is not what images have (3 to 4)"),
      (idx([3, 2, 2], Array(0..<12), type: 9), "IDX type 9"),
      ([1, 2, 3, 4], "not an IDX file: it begins with 01020304"),
      ([0, 0, 8, 3, 0, 0], "cut off in its header, after 6 bytes"),
      ([], "not an IDX file"),
      (idx([3, 0, 2], []), "test is empty"),
      (idx([1 << 31, 1 << 31, 1 << 31], []), "more than can be held"),
      (Gzip.pack(idx([1 << 20, 1 << 10, 1 << 10], [1, 2, 3])), "cannot hold 1099511627792 bytes"),
      (Gzip.pack(idx([3, 2, 2], Array(0..<11))), "holds 27 unpacked bytes, 28 were expected"),
      (Gzip.pack(idx([3, 2, 2], Array(0..<13))), "holds more than the 28 unpacked bytes"),
      (Gzip.pack(idx([3, 2, 2], Array(0..<12))) + [0], "goes on for 1 bytes after its end"),
      (Gzip.pack(idx([3, 2, 2], Array(0..<12))).dropLast(1), "cut off after 28 of 28 bytes"),
      ([0x1F, 0x8B, 1, 2, 3], "damaged or it is not gzip"),
    ] as [([UInt8], String)])
  func `unsound images are refused in words`(images: [UInt8], words: String) throws {
    let problem = try #require(throws: Problem.self) { try IDXFolder(images: images).open() }
    #expect(problem.kind == .corrupt)
    #expect(problem.message.contains(words), "\(problem)")
  }

  @Test func `no samples of a shape that no Int holds are refused`() throws {
    let images = idx([0, 1 << 31, 1 << 31, 1 << 3], [])
    let problem = try #require(throws: Problem.self) {
      try IDXFolder(images: images, labels: idx([0], [])).open()
    }
    #expect(problem.message.contains("is empty: 0 samples"), "\(problem)")
  }

  @Test func `unsound labels are refused in words`() throws {
    for (labels, words) in [
      (idx([3], [0, 1, 2]), "sample 2 has the label 2, but there are 2 classes, 0 to 1"),
      (idx([3, 1], [0, 1, 1]), "has 2 axes, which is not what labels have (1)"),
      (idx([2], [0, 1]), "labels holds 2 labels"),
    ] {
      let problem = try #require(throws: Problem.self) { try IDXFolder(labels: labels).open() }
      #expect(problem.kind == .corrupt)
      #expect(problem.message.contains(words), "\(problem)")
    }
  }

  @Test func `every damaged byte of a packed file is noticed or harmless`() throws {
    let sound = try IDXFolder().open()
    let packed = Gzip.pack(idx([3, 2, 2], Array(0..<12)))
    for index in packed.indices {
      var damaged = packed
      damaged[index] ^= 0x55
      // Bytes 4 to 9 of the header (time, flags of the packer, system) carry no data.
      if let dataSet = try? IDXFolder(images: damaged).open() {
        #expect(dataSet.fingerprint == sound.fingerprint, "byte \(index)")
        #expect((4...9).contains(index), "byte \(index)")
      }
    }
  }

  @Test func `a missing file is named`() throws {
    let folder = IDXFolder()
    _ = try folder.open()
    let path = folder.folder.file("other.yaml")
    try Files.writeAtomically(
      "{name: x, kind: idx, images: gone, labels: labels, classNames: [a, b]}", to: path)
    let problem = try #require(throws: Problem.self) { try openDataSet(path) }
    #expect(problem.kind == .noInput)
    #expect(problem.message.contains(folder.folder.file("gone")), "\(problem)")
  }
}
