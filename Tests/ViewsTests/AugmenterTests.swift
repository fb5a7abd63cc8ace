import Basics
import DataSets
import TestSupport
import Testing
import Views

private let everything = """
  version: 1
  operations:
    - {op: pad-crop, pad: 2}
    - {op: flip}
    - {op: affine, degrees: 15, translate: 0.1, scale: [0.9, 1.1], shear: 5}
    - {op: brightness, amount: 0.3}
    - {op: contrast, amount: 0.3}
    - {op: erase}
    - {op: mixup, probability: 0.5}
  """

@Suite struct AugmenterTests {
  @Test(arguments: 0..<10 as Range<UInt64>)
  func `a view is the same alone, in any batch and in any order`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let augmenter = try Augmenter(
      dataSet: testImages(9, 8, 2, count: 20), recipe: recipe(everything), seed: seed)
    var whole = augmenter.makeBatch()
    try augmenter.render(samples: 0..<20, view: 3, into: &whole)
    let order = (0..<20).shuffled(using: &random)
    var batch = augmenter.makeBatch()
    var rest = order[...]
    while !rest.isEmpty {
      let samples = rest.prefix(Int.random(in: 1...7, using: &random))
      try augmenter.render(samples: samples, view: 3, into: &batch)
      for (index, sample) in samples.enumerated() {
        #expect(batch.view(index) == whole.view(sample), "seed \(seed), sample \(sample)")
      }
      rest = rest.dropFirst(samples.count)
    }
  }

  @Test func `a view is the same on every thread`() async throws {
    let augmenter = try Augmenter(
      dataSet: testImages(9, 8, 2, count: 50), recipe: recipe(everything), seed: 4)
    let expected = try (0..<8).map { try augmenter.digest(samples: 0..<50, view: $0) }
    try await withThrowingTaskGroup(of: (Int, Digest).self) { group in
      for task in 0..<32 {
        group.addTask { (task % 8, try augmenter.digest(samples: 0..<50, view: task % 8)) }
      }
      for try await (view, digest) in group { #expect(digest == expected[view], "view \(view)") }
    }
  }

  @Test func `seed, view, recipe and data each change the digest`() throws {
    let images = try testImages(9, 8, 1, count: 10)
    let other = try testImages(9, 8, 1, count: 11).slice(1..<11, name: "others")
    let recipe = try recipe(everything)
    let base = try Augmenter(dataSet: images, recipe: recipe, seed: 4)
    let digests = [
      try base.digest(samples: 0..<10, view: 0), try base.digest(samples: 0..<10, view: 1),
      try base.digest(samples: 0..<9, view: 0),
      try Augmenter(dataSet: images, recipe: recipe, seed: 5).digest(samples: 0..<10, view: 0),
      try Augmenter(dataSet: images, recipe: .identity, seed: 4).digest(samples: 0..<10, view: 0),
      try Augmenter(dataSet: other, recipe: recipe, seed: 4).digest(samples: 0..<10, view: 0),
    ]
    #expect(Set(digests).count == digests.count)
  }

  @Test func `a digest does not depend on how views are batched`() throws {
    let augmenter = try Augmenter(
      dataSet: testImages(5, 5, 1, count: 600), recipe: recipe(everything), seed: 4)
    var builder = DigestBuilder()
    var batch = augmenter.makeBatch()
    for start in stride(from: 0, to: 600, by: 37) {
      try augmenter.render(samples: start..<min(600, start + 37), view: 2, into: &batch)
      batch.appendTensors(to: &builder)
    }
    #expect(try builder.finish() == augmenter.digest(samples: 0..<600, view: 2))
  }

  @Test func `the identity gives the samples themselves`() throws {
    let images = try testImages(4, 5, 3, count: 6)
    let augmenter = try Augmenter(dataSet: images, recipe: .identity, seed: 1)
    var batch = augmenter.makeBatch()
    try augmenter.render(samples: [4, 2], view: 9, into: &batch)
    var sample = [UInt8](repeating: 0, count: 60)
    for (index, number) in [4, 2].enumerated() {
      var span = sample.mutableSpan
      images.copyPixels(of: number, into: &span)
      #expect(batch.view(index).pixels == sample)
    }
    #expect(batch.partners == [4, 2])
    #expect(batch.ownShares == [1, 1])
  }

  @Test func `a partner's pixels are its own view`() throws {
    let images = try testImages(6, 6, 1, count: 12)
    let plain = try Augmenter(
      dataSet: images, recipe: recipe("{version: 1, operations: [{op: affine, degrees: 45}]}"),
      seed: 8)
    let mixed = try Augmenter(
      dataSet: images,
      recipe: recipe(
        "{version: 1, operations: [{op: affine, degrees: 45}, {op: mixup, share: [0, 0]}]}"),
      seed: 8)
    var (views, mixtures) = (plain.makeBatch(), mixed.makeBatch())
    try plain.render(samples: 0..<12, view: 2, into: &views)
    try mixed.render(samples: 0..<12, view: 2, into: &mixtures)
    for sample in 0..<12 {
      let partner = Int(mixtures.partners[sample])
      #expect(partner != sample)
      #expect(mixtures.view(sample).pixels == views.view(partner).pixels, "sample \(sample)")
      #expect(mixtures.ownShares[sample] == 0)
    }
  }

  @Test func `partners are spread over all other samples`() throws {
    let augmenter = try Augmenter(
      dataSet: testImages(1, 1, 1, count: 5),
      recipe: recipe("{version: 1, operations: [{op: mixup}]}"), seed: 8)
    var batch = augmenter.makeBatch()
    var counts = [Int](repeating: 0, count: 5)
    for view in 0..<4000 {
      try augmenter.render(samples: 2..<3, view: view, into: &batch)
      counts[Int(batch.partners[0])] += 1
    }
    #expect(counts[2] == 0)
    // Six standard deviations of a binomial count.
    for other in [0, 1, 3, 4] { #expect(abs(counts[other] - 1000) < 165, "\(counts)") }
  }

  @Test func `shares tell how much of the sample a cutmix leaves`() throws {
    let pixels = [UInt8](repeating: 0, count: 64) + [UInt8](repeating: 255, count: 64)
    let images = try InMemoryDataSet(
      name: "black and white", shape: .image(height: 8, width: 8, channels: 1), classNames: ["a"],
      labels: [0, 0], elements: .pixels(pixels))
    let augmenter = try Augmenter(
      dataSet: images, recipe: recipe("{version: 1, operations: [{op: cutmix, area: [0, 1]}]}"),
      seed: 8)
    var batch = augmenter.makeBatch()
    for view in 0..<50 {
      try augmenter.render(samples: 0..<1, view: view, into: &batch)
      let black = batch.pixels.count { $0 == 0 }
      #expect(batch.ownShares[0] == Float(black) / 64, "view \(view)")
    }
  }

  @Test(arguments: 1...4)
  func `an image of one pixel, padding beyond the image and a lone sample are fine`(
    channels: Int
  ) throws {
    let augmenter = try Augmenter(
      dataSet: testImages(1, 1, channels, count: 1),
      recipe: recipe(
        """
        version: 1
        operations: [{op: pad-crop, pad: 50}, {op: flip, probability: 1},
          {op: affine, degrees: 180, translate: 1, scale: [0.0625, 16], shear: 45},
          {op: brightness, amount: 1}, {op: contrast, amount: 1},
          {op: erase, probability: 1, area: [0, 1], aspect: 16}, {op: cutmix, area: [0, 1]}]
        """), seed: 1)
    var batch = augmenter.makeBatch()
    for view in 0..<200 {
      try augmenter.render(samples: 0..<1, view: view, into: &batch)
      #expect(batch.partners == [0])
    }
  }

  @Test func `the largest image is within the arithmetic's range`() throws {
    let side = Augmenter.largestSide
    let images = try InMemoryDataSet(
      name: "large", shape: .image(height: side, width: side, channels: 1), classNames: ["a"],
      labels: [0], elements: .pixels([UInt8](repeating: 100, count: side * side)))
    let augmenter = try Augmenter(
      dataSet: images,
      recipe: recipe(
        """
        version: 1
        operations: [{op: pad-crop, pad: 4096}, {op: contrast, amount: 1},
          {op: affine, degrees: 180, translate: 1, scale: [0.0625, 16], shear: 45},
          {op: erase, probability: 1, area: [1, 1], aspect: 16}, {op: cutmix, area: [1, 1]}]
        """), seed: 1)
    var batch = augmenter.makeBatch()
    try augmenter.render(samples: 0..<1, view: 0, into: &batch)
    #expect(batch.pixels.count == side * side)
  }

  @Test func `features pass unchanged, and image operations on them are refused`() throws {
    let features = try InMemoryDataSet(
      name: "features", shape: .features(width: 2), classNames: ["a"], labels: [0, 0, 0],
      elements: .features([1, 2, 3, 4, 5, 6]))
    let augmenter = try Augmenter(dataSet: features, recipe: .identity, seed: 1)
    var batch = augmenter.makeBatch()
    try augmenter.render(samples: [2, 0], view: 0, into: &batch)
    #expect(batch.features == [5, 6, 1, 2])
    #expect(batch.pixels.isEmpty)
    let problem = try #require(throws: Problem.self) {
      try Augmenter(dataSet: features, recipe: recipe(everything), seed: 1)
    }
    #expect(problem.kind == .configuration)
    #expect(problem.message.contains("has 2 features, but the recipe has operations on images"))
  }

  @Test(arguments: ["resized-crop", "pad-crop, pad: 1", "flip", "affine", "mixup", "cutmix"])
  func `a recipe that would leave labels of positions wrong is refused`(operation: String) throws {
    let data = try InMemoryDataSet(
      name: "lines", shape: .image(height: 4, width: 6, channels: 1), classNames: ["a"],
      positions: 3, labels: [0, -1, 0], elements: .pixels([UInt8](repeating: 0, count: 24)))
    func augmenter(_ operation: String) throws -> Augmenter {
      try Augmenter(
        dataSet: data, recipe: recipe("version: 1\noperations: [\(operation)]"), seed: 1)
    }
    _ = try augmenter("{op: contrast, amount: 0.5}")
    let problem = try #require(throws: Problem.self) { try augmenter("{op: \(operation)}") }
    #expect(problem.kind == .configuration)
    #expect(problem.message.contains("flip, affine, mixup and cutmix would leave them wrong"))
  }
}

/// One view of a batch, to compare.
private struct View: Equatable {
  var pixels: [UInt8]
  var partner: Int32
  var ownShare: Float
}

extension ViewBatch {
  fileprivate func view(_ index: Int) -> View {
    let size = shape.elementCount
    return View(
      pixels: Array(pixels[index * size..<(index + 1) * size]), partner: partners[index],
      ownShare: ownShares[index])
  }
}
