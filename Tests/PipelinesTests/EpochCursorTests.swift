import Basics
import LogitCache
import Losses
import Pipelines
import TestSupport
import Testing

/// A manifest of three classes that no teacher decides.
private func manifest(of labels: [Int32], views: Int, _ encoding: Encoding) -> Manifest {
  Manifest(
    dataSet: DataSetIdentity(
      name: "numbers", fingerprint: Digest(of: "numbers"), labels: labels,
      classNames: ["a", "b", "c"]),
    recipe: RecipeIdentity(digest: Digest(of: "none"), content: .object([:])), seed: 1,
    views: views, teacher: .object([:]), encoding: encoding)
}

/// A small cache of records that say which sample and view they are of.
private struct Store {
  let folder = ScratchFolder()
  let cache: CacheReader
  let samples: Int
  let views: Int
  let blockRows: Int

  /// The largest logit of a record is `view * samples + sample`.
  init(samples: Int, views: Int, blockRows: Int) throws {
    (self.samples, self.views, self.blockRows) = (samples, views, blockRows)
    let labels = [Int32](repeating: 0, count: samples)
    let manifest = manifest(
      of: labels, views: views, Encoding(classes: 3, k: 2, blockRows: blockRows))
    let writer = try CacheWriter(path: folder.path, manifest: manifest, labels: labels)
    let encoder = try BlockEncoder(manifest: manifest)
    for key in manifest.blockKeys {
      let range = manifest.samples(of: key)
      let logits = range.flatMap { sample -> [Float] in
        [Float(key.view * samples + sample), 0, -1]
      }
      try writer.append([
        encoder.encode(
          logits: logits.span, labels: range.map { _ in 0 }, view: key.view, block: key.block,
          firstSample: range.lowerBound, viewDigest: Digest(of: "\(key)"))
      ])
    }
    _ = try writer.seal()
    cache = try CacheReader(path: folder.path)
  }

  var blocks: Int { (samples + blockRows - 1) / blockRows }

  /// Bytes of all decoded records.
  var decodedBytes: Int {
    var batch = cache.makeBatch()
    batch.resize(to: samples * views)
    return batch.byteCount
  }

  /// What epochs read: the samples, the numbers that their records hold, and how many blocks that took.
  func read(
    epochs: Int, batch size: Int, keepingBytes: Int
  ) throws -> (samples: [Int], numbers: [Int], decoded: Int) {
    let cursor = EpochCursor(
      epochs: 0..<epochs, samples: samples, blockRows: blockRows, seed: 3,
      blocks: DecodedBlocks(cache, keepingBytes: keepingBytes), view: { $0 % views })
    var (all, numbers, chosen): ([Int], [Int], [Int]) = ([], [], [])
    var records: TeacherBatch? = cache.makeBatch()
    for _ in 0..<epochs {
      for start in stride(from: 0, to: samples, by: size) {
        try cursor.take(min(size, samples - start), samples: &chosen, records: &records)
        all += chosen
        numbers += try #require(records).largestLogits.map { Int($0) }
      }
    }
    return (all, numbers, cursor.decodedBlocks)
  }
}

@Suite struct EpochCursorTests {
  @Test(arguments: 1...12 as ClosedRange<UInt64>)
  func `samples and records do not depend on the memory for decoded blocks`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let store = try Store(
      samples: Int.random(in: 1...300, using: &generator),
      views: Int.random(in: 1...3, using: &generator),
      blockRows: Int.random(in: 1...12, using: &generator))
    let epochs = Int.random(in: 1...5, using: &generator)
    let size = Int.random(in: 1...40, using: &generator)
    let order = (0..<epochs).flatMap { epoch in
      EpochOrder(samples: store.samples, blockRows: store.blockRows, seed: 3, epoch: epoch)
        .windows().flatMap { window in
          window.places.map { window.blocks[$0.block] * store.blockRows + $0.row }
        }
    }
    let numbers = order.enumerated().map { index, sample in
      index / store.samples % store.views * store.samples + sample
    }
    for share in [0, 0.1, 0.5, 1] {
      let kept = Int(share * Double(store.decodedBytes))
      let read = try store.read(epochs: epochs, batch: size, keepingBytes: kept)
      #expect(read.samples == order, "seed \(seed), \(kept) bytes kept")
      #expect(read.numbers == numbers, "seed \(seed), \(kept) bytes kept")
    }
  }

  @Test func `blocks that fit are decoded once, the others once an epoch`() throws {
    let store = try Store(samples: 400, views: 2, blockRows: 10)
    let blocks = store.blocks * store.views
    let decoded = try [0, store.decodedBytes / 4, store.decodedBytes, .max].map {
      try store.read(epochs: 8, batch: 7, keepingBytes: $0).decoded
    }
    #expect(decoded == [4 * blocks, 4 * blocks - 3 * (blocks / 4), blocks, blocks])
  }

  @Test func `the next window is decoded little by little`() throws {
    let store = try Store(samples: 640, views: 1, blockRows: 10)
    let cursor = EpochCursor(
      epochs: 0..<2, samples: 640, blockRows: 10, seed: 1,
      blocks: DecodedBlocks(store.cache, keepingBytes: 0), view: { _ in 0 })
    var chosen: [Int] = []
    var records: TeacherBatch? = store.cache.makeBatch()
    var decoded = 0
    for step in 0..<128 {
      try cursor.take(10, samples: &chosen, records: &records)
      // The first batch needs a window of its own.
      if step > 0 { #expect((0...1).contains(cursor.decodedBlocks - decoded)) }
      decoded = cursor.decodedBlocks
    }
    #expect(decoded == 128)
  }
}

/// A cache whose records say sample, view and position, at random positions of each view.
private struct RaggedStore {
  let folder = ScratchFolder()
  let cache: CacheReader
  /// Which positions each view of each sample has, [views][samples].
  let positions: [[[Int32]]]
  let samples: Int
  let blockRows: Int
  static let maximum = 4

  init(samples: Int, views: Int, blockRows: Int, _ generator: inout SeededGenerator) throws {
    (self.samples, self.blockRows) = (samples, blockRows)
    positions = (0..<views).map { _ in
      (0..<samples).map { _ in
        let share = Double.random(in: 0...1, using: &generator)
        return (0..<Int32(Self.maximum)).filter { _ in
          Double.random(in: 0..<1, using: &generator) < share
        }
      }
    }
    let labels = [Int32](repeating: 0, count: samples)
    let manifest = manifest(
      of: labels, views: views,
      Encoding(
        classes: 3, k: 2, positions: Positions(maximum: Self.maximum, labels: .sample),
        blockRows: blockRows))
    let writer = try CacheWriter(path: folder.path, manifest: manifest, labels: labels)
    let encoder = try BlockEncoder(manifest: manifest)
    for key in manifest.blockKeys {
      let range = manifest.samples(of: key)
      var (places, logits) = (RowPlaces(), [Float]())
      for sample in range {
        places.append(sampleAt: positions[key.view][sample])
        for position in positions[key.view][sample] {
          let viewed = key.view * samples + sample
          logits += [Float(viewed * Self.maximum + Int(position)), 0, -1]
        }
      }
      try writer.append([
        encoder.encode(
          logits: logits.span, labels: places.positions.map { _ in 0 }, places: places,
          view: key.view, block: key.block, firstSample: range.lowerBound,
          viewDigest: Digest(of: "\(key)"))
      ])
    }
    _ = try writer.seal()
    cache = try CacheReader(path: folder.path)
  }

  /// What the record of a view, a sample and a position says.
  func number(_ view: Int, _ sample: Int, _ position: Int) -> Int {
    (view * samples + sample) * Self.maximum + position
  }

  /// What a batch of samples of a view must hold.
  func expected(_ chosen: [Int], view: Int) -> (numbers: [Int], places: RowPlaces) {
    var (numbers, places) = ([Int](), RowPlaces())
    for sample in chosen {
      numbers += positions[view][sample].map { number(view, sample, Int($0)) }
      places.append(sampleAt: positions[view][sample])
    }
    return (numbers, places)
  }
}

@Suite struct RaggedCursorTests {
  @Test(arguments: 1...12 as ClosedRange<UInt64>)
  func `a batch has the rows of its samples, whatever is kept decoded`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let views = Int.random(in: 1...3, using: &generator)
    let store = try RaggedStore(
      samples: Int.random(in: 1...200, using: &generator), views: views,
      blockRows: Int.random(in: 1...12, using: &generator), &generator)
    let size = Int.random(in: 1...40, using: &generator)
    for kept in [0, 3000, Int.max] {
      let cursor = EpochCursor(
        epochs: 0..<4, samples: store.samples, blockRows: store.blockRows, seed: 3,
        blocks: DecodedBlocks(store.cache, keepingBytes: kept), view: { $0 % views })
      var chosen: [Int] = []
      var records: TeacherBatch? = store.cache.makeBatch()
      for epoch in 0..<4 {
        for start in stride(from: 0, to: store.samples, by: size) {
          let count = min(size, store.samples - start)
          try cursor.take(count, samples: &chosen, records: &records)
          let batch = try #require(records)
          let expected = store.expected(chosen, view: epoch % views)
          #expect(chosen.count == count)
          #expect(batch.count == expected.numbers.count, "seed \(seed), \(kept) bytes kept")
          #expect(batch.largestLogits.map { Int($0) } == expected.numbers, "seed \(seed)")
          #expect(batch.places == expected.places, "seed \(seed)")
        }
      }
    }
  }
}
