import Basics
import LogitCache
import Losses
import TestSupport
import Testing

/// A teacher with habits: each class has its own likely company, and the label is mostly first.
struct Habits {
  let classes: Int
  let seed: UInt64

  func label(_ sample: Int) -> Int32 {
    var generator = SeededGenerator(seed: seed &* 31 &+ UInt64(sample))
    _ = generator.next()
    return Int32.random(in: 0..<Int32(classes), using: &generator)
  }

  func row(_ view: Int, _ sample: Int) -> [Float] {
    var company = SeededGenerator(seed: seed &* 97 &+ UInt64(label(sample)))
    var noise = SeededGenerator(seed: seed &* 101 &+ UInt64(view * 100_000 + sample))
    var row = (0..<classes).map { _ in Float(company.normal() * 3 + noise.normal() * 0.5) }
    row[Int(label(sample))] += 6
    return row
  }
}

@Suite struct CalibrationTests {
  func manifest(_ habits: Habits, k: Int, samples: Int, views: Int) -> Manifest {
    Manifest(
      dataSet: DataSetIdentity(
        name: "habits", fingerprint: Digest(of: "habits"),
        labels: (0..<samples).map { habits.label($0) },
        classNames: (0..<habits.classes).map { "class \($0)" }),
      recipe: RecipeIdentity(digest: Digest(of: "none"), content: .object([:])), seed: 1,
      views: views, teacher: .object([:]),
      encoding: Encoding(classes: habits.classes, k: k, blockRows: 100))
  }

  private func measure(
    _ key: BlockKey, _ habits: Habits, _ manifest: Manifest, _ encoder: BlockEncoder
  ) throws -> MeasuredBlock {
    let samples = manifest.samples(of: key)
    let logits = samples.flatMap { habits.row(key.view, $0) }
    return try encoder.measure(
      logits: logits.span, labels: samples.map { habits.label($0) }, view: key.view,
      block: key.block, firstSample: samples.lowerBound, viewDigest: Digest(of: "pixels"),
      forCalibration: true)
  }

  struct Written {
    var calibration: Calibration
    var bytes = 0
    var batches: [TeacherBatch] = []
  }

  /// Writes all blocks with a calibration learned from some, or with none, and reads them back.
  func write(
    _ habits: Habits, _ plain: Manifest, learn: Bool, to folder: ScratchFolder = ScratchFolder()
  ) throws -> Written {
    var manifest = plain
    let measured = try plain.blockKeys.map {
      try measure($0, habits, plain, BlockEncoder(manifest: plain))
    }
    let calibration =
      learn
      ? try Calibration.learn(measured.filter { plain.calibrationBlocks.contains($0.key) }, plain)
      : .plain(plain.encoding)
    manifest.calibration = calibration.digest
    let encoder = try BlockEncoder(manifest: manifest, calibration: calibration)
    let blocks = try measured.map { try encoder.pack($0) }
    let writer = try CacheWriter(
      path: folder.path, manifest: manifest,
      labels: (0..<manifest.dataSet.samples).map { habits.label($0) }, calibration: calibration)
    try writer.append(blocks)
    _ = try writer.seal()
    _ = try verifyCache(path: folder.path)
    let reader = try CacheReader(path: folder.path)
    #expect(reader.calibration == calibration)
    var written = Written(calibration: calibration)
    written.bytes = blocks.reduce(0) { $0 + $1.storedValue.count }
    for key in manifest.blockKeys {
      var batch = reader.makeBatch()
      try reader.decode(view: key.view, block: key.block, into: &batch)
      written.batches.append(batch)
    }
    return written
  }

  @Test(arguments: [(10, 10), (40, 7), (300, 12), (300, 40)])
  func `what is learned changes bytes, never values`(classes: Int, k: Int) throws {
    for seed in UInt64(1)...2 {
      let habits = Habits(classes: classes, seed: seed)
      // So many views that tables pay: only the first few blocks are really written.
      let plain = manifest(habits, k: k, samples: 1000, views: 2)
      let without = try write(habits, plain, learn: false)
      let with = try write(habits, plain, learn: true)
      #expect(with.bytes < without.bytes, "seed \(seed), C \(classes), k \(k)")
      for (a, b) in zip(with.batches, without.batches) {
        #expect(a.classIDs == b.classIDs && a.gaps == b.gaps, "seed \(seed)")
        #expect(a.logTailRatios == b.logTailRatios, "seed \(seed)")
        #expect(a.labelRanks == b.labelRanks && a.labelGaps == b.labelGaps, "seed \(seed)")
        #expect(a.largestLogits == b.largestLogits && a.labels == b.labels, "seed \(seed)")
      }
    }
  }

  @Test(arguments: [(1, 1), (10, 8), (25, 7), (3, 200), (700, 1), (1000, 3)])
  func `what is learned from is spread over samples and views`(blocks: Int, views: Int) {
    var manifest = manifest(Habits(classes: 2, seed: 1), k: 1, samples: 1, views: views)
    manifest.dataSet.samples = 100 * blocks - 1
    let keys = manifest.calibrationBlocks
    let count = min(32, max(1, blocks * views / 10))
    #expect(keys.count == count && Set(keys).count == count)
    #expect(Set(keys.map(\.block)).count == min(count, blocks))
    #expect(Set(keys.map(\.view)).count == min(count, views))
    #expect(keys.map(manifest.position).allSatisfy { $0 < manifest.blockCount })
  }

  @Test(arguments: [100, 300])
  func `a derived cache is as small as one that the teacher made`(k: Int) throws {
    let habits = Habits(classes: 300, seed: 5)
    let (source, derived) = (ScratchFolder(), ScratchFolder())
    _ = try write(habits, manifest(habits, k: k, samples: 1000, views: 8), learn: true, to: source)
    let report = try deriveCache(
      from: source.path, into: derived.path, keeping: Derivation(k: 12))
    _ = try verifyCache(path: derived.path)
    let small = manifest(habits, k: 12, samples: 1000, views: 8)
    let (with, without) = (
      try write(habits, small, learn: true).bytes, try write(habits, small, learn: false).bytes
    )
    #expect(
      100 * report.storedBytes < 101 * with && 100 * with < 90 * without,
      "derived \(report.storedBytes), direct \(with), with nothing learned \(without)")
  }

  @Test(arguments: UInt64(1)...3)
  func `the more records share a calibration, the larger it may be`(seed: UInt64) throws {
    let habits = Habits(classes: 200, seed: seed)
    let plain = manifest(habits, k: 9, samples: 800, views: 1)
    let measured = try plain.blockKeys.map {
      try measure($0, habits, plain, BlockEncoder(manifest: plain))
    }
    let calibrations = try [1, 1000, 10_000, 100_000, 10_000_000].map {
      try Calibration.learn(measured, plain, records: $0)
    }
    let sizes = calibrations.map(\.bytes.count)
    #expect(sizes == sizes.sorted(), "seed \(seed)")
    #expect(calibrations[0].summary == "no order", "seed \(seed)")
    #expect(calibrations[4].summary.contains("lists of"), "seed \(seed)")
  }

  @Test func `a calibration comes back from its stored form`() throws {
    let habits = Habits(classes: 60, seed: 3)
    let plain = manifest(habits, k: 9, samples: 400, views: 500)
    let measured = try (0..<4).map {
      try measure(
        BlockKey(view: $0, block: $0), habits, plain, BlockEncoder(manifest: plain))
    }
    let calibration = try Calibration.learn(measured, plain)
    #expect(calibration.summary.contains("lists of"), "\(calibration.summary)")
    let bytes = calibration.bytes
    #expect(try Calibration(bytes, plain.encoding) == calibration)
    #expect(try Calibration.learn(measured, plain).bytes == bytes)
    for length in stride(from: 0, to: bytes.count, by: 7) {
      let found = problem { _ = try Calibration(Array(bytes[..<length]), plain.encoding) }
      #expect(found.kind == .corrupt, "\(length) bytes")
    }
    // Any changed byte is refused or gives another calibration, never a trap.
    for place in bytes.indices {
      var other = bytes
      other[place] ^= 0x41
      if let read = try? Calibration(other, plain.encoding) { #expect(read != calibration) }
    }
  }
}
