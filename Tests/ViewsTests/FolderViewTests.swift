import Basics
import DataSets
import TestSupport
import Testing
import Views

/// Views of picture files.
@Suite struct FolderViewTests {
  private let folder = ScratchFolder()

  private func open() throws -> any DataSet {
    try PictureFiles.copy(to: folder)
    return try openDataSet(
      folder.write(
        """
        kind: folder
        name: pictures
        path: pictures
        size: {height: 12, width: 10}
        """, to: "data.yaml"))
  }

  @Test func `the view without operations is the resized middle of the picture`() throws {
    let pictures = try open()
    let augmenter = try Augmenter(dataSet: pictures, recipe: .identity, seed: 1)
    var batch = augmenter.makeBatch()
    try augmenter.render(samples: 0..<pictures.count, view: 3, into: &batch)
    let target = ImageSize(height: 12, width: 10, channels: 3)
    var (picture, resizer) = (Picture(), Resizer())
    var image = [UInt8](repeating: 0, count: target.elementCount)
    for sample in 0..<pictures.count {
      try pictures.readPicture(of: sample, into: &picture)
      let size = ImageSize(height: picture.height, width: picture.width, channels: 3)
      let middle = Rectangle(centredIn: size, proportionsOf: target)
      resizer.resize(picture.pixels, size, middle, to: target, into: &image)
      let start = sample * target.elementCount
      #expect(Array(batch.pixels[start..<start + target.elementCount]) == image)
    }
  }

  @Test func `views are the same alone, in any batch and on every thread`() async throws {
    let augmenter = try Augmenter(
      dataSet: open(),
      recipe: recipe("{version: 1, operations: [{op: resized-crop}, {op: flip}, {op: cutmix}]}"),
      seed: 4)
    let count = augmenter.dataSet.count
    var (whole, alone) = (augmenter.makeBatch(), augmenter.makeBatch())
    try augmenter.render(samples: 0..<count, view: 2, into: &whole)
    for sample in (0..<count).reversed() {
      try augmenter.render(samples: sample..<sample + 1, view: 2, into: &alone)
      #expect(alone.pixels == Array(whole.pixels[sample * 360..<(sample + 1) * 360]))
      #expect(alone.partners == [whole.partners[sample]])
    }
    let digest = try augmenter.digest(samples: 0..<count, view: 2)
    // Frozen; the same number stands in test_folders.py.
    #expect(
      digest.description == "e295f7cd85000dfd8f13ac260075cad474bd8d4522ebb6339781a29cb7287668")
    try await withThrowingTaskGroup(of: Digest.self) { group in
      for _ in 0..<8 { group.addTask { try augmenter.digest(samples: 0..<count, view: 2) } }
      for try await other in group { #expect(other == digest) }
    }
  }

  @Test func `a picture that changed ends rendering with its path`() throws {
    let augmenter = try Augmenter(dataSet: open(), recipe: .identity, seed: 1)
    try Files.writeAtomically(
      PictureFiles.read("rgb-gamma.png"), to: folder.file("pictures/png/rgb-8.png"))
    let problem = try #require(throws: Problem.self) {
      try augmenter.digest(samples: 0..<augmenter.dataSet.count, view: 0)
    }
    #expect(problem.message.contains("png/rgb-8.png no longer holds"), "\(problem)")
  }
}
