import Basics
import Foundation
import LogitCache
import Losses
import TestSupport
import Testing

/// The order of all classes beside the head.
@Suite struct RankingTests {
  private let folder = ScratchFolder()

  /// A job of random shape that keeps the order of all classes; its calibration is learned for even seeds.
  private func job(seed: UInt64) throws -> Job {
    var generator = SeededGenerator(seed: seed)
    let classes = [2, 3, 12, 40, 257, 520, Int.random(in: 4...100, using: &generator)]
      .randomElement(using: &generator)!
    let k = [1, classes - 1, Int.random(in: 1..<classes, using: &generator)]
      .randomElement(using: &generator)!
    var job = Job(
      classes: classes, k: k, samples: Int.random(in: 1...50, using: &generator), views: 2,
      blockRows: [1, 8, 17, 64].randomElement(using: &generator)!, seed: seed)
    job.manifest.encoding.ranking = .full
    if seed.isMultiple(of: 2) { job.calibration = try learned(job) }
    return job
  }

  private func learned(_ job: Job) throws -> Calibration {
    let encoder = try BlockEncoder(manifest: job.manifest)
    let blocks = try job.manifest.blockKeys.map { key in
      let samples = job.manifest.samples(of: key)
      let logits = samples.flatMap { job.row(view: key.view, sample: $0) }
      return try encoder.measure(
        logits: logits.span, labels: samples.map { job.label(sample: $0) }, view: key.view,
        block: key.block, firstSample: samples.lowerBound, viewDigest: job.viewDigest(key),
        forCalibration: true)
    }
    return try Calibration.learn(blocks, job.manifest)
  }

  private func order(_ row: [Float]) -> [Int32] {
    row.indices.sorted { row[$0] > row[$1] || (row[$0] == row[$1] && $0 < $1) }.map { Int32($0) }
  }

  /// Visits every record of a cache beside its row.
  private func forEachRecord(
    _ cache: CacheReader, _ job: Job, ranking: Bool = true,
    _ body: (TeacherBatch, Int, [Float]) -> Void
  ) throws {
    var batch = cache.makeBatch(ranking: ranking)
    for key in cache.manifest.blockKeys {
      try cache.decode(view: key.view, block: key.block, into: &batch)
      for (index, sample) in cache.manifest.samples(of: key).enumerated() {
        body(batch, index, job.row(view: key.view, sample: sample))
      }
    }
  }

  // MARK: - Round trips

  @Test(arguments: UInt64(1)...40)
  func `every record's order comes back, ties lower class first`(seed: UInt64) throws {
    let job = try job(seed: seed)
    try job.write(to: folder.path)
    _ = try verifyCache(path: folder.path)
    let cache = try CacheReader(path: folder.path)
    let classes = job.classes
    try forEachRecord(cache, job) { batch, index, row in
      let found = Array(batch.ranking[index * classes..<(index + 1) * classes])
      #expect(found == order(row), "seed \(seed), C \(classes), k \(batch.k)")
      let head = batch.classIDs[index * batch.k..<(index + 1) * batch.k]
      #expect(Array(head) == Array(found[..<batch.k]), "seed \(seed)")
    }
    var records = RecordReader(cache, blocks: 1, ranking: true)
    var one = cache.makeBatch(ranking: true)
    one.resize(to: 1)
    let last = job.manifest.dataSet.samples - 1
    try records.read(sample: last, view: 1, into: &one, row: 0)
    #expect(one.ranking == order(job.row(view: 1, sample: last)), "seed \(seed)")
  }

  @Test(arguments: UInt64(1)...10)
  func `head and tail are those of a cache without the ranking`(seed: UInt64) throws {
    let ranked = try job(seed: seed)
    var plain = ranked
    plain.manifest.encoding.ranking = nil
    try ranked.write(to: folder.file("ranked"))
    try plain.write(to: folder.file("plain"))
    let caches = try ["ranked", "plain"].map { try CacheReader(path: folder.file($0)) }
    #expect(caches[1].makeBatch(ranking: true).hasRanking == false)
    var heads: [[TeacherBatch]] = [[], []]
    for (place, cache) in caches.enumerated() {
      var batch = cache.makeBatch()
      for key in cache.manifest.blockKeys {
        try cache.decode(view: key.view, block: key.block, into: &batch)
        heads[place].append(batch)
      }
    }
    for (a, b) in zip(heads[0], heads[1]) {
      #expect(a.ranking.isEmpty && a.classIDs == b.classIDs && a.gaps == b.gaps, "seed \(seed)")
      #expect(a.labelRanks == b.labelRanks && a.labelGaps == b.labelGaps, "seed \(seed)")
      #expect(a.logTailRatios == b.logTailRatios, "seed \(seed)")
    }
  }

  @Test func `the manifest names the ranking only where there is one`() throws {
    var job = Job(classes: 12, k: 5, samples: 3)
    #expect(try !canonicalJSON(job.manifest).contains("ranking"))
    job.manifest.encoding.ranking = .full
    #expect(try canonicalJSON(job.manifest).contains("\"ranking\":\"full\""))
  }

  /// The document's third example: the block of its first with the order of all classes.
  @Test func `the worked ranking of the document is what the encoder writes`() throws {
    var job = Job(classes: 4, k: 2, samples: 3, blockRows: 4)
    job.manifest.encoding.ranking = .full
    let logits: [Float] = [2, 0.5, -1, 0, 0, 1, 11, 0.25, -1, -1, -1, -1]
    let block = try BlockEncoder(manifest: job.manifest).encode(
      logits: logits.span, labels: [0, 3, 1], view: 0, block: 0, firstSample: 0,
      viewDigest: Digest(of: "what the teacher saw"))
    #expect(Array(block.canonicalBytes[0x78..<0x80]) == [7, 0, 1, 0, 3, 0, 0, 0])
    #expect(Array(block.canonicalBytes[0xae..<0xb1]) == [3, 0, 0])
    let path =
      URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().path + "/docs/FORMAT.md"
    let text = String(decoding: try Files.read(path), as: UTF8.self)
    #expect(text.contains(block.digest.description), "FORMAT.md should show \(block.digest)")
  }

  // MARK: - Certificate and derivation

  /// What PLD's weights are off by: half the distance of those that fall with the rank and the row's own.
  private func movedWeight(_ row: [Float], _ batch: TeacherBatch, _ index: Int, _ t: Double)
    -> Double
  {
    let powers = row.map { exp((Double($0) - Double(row.max()!)) / t) }
    let total = powers.reduce(0, +)
    let ids = order(row).map { Int($0) }
    let k = batch.k
    let ranks = (k..<row.count).filter { ids[$0] != Int(batch.labels[index]) }
    let rest = ranks.reduce(0) { $0 + powers[ids[$1]] / total }
    let c = exponent(
      mean: rest / Double(max(ranks.count, 1)), last: powers[ids[k - 1]] / total, k, row.count)
    let weights = ranks.map { pow(Double($0 + 1) / Double(k), -c) }
    let sum = weights.reduce(0, +)
    return zip(ranks, weights).reduce(0) {
      $0 + abs(powers[ids[$1.0]] / total - (sum > 0 ? $1.1 * rest / sum : 0))
    } / 2
  }

  /// The exponent whose integral over ranks has the mean (docs/FORMAT.md, "Ranking").
  private func exponent(mean: Double, last: Double, _ k: Int, _ classes: Int) -> Double {
    guard mean > 0, mean < last else { return 0 }
    func integral(_ c: Double) -> Double {
      let (from, to) = ((Double(k) + 0.5) / Double(k), (Double(classes) + 0.5) / Double(k))
      let power = 1 - c
      if abs(power) < 1e-9 { return Double(k) * (log(to) - log(from)) }
      return Double(k) * (pow(to, power) - pow(from, power)) / power
    }
    var (low, high) = (0.0, 64 * Double(k + 1))
    for _ in 0..<100 {
      let middle = (low + high) / 2
      if integral(middle) > mean / last * Double(classes - k) {
        low = middle
      } else {
        high = middle
      }
    }
    return (low + high) / 2
  }

  @Test(arguments: UInt64(1)...12)
  func `the certificate says what weights behind the head are off by`(seed: UInt64) throws {
    let job = try job(seed: seed)
    try job.write(to: folder.path)
    let cache = try CacheReader(path: folder.path)
    for errors in try cache.certificate().atTemperature {
      var direct: [Double] = []
      try forEachRecord(cache, job, ranking: false) {
        direct.append(movedWeight($2, $0, $1, errors.temperature.value))
      }
      let mean = direct.reduce(0, +) / Double(direct.count)
      #expect(abs(errors.pldDroppedWeight.mean - mean) < 1e-9, "seed \(seed)")
      #expect(abs(errors.pldDroppedWeight.max - direct.max()!) < 1e-9, "seed \(seed)")
    }
  }

  @Test(arguments: UInt64(1)...12)
  func `a derived cache keeps the order with fewer classes, and bounds its error`(
    seed: UInt64
  ) throws {
    var job = try job(seed: seed)
    if job.manifest.encoding.k == 1 { job = Job(classes: 12, k: 5, samples: 20, views: 2) }
    job.manifest.encoding.ranking = .full
    try job.write(to: folder.file("source"))
    let k = (job.manifest.encoding.k + 1) / 2
    _ = try deriveCache(
      from: folder.file("source"), into: folder.file("small"),
      keeping: Derivation(k: k, stepsPerNat: 16))
    _ = try verifyCache(path: folder.file("small"))
    let cache = try CacheReader(path: folder.file("small"))
    var moved: [Double] = []
    try forEachRecord(cache, job) { batch, index, row in
      let found = batch.ranking[index * job.classes..<(index + 1) * job.classes]
      #expect(Array(found) == order(row), "seed \(seed)")
      moved.append(movedWeight(row, batch, index, 1))
    }
    let bound = try cache.certificate().atTemperature[0].pldDroppedWeight
    #expect(bound.max >= moved.max()! - 1e-9, "seed \(seed)")
    #expect(bound.sum >= moved.reduce(0, +) - 1e-9 * Double(moved.count), "seed \(seed)")
  }

  @Test(arguments: UInt64(1)...6)
  func `without the ranking a derived cache drops at most what its certificate says`(
    seed: UInt64
  ) throws {
    let job = try job(seed: seed)
    try job.write(to: folder.file("source"))
    _ = try deriveCache(
      from: folder.file("source"), into: folder.file("plain"),
      keeping: Derivation(dropsRanking: true))
    let cache = try CacheReader(path: folder.file("plain"))
    #expect(cache.manifest.encoding.ranking == nil)
    var dropped: [Double] = []
    try forEachRecord(cache, job, ranking: false) { batch, index, row in
      let powers = row.map { exp(Double($0) - Double(row.max()!)) }
      let head = Set(batch.classIDs[index * batch.k..<(index + 1) * batch.k])
      let outside = row.indices.filter {
        !head.contains(Int32($0)) && $0 != Int(batch.labels[index])
      }
      dropped.append(outside.reduce(0) { $0 + powers[$1] } / powers.reduce(0, +))
    }
    let bound = try cache.certificate().atTemperature[0].pldDroppedWeight
    #expect(bound.max >= dropped.max()! - 1e-9, "seed \(seed)")
    #expect(bound.sum >= dropped.reduce(0, +) - 1e-9 * Double(dropped.count), "seed \(seed)")
    let again = problem {
      _ = try deriveCache(
        from: folder.file("plain"), into: folder.file("more"),
        keeping: Derivation(dropsRanking: true))
    }
    #expect(again.kind == .usage && again.message.contains("nothing would change"))
  }

  // MARK: - Refusals

  @Test func `a ranking of nothing, of too much or beside full rows is refused`() {
    for (encoding, text) in [
      (Encoding(classes: 12, k: 12, ranking: .full), "k = 12 is all of them"),
      (
        Encoding(
          classes: 12, k: 5, subspaceTail: SubspaceTail(stepSixteenths: 16), ranking: .full),
        "choose one"
      ),
      (Encoding(classes: 65_537, k: 5, ranking: .full), "at most 65536 classes are ranked"),
      (
        Encoding(classes: 65_536, k: 5, ranking: .full, blockRows: 1025),
        "blockRows with a ranking is 1025, it must be in 1...1024"
      ),
    ] {
      var job = Job(classes: 12, k: 5, samples: 3)
      job.manifest.encoding = encoding
      let found = problem { try job.manifest.validate() }
      #expect(found.kind == .configuration && found.message.contains(text), "\(found)")
    }
  }

  @Test(arguments: [2, 12, 1000, 18_709, 65_536])
  func `blocks of rankings have at most 2^20 ids unless asked`(classes: Int) throws {
    let encoding = Encoding(classes: classes, k: 1, ranking: .full)
    #expect(encoding.blockRows * classes <= 1 << 20 && encoding.blockRows >= 16)
    var job = Job(classes: 2, k: 1, samples: 3)
    job.manifest.encoding = encoding
    job.manifest.dataSet.classNames = (0..<classes).map { "\($0)" }
    try job.manifest.validate()
  }

  /// Groups of the ranking of 12 classes behind a head of five: ranks 5, 6, 7...8, 9...10.
  @Test(arguments: 0...2, [(5, 0, 0), (6, 1, 0), (7, 2, 0), (8, 2, 1), (9, 3, 0), (10, 3, 1)])
  func `a digit behind the head that no class is left for is refused`(
    key: Int, place: (rank: Int, group: Int, column: Int)
  ) throws {
    let rows = 7
    var job = Job(classes: 12, k: 5, samples: rows)
    job.manifest.encoding.ranking = .full
    job.calibration = try Calibration(
      CalibrationParts.learned(key: key).bytes(width: 4), job.manifest.encoding)
    let block = try SoundBlock(job)
    let columns = place.group >= 2 ? 2 : 1
    for row in 0..<rows {
      for (excess, isRefused) in [(-1, false), (0, true), (Int(UInt32.max) - 12, true)] {
        var digits = [Int](repeating: 0, count: columns * rows)
        digits[place.column * rows + row] = 12 - place.rank + excess
        let wrong = block.parts.with(7, group: UInt8(place.group), .plain(digits)).canonical
        let found = problem { _ = try block.decode(canonical: wrong) }
        #expect(
          found.message.contains("a class is out of range") == isRefused,
          "row \(row), digits \(digits): \(found)")
      }
    }
  }

  @Test func `a label that the order has elsewhere is refused`() throws {
    var job = Job(classes: 12, k: 2, samples: 7)
    job.manifest.encoding.ranking = .full
    let block = try SoundBlock(job)
    let ranks = try block.decode().batch.labelRanks.map(Int.init)
    let row = try #require(ranks.firstIndex { $0 >= 2 })
    let codes = ranks.map { $0 < 2 ? 0 : $0 - 1 }
    for code in 1...10 {
      var changed = codes
      changed[row] = code
      let wrong = block.parts.with(4, .plain(changed)).canonical
      let found = problem { _ = try block.decode(canonical: wrong) }
      #expect(
        found.message.contains("the ranking and the rank of a label contradict each other")
          == (code != codes[row]), "code \(code): \(found)")
    }
  }

  @Test(arguments: [1, 9])
  func `every flipped bit of a ranking is another record or refused`(k: Int) throws {
    var job = Job(classes: 12, k: k, samples: 7)
    job.manifest.encoding.ranking = .full
    let block = try SoundBlock(job)
    let sound = block.encoded.canonicalBytes
    for bit in 8 * 72..<8 * sound.count {
      var bytes = sound
      bytes[bit / 8] ^= 1 << (bit % 8)
      // Read as other records, or as the same in another form, which `verify` finds.
      guard let found = try? block.decode(canonical: bytes).content else { continue }
      #expect(
        found.canonicalBytes == bytes && found.writtenAgain != sound || found.writtenAgain != bytes)
    }
  }
}
