import Basics
import Foundation
import LogitCache
import Losses
import TestSupport
import Testing

/// Records at many positions of a view.
@Suite struct PositionTests {
  private let folder = ScratchFolder()

  /// A job of random shape; its calibration is learned where the seed is even.
  private static func job(seed: UInt64, _ labels: Positions.Labels) throws -> Job {
    var generator = SeededGenerator(seed: seed)
    let classes = [2, 3, 12, 40, Int.random(in: 4...100, using: &generator)]
      .randomElement(using: &generator)!
    var job = Job(
      classes: classes, k: Int.random(in: 1...classes, using: &generator),
      samples: Int.random(in: 1...40, using: &generator), views: 2,
      blockRows: [1, 5, 16].randomElement(using: &generator)!, seed: seed,
      positions: Positions(
        maximum: [2, 3, 7, 40].randomElement(using: &generator)!, labels: labels))
    if job.manifest.encoding.k < classes {
      switch Int.random(in: 0..<3, using: &generator) {
      case 0: job.manifest.encoding.ranking = .full
      case 1: job.manifest.encoding.subspaceTail = SubspaceTail(stepSixteenths: 8)
      default: break
      }
    }
    job.calibration = nil
    let records = job.manifest.blockKeys.reduce(0) { $0 + job.records(of: $1).count }
    if seed.isMultiple(of: 2), records >= 2 { job.calibration = try job.learned() }
    return job
  }

  private func numbers(_ row: Int, of batch: TeacherBatch) -> [Float] {
    let temperatures = batch.tailTemperatures.count
    let head = row * batch.k..<(row + 1) * batch.k
    return batch.classIDs[head].map { Float($0) } + batch.gaps[head]
      + [batch.largestLogits[row], batch.labelGaps[row], Float(batch.labels[row])]
      + batch.logTailRatios[row * temperatures..<(row + 1) * temperatures]
  }

  @Test(arguments: [-2, 3])
  func `a position's label that is no class is refused by its place`(label: Int32) throws {
    let job = Job(
      classes: 3, k: 2, samples: 5, positions: Positions(maximum: 4, labels: .position))
    var (labels, manifest) = (job.labels, job.manifest)
    labels[2 * 4 + 3] = label
    manifest.dataSet = DataSetIdentity(
      name: "toys", fingerprint: Digest(of: "toys"), labels: labels, positions: 4,
      classNames: job.manifest.dataSet.classNames)
    let found = problem {
      _ = try CacheWriter(path: folder.file("new"), manifest: manifest, labels: labels)
    }
    #expect(found.kind == .configuration)
    #expect(
      found.message == "sample 2, position 3 has the label \(label), the classes are 0..<3, and -1 "
        + "where a position has no label")
  }

  // MARK: - Round trips

  @Test(arguments: UInt64(1)...30, [Positions.Labels.sample, .position])
  func `every record comes back at its place`(seed: UInt64, labels: Positions.Labels) throws {
    let job = try PositionTests.job(seed: seed, labels)
    try job.write(to: folder.path)
    let report = try verifyCache(path: folder.path)
    let cache = try CacheReader(path: folder.path)
    #expect(try cache.labels == job.labels, "seed \(seed)")
    var batch = cache.makeBatch(coefficients: true, ranking: true)
    var one = cache.makeBatch()
    one.resize(to: 1)
    var alone = RecordReader(cache, blocks: 2)
    var count = 0
    for key in cache.manifest.blockKeys {
      try cache.decode(view: key.view, block: key.block, into: &batch)
      #expect(batch.places == job.places(of: key), "seed \(seed), \(key)")
      let records = job.records(of: key)
      #expect(batch.count == records.count)
      count += records.count
      for (row, place) in records.enumerated() {
        let (sample, position, label) = place
        let wanted = ReferenceRecord(
          job.row(view: key.view, sample: sample, position: position), label: Int(label),
          cache.manifest.encoding)
        let head = row * batch.k..<(row + 1) * batch.k
        #expect(batch.classIDs[head].map { Int($0) } == wanted.ids, "seed \(seed), \(place)")
        #expect(batch.labels[row] == label && Int(batch.labelRanks[row]) == wanted.labelRank)
        #expect(abs(Double(batch.largestLogits[row]) - wanted.largest) < 1e-2)
        try alone.read(
          sample: sample, view: key.view, position: position, into: &one, row: 0)
        #expect(numbers(0, of: one) == numbers(row, of: batch), "seed \(seed), \(place)")
      }
      for sample in cache.manifest.samples(of: key) {
        let positions = try alone.positions(sample: sample, view: key.view)
        #expect(positions == job.positions(view: key.view, sample: sample).map { Int($0) })
      }
    }
    #expect(report.records == count)
    #expect(try cache.records(in: cache.blocks) == count)
    #expect(try cache.certificate().records == count)
  }

  @Test(arguments: [Positions.Labels.sample, .position])
  func `a position that has no record, or none that is named, is refused`(
    labels: Positions.Labels
  ) throws {
    let job = Job(
      classes: 5, k: 2, samples: 20, positions: Positions(maximum: 4, labels: labels))
    try job.write(to: folder.path)
    let cache = try CacheReader(path: folder.path)
    var reader = RecordReader(cache)
    var batch = cache.makeBatch()
    batch.resize(to: 1)
    let empty = try #require((0..<20).first { job.positions(view: 0, sample: $0).isEmpty })
    for position in [0, 3, 4, -1] {
      let found = problem {
        try reader.read(sample: empty, view: 0, position: position, into: &batch, row: 0)
      }
      #expect(found.kind == .usage && found.message.contains("no record at position \(position)"))
    }
    let found = problem { try reader.read(sample: 0, view: 0, into: &batch, row: 0) }
    #expect(found.kind == .usage && found.message.contains("up to 4 positions"))
    let plain = Job(classes: 5, k: 2, samples: 20)
    try plain.write(to: folder.file("plain"))
    var plainReader = RecordReader(try CacheReader(path: folder.file("plain")))
    #expect(try plainReader.positions(sample: 3, view: 0) == [0])
    let other = problem {
      try plainReader.read(sample: 3, view: 0, position: 1, into: &batch, row: 0)
    }
    #expect(other.kind == .usage && other.message.contains("one record per view"))
  }

  @Test(arguments: [nil, Ranking.full])
  func `blocks and caches without any record are sound`(ranking: Ranking?) throws {
    var job = Job(
      classes: 6, k: 2, samples: 9, blockRows: 4,
      positions: Positions(maximum: 3, labels: .sample))
    job.manifest.encoding.ranking = ranking
    func write(_ name: String, samplesWithRecords: Set<Int>) throws -> VerifyReport {
      let encoder = try BlockEncoder(manifest: job.manifest)
      var measured: [MeasuredBlock] = []
      for key in job.manifest.blockKeys {
        var places = RowPlaces()
        let samples = job.manifest.samples(of: key)
        for sample in samples {
          places.append(sampleAt: samplesWithRecords.contains(sample) ? [2] : [])
        }
        let chosen = samples.filter { samplesWithRecords.contains($0) }
        let logits = chosen.flatMap { job.row(view: 0, sample: $0) }
        measured.append(
          try encoder.measure(
            logits: logits.span, labels: chosen.map { job.label(sample: $0) }, places: places,
            view: 0, block: key.block, firstSample: samples.lowerBound,
            viewDigest: job.viewDigest(key), forCalibration: true))
      }
      let calibration = try Calibration.learn(measured, job.manifest)
      var manifest = job.manifest
      manifest.calibration = calibration.digest
      let writer = try CacheWriter(
        path: folder.file(name), manifest: manifest, labels: job.labels, calibration: calibration)
      let packer = try BlockEncoder(manifest: manifest, calibration: calibration)
      try writer.append(measured.map { try packer.pack($0) })
      _ = try writer.seal()
      return try verifyCache(path: folder.file(name))
    }
    #expect(try write("none", samplesWithRecords: []).records == 0)
    #expect(try write("some", samplesWithRecords: [5, 8]).records == 2)
    let cache = try CacheReader(path: folder.file("none"))
    #expect(try cache.certificate().mseMissingEnergy.mean == 0)
    _ = try cache.columnsDigest()
  }

  @Test func `a row that cannot be recorded is named by its position`() throws {
    let job = Job(
      classes: 3, k: 2, samples: 4, positions: Positions(maximum: 5, labels: .sample))
    var places = RowPlaces()
    for positions in [[1], [], [], [0, 4]] as [[Int32]] { places.append(sampleAt: positions) }
    var logits = [Float](repeating: 1, count: 9)
    logits[7] = .nan
    let encoder = try BlockEncoder(manifest: job.manifest)
    func encode(_ labels: [Int32]) throws {
      _ = try encoder.encode(
        logits: logits.span, labels: labels, places: places, view: 0, block: 0, firstSample: 0,
        viewDigest: Digest(of: ""))
    }
    let found = problem { try encode([0, 0, 0]) }
    #expect(found.message.contains("NaN for sample 3, view 0, position 4, class 1"), "\(found)")
    #expect(problem { try encode([0, 7, 0]) }.message.contains("sample 3 has label 7"))
  }

  // MARK: - Algebra

  @Test(arguments: UInt64(1)...4, [Positions.Labels.sample, .position])
  func `shards of a cache with positions merge to the digest of one run`(
    seed: UInt64, labels: Positions.Labels
  ) throws {
    let job = Job(
      classes: 12, k: 5, samples: 50, views: 2, seed: seed,
      positions: Positions(maximum: 3, labels: labels))
    var generator = SeededGenerator(seed: seed)
    let wanted = try job.write(to: folder.file("whole"))
    let shards = (1...3).map { Shard($0, of: 3)! }
    for shard in shards {
      try job.write(
        shard.blocks(of: job.manifest), to: folder.file("\(shard.index)"), shard: shard,
        using: &generator)
    }
    let paths = shards.map { folder.file("\($0.index)") }
    let report = try mergeCaches(paths, into: folder.file("merged"))
    #expect(report.cacheDigest == wanted)
    let records = try verifyCache(path: folder.file("merged")).records
    #expect(report.records == records)
    #expect(try mergeCaches(paths, into: folder.file("merged")).records == records)
    let compacted = try compactCache(path: folder.file("merged"))
    #expect(compacted.cacheDigest == wanted)
  }

  @Test(arguments: [Positions.Labels.sample, .position])
  func `what is derived keeps labels and places`(labels: Positions.Labels) throws {
    let job = Job(
      classes: 9, k: 9, samples: 30, views: 2, seed: 3,
      positions: Positions(maximum: 4, labels: labels))
    try job.write(to: folder.file("source"))
    let used = Set(job.labels.filter { $0 >= 0 }.map { Int($0) })
    let derivations = [
      Derivation(k: 3), Derivation(views: 1), Derivation(stepsPerNat: 8),
      Derivation(k: 2, classes: Array(used)),
    ]
    let source = try CacheReader(path: folder.file("source"))
    for (index, derivation) in derivations.enumerated() {
      let path = folder.file("derived-\(index)")
      let report = try deriveCache(
        from: folder.file("source"), into: path, keeping: derivation)
      #expect(try verifyCache(path: path).records == report.records)
      let cache = try CacheReader(path: path)
      #expect(cache.manifest.encoding.positions == job.positions)
      var (batch, from) = (cache.makeBatch(), source.makeBatch())
      for key in cache.manifest.blockKeys {
        try cache.decode(view: key.view, block: key.block, into: &batch)
        try source.decode(view: key.view, block: key.block, into: &from)
        #expect(batch.places == from.places && batch.count == from.count, "\(derivation)")
        if derivation.classes == nil { #expect(batch.labels == from.labels) }
      }
    }
  }

  // MARK: - Manifest and limits

  @Test func `the manifest names positions only where there are some`() throws {
    var job = Job(classes: 12, k: 5, samples: 3)
    #expect(try !canonicalJSON(job.manifest).contains("positions"))
    job.manifest.encoding.positions = Positions(maximum: 7, labels: .position)
    let text = try canonicalJSON(job.manifest)
    #expect(text.contains("\"positions\":{\"labels\":\"position\",\"maximum\":7}"))
  }

  @Test(arguments: [
    (1, 8, "positions.maximum is 1"), (4097, 8, "positions.maximum is 4097"),
    (4096, 17, "blockRows with positions is 17"), (0, 1, "positions.maximum is 0"),
  ])
  func `positions that no block can hold are refused`(maximum: Int, rows: Int, text: String) {
    var encoding = Job(classes: 5, k: 2, samples: 3, blockRows: rows).manifest
    encoding.encoding.positions = Positions(maximum: maximum, labels: .sample)
    let found = problem { try encoding.validate() }
    #expect(found.kind == .configuration && found.message.contains(text), "\(found)")
  }

  @Test func `features at positions are refused`() {
    var manifest = Job(classes: 5, k: 2, samples: 3, featureWidth: 2).manifest
    manifest.encoding.positions = Positions(maximum: 2, labels: .sample)
    #expect(problem { try manifest.validate() }.message.contains("not of positions"))
  }

  @Test func `a block has about as many records as without positions`() {
    for (classes, k) in [(100, 20), (100, 50), (1000, 100), (1 << 24, 10)] {
      let plain = Encoding(classes: classes, k: k).blockRows
      for maximum in [2, 3, 26, 4096] {
        let encoding = Encoding(
          classes: classes, k: k, positions: Positions(maximum: maximum, labels: .sample))
        #expect(encoding.blockRows == max(1, plain / maximum))
      }
    }
  }

  @Test(arguments: UInt64(1)...20)
  func `no stored record of a full block is longer than the bound`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let classes = Int.random(in: 2...60, using: &generator)
    let maximum = Int.random(in: 2...9, using: &generator)
    let samples = Int.random(in: 1...40, using: &generator)
    let job = Job(
      classes: classes, k: Int.random(in: 1...classes, using: &generator), samples: samples,
      blockRows: samples, seed: seed, positions: Positions(maximum: maximum, labels: .sample))
    let rows = samples * maximum
    let logits = (0..<rows * classes).map { _ in Float.random(in: -64...64, using: &generator) }
    var places = RowPlaces()
    for _ in 0..<samples { places.append(sampleAt: 0..<Int32(maximum)) }
    let block = try BlockEncoder(manifest: job.manifest).encode(
      logits: logits.span, labels: places.forEachRow(job.labels), places: places, view: 0, block: 0,
      firstSample: 0, viewDigest: job.viewDigest(BlockKey(view: 0, block: 0)))
    let bound = job.manifest.encoding.largestRecord(logitRange: 128) * Double(rows)
    #expect(Double(block.storedValue.count) <= bound)
  }

  // MARK: - Places

  @Test(arguments: UInt64(1)...20)
  func `a row's place, parts and repeated values are those of a plain list`(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var places = RowPlaces()
    var plain: [(sample: Int, position: Int)] = []
    let samples = Int.random(in: 1...20, using: &generator)
    for sample in 0..<samples {
      let chosen = (0..<Int32(6)).filter { _ in Int.random(in: 0..<3, using: &generator) == 0 }
      places.append(sampleAt: chosen)
      plain += chosen.map { (sample, Int($0)) }
    }
    for (row, wanted) in plain.enumerated() {
      let found = places.place(ofRow: row)
      #expect(found == wanted, "seed \(seed)")
      #expect(places.row(of: wanted.sample, position: wanted.position) == row)
    }
    #expect(places.forEachRow(0..<samples) == plain.map(\.sample))
    let start = Int.random(in: 0...samples, using: &generator)
    let part = places.part(start..<samples)
    #expect(part.forEachRow(start..<samples) == plain.map(\.sample).filter { $0 >= start })
    #expect(part.samples == samples - start && part.starts.first == 0)
  }
}
