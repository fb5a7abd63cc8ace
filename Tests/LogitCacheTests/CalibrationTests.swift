import Basics
import LogitCache
import Losses
import TestSupport
import Testing

/// A teacher with habits: each class has its own likely company, and the label is mostly first.
private struct Habits {
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
  private func manifest(_ habits: Habits, k: Int, samples: Int, views: Int) -> Manifest {
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

  private struct Written {
    var calibration: Calibration
    var bytes = 0
    var batches: [TeacherBatch] = []
  }

  /// Writes all blocks with a calibration learned from some, or with none, and reads them back.
  private func write(_ habits: Habits, _ plain: Manifest, learn: Bool) throws -> Written {
    var manifest = plain
    let measured = try plain.blockKeys.map {
      try measure($0, habits, plain, BlockEncoder(manifest: plain))
    }
    let calibration =
      learn ? Calibration.learn(Array(measured.prefix(8)), plain) : .plain(plain.encoding)
    manifest.calibration = calibration.digest
    let encoder = try BlockEncoder(manifest: manifest, calibration: calibration)
    let folder = ScratchFolder()
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

  @Test(arguments: UInt64(1)...3)
  func `the more records share a calibration, the larger it may be`(seed: UInt64) throws {
    let habits = Habits(classes: 200, seed: seed)
    let plain = manifest(habits, k: 9, samples: 800, views: 1)
    let measured = try plain.blockKeys.map {
      try measure($0, habits, plain, BlockEncoder(manifest: plain))
    }
    let calibrations = [1, 1000, 10_000, 100_000, 10_000_000].map {
      Calibration.learn(measured, plain, records: $0)
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
    let calibration = Calibration.learn(measured, plain)
    #expect(calibration.summary.contains("lists of"), "\(calibration.summary)")
    let bytes = calibration.bytes
    #expect(try Calibration(bytes, plain.encoding) == calibration)
    #expect(Calibration.learn(measured, plain).bytes == bytes)
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
