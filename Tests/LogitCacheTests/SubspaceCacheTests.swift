import Basics
import LMDB
import LogitCache
import Losses
import TestSupport
import Testing

/// A small cache with a subspace tail, made from a teacher of low rank.
struct TailJob {
  var manifest: Manifest
  let teacher: LowRankTeacher
  let labels: [Int32]
  var calibration: Calibration

  init(
    classes: Int, k: Int, samples: Int, rank: Int = 6, blockRows: Int = 16, step: Double = 2,
    temperatures: [Temperature] = [1, 2, 4], seed: UInt64 = 1, hasTail: Bool = true
  ) throws {
    teacher = LowRankTeacher(classes: classes, rank: rank, seed: seed)
    labels = (0..<samples).map { Int32($0 * 7 % classes) }
    manifest = Manifest(
      dataSet: DataSetIdentity(
        name: "toys", fingerprint: Digest(of: "toys"), labels: labels,
        classNames: (0..<classes).map { "class \($0)" }),
      recipe: RecipeIdentity(digest: Digest(of: "none"), content: .object([:])), seed: 1,
      views: 1, teacher: .object(["weights": .string("low rank")]),
      encoding: Encoding(
        classes: classes, k: k, stepsPerNat: 32, tailStepsPerNat: 64, temperatures: temperatures,
        subspaceTail: hasTail ? SubspaceTail(step: step) : nil, blockRows: blockRows))
    let plain = try BlockEncoder(manifest: manifest)
    let keys = Array(manifest.blockKeys.prefix(3))
    var measured: [MeasuredBlock] = []
    for (index, key) in keys.enumerated() {
      measured.append(
        try TailJob.measure(
          key, manifest, teacher, labels, plain, forCalibration: true,
          keptRows: Calibration.keptRows(manifest.encoding, block: index, of: keys.count)))
    }
    calibration = try Calibration.learn(measured, manifest)
    manifest.calibration = calibration.digest
  }

  /// The teacher's logits of a block [rows, C].
  func logits(_ key: BlockKey) -> [Float] { TailJob.logits(key, manifest, teacher) }

  private static func logits(
    _ key: BlockKey, _ manifest: Manifest, _ teacher: LowRankTeacher
  ) -> [Float] {
    teacher.rows(manifest.samples(of: key).count, seed: 100 + UInt64(key.block))
  }

  private static func measure(
    _ key: BlockKey, _ manifest: Manifest, _ teacher: LowRankTeacher, _ labels: [Int32],
    _ encoder: BlockEncoder, forCalibration: Bool, keptRows: Int = 0
  ) throws -> MeasuredBlock {
    let samples = manifest.samples(of: key)
    let logits = logits(key, manifest, teacher)
    return try encoder.measure(
      logits: logits.span, labels: Array(labels[samples]), view: key.view, block: key.block,
      firstSample: samples.lowerBound, viewDigest: Digest(of: "\(key)"),
      forCalibration: forCalibration, keptRows: keptRows)
  }

  func encode(_ key: BlockKey) throws -> EncodedBlock {
    let encoder = try BlockEncoder(manifest: manifest, calibration: calibration)
    return try encoder.pack(
      TailJob.measure(key, manifest, teacher, labels, encoder, forCalibration: false))
  }

  @discardableResult
  func write(to path: String, seal: Bool = true) throws -> Digest? {
    let writer = try CacheWriter(
      path: path, manifest: manifest, labels: labels, calibration: calibration)
    try writer.append(try manifest.blockKeys.map { try encode($0) })
    return seal ? try writer.seal() : nil
  }
}

@Suite struct SubspaceCacheTests {
  @Test(arguments: UInt64(1)...12)
  func `full rows come back from a cache within what the step allows`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let classes = Int.random(in: 12...300, using: &generator)
    let k = Int.random(in: 1..<min(classes, 12), using: &generator)
    let rank = Int.random(in: 1...10, using: &generator)
    let step = [0.25, 1.5, 4].randomElement(using: &generator)!
    let job = try TailJob(
      classes: classes, k: k, samples: 75, rank: rank, step: step, seed: seed)
    let folder = ScratchFolder()
    let digest = try job.write(to: folder.path)
    #expect(try verifyCache(path: folder.path).cacheDigest == digest)
    let reader = try CacheReader(path: folder.path)
    let axes = try #require(reader.axes)
    var (batch, heads) = (reader.makeBatch(coefficients: true), reader.makeBatch())
    var rows = TeacherBatch.fullRows(of: batch)
    // Half a step on every axis, axes that were left out, half a step of the level, and rounded axes.
    let count = Double(min(rank + 1, classes))
    let bound = 1.05 * count.squareRoot() * step * 0.75 + Double(classes).squareRoot() / 32 + 1.5
    for key in job.manifest.blockKeys {
      try reader.decode(view: key.view, block: key.block, into: &batch)
      try reader.decode(view: key.view, block: key.block, into: &heads)
      #expect(batch.classIDs == heads.classIDs && batch.gaps == heads.gaps)
      #expect(heads.coefficients.isEmpty && heads.axes == nil)
      axes.rebuild(batch, into: &rows, ordered: true)
      let logits = job.logits(key)
      for row in 0..<batch.count {
        var error = 0.0
        for place in row * classes..<(row + 1) * classes {
          let exact = logits[row * classes + Int(rows.classIDs[place])]
          let rebuilt = rows.largestLogits[row] - rows.gaps[place]
          error += Double(exact - rebuilt) * Double(exact - rebuilt)
        }
        #expect(
          error.squareRoot() <= bound,
          "seed \(seed), C \(classes), rank \(rank), step \(step), axes \(axes.count)")
      }
    }
  }

  @Test func `a tail changes neither head nor tail masses`() throws {
    let (one, two) = (ScratchFolder(), ScratchFolder())
    let with = try TailJob(classes: 40, k: 5, samples: 50)
    let without = try TailJob(classes: 40, k: 5, samples: 50, hasTail: false)
    try with.write(to: one.path)
    try without.write(to: two.path)
    let readers = try [CacheReader(path: one.path), CacheReader(path: two.path)]
    #expect(readers[1].axes == nil && readers[1].makeBatch(coefficients: true).axes == nil)
    for key in with.manifest.blockKeys {
      let batches = try readers.map { reader in
        var batch = reader.makeBatch()
        try reader.decode(view: 0, block: key.block, into: &batch)
        return batch
      }
      #expect(batches[0].classIDs == batches[1].classIDs)
      #expect(batches[0].gaps == batches[1].gaps)
      #expect(batches[0].logTailRatios == batches[1].logTailRatios)
      #expect(batches[0].largestLogits == batches[1].largestLogits)
    }
    let certificates = try readers.map { try $0.certificate() }
    // Errors at T = 1 are the head's own; above, full rows have less.
    #expect(certificates[0].atTemperature[0] == certificates[1].atTemperature[0])
    #expect(certificates[0].orderAgreements == certificates[1].orderAgreements)
    for place in [1, 2] {
      let (full, head) = (
        certificates[0].atTemperature[place], certificates[1].atTemperature[place]
      )
      #expect(full.kdGradientError.mean < head.kdGradientError.mean)
      #expect(full.pldDroppedWeight.mean < head.pldDroppedWeight.mean)
    }
    #expect(
      certificates[0].mseMissingEnergy.mean < 0.2 * certificates[1].mseMissingEnergy.mean)
  }

  @Test func `a manifest without a tail does not mention one, and one with it is another job`()
    throws
  {
    let with = try TailJob(classes: 20, k: 3, samples: 20)
    let without = try TailJob(classes: 20, k: 3, samples: 20, hasTail: false)
    #expect(try !canonicalJSON(without.manifest).contains("subspace"))
    let text =
      #""subspaceTail":{"axisBytes":1,"maximumAxes":1024,"stepSixteenths":32}"#
    #expect(try canonicalJSON(with.manifest).contains(text))
    let folder = ScratchFolder()
    try with.write(to: folder.path, seal: false)
    let found = problem { try without.write(to: folder.path) }
    #expect(found.message.contains("encoding.subspaceTail.stepSixteenths: the cache has 32"))
  }

  @Test(arguments: [
    (\SubspaceTail.stepSixteenths, 0, "stepSixteenths is 0"),
    (\SubspaceTail.stepSixteenths, 4097, "stepSixteenths is 4097, it must be in 1...4096"),
    (\SubspaceTail.maximumAxes, 0, "maximumAxes is 0"),
    (\SubspaceTail.maximumAxes, 4097, "maximumAxes is 4097"),
    (\SubspaceTail.axisBytes, 3, "axisBytes is 3"),
  ])
  func `settings out of range are refused`(
    field: any WritableKeyPath<SubspaceTail, Int> & Sendable, value: Int, text: String
  ) throws {
    var job = Job(classes: 20, k: 3, samples: 20)
    var tail = SubspaceTail(stepSixteenths: 64)
    tail[keyPath: field] = value
    job.manifest.encoding.subspaceTail = tail
    let found = problem { _ = try BlockEncoder(manifest: job.manifest) }
    #expect(found.kind == .configuration)
    #expect(found.message.contains(text), "\(found)")
  }

  @Test func `a tail beside all classes is refused`() {
    var job = Job(classes: 20, k: 20, samples: 20)
    job.manifest.encoding.subspaceTail = SubspaceTail(stepSixteenths: 64)
    let found = problem { try job.manifest.validate() }
    #expect(found.kind == .configuration)
    #expect(found.message.contains("k = 20 is all of them"), "\(found)")
  }

  @Test func `steps are multiples of a sixteenth`() {
    #expect(SubspaceTail(step: 8)?.step == 8)
    #expect(SubspaceTail(step: 0.0625)?.stepSixteenths == 1)
    #expect(SubspaceTail(step: 256)?.stepSixteenths == 4096)
    for wrong in [0, -1, 0.1, 0.03125, 257, .infinity, .nan] {
      #expect(SubspaceTail(step: wrong) == nil, "\(wrong)")
    }
  }

  @Test func `kept rows are at most 4096 and a quarter of a gibibyte`() {
    for (classes, blocks) in [(10, 1), (1000, 7), (18_709, 32), (1 << 22, 32), (1 << 24, 32)] {
      let encoding = Encoding(
        classes: classes, k: 2, subspaceTail: SubspaceTail(stepSixteenths: 64))
      let rows = (0..<blocks).reduce(0) {
        $0 + Calibration.keptRows(encoding, block: $1, of: blocks)
      }
      #expect(rows == min(4096, (1 << 26) / classes))
    }
    #expect(Calibration.keptRows(Encoding(classes: 10, k: 2), block: 0, of: 1) == 0)
  }

  @Test func `axes are learned from the same rows to the same bytes`() throws {
    let jobs = try (0..<2).map { _ in try TailJob(classes: 70, k: 4, samples: 60) }
    #expect(jobs[0].calibration.bytes == jobs[1].calibration.bytes)
    #expect(jobs[0].calibration.axes?.count == 6)
    #expect(jobs[0].calibration.summary.contains(", 6 axes ("))
    let key = BlockKey(view: 0, block: 3)
    #expect(try jobs[0].encode(key).canonicalBytes == jobs[1].encode(key).canonicalBytes)
  }

  @Test func `a calibration with axes comes back, and anything else is refused`() throws {
    let job = try TailJob(classes: 23, k: 4, samples: 60)
    let encoding = job.manifest.encoding
    let bytes = job.calibration.bytes
    #expect(try Calibration(bytes, encoding) == job.calibration)
    for length in 0..<bytes.count {
      let found = problem { _ = try Calibration(Array(bytes[..<length]), encoding) }
      #expect(found.kind == .corrupt, "\(length) bytes")
    }
    #expect(problem { _ = try Calibration(bytes + [0], encoding) }.kind == .corrupt)
    for change: (inout SubspaceTail) -> Void in [
      { $0.maximumAxes = 5 }, { $0.axisBytes = 2 },
    ] {
      var other = encoding
      change(&other.subspaceTail!)
      #expect(problem { _ = try Calibration(bytes, other) }.kind == .corrupt)
    }
    var without = encoding
    without.subspaceTail = nil
    #expect(problem { _ = try Calibration(bytes, without) }.kind == .corrupt)
  }

  @Test func `fewer views keep axes, trellis and coefficients`() throws {
    var job = try TailJob(classes: 60, k: 4, samples: 80, rank: 16, step: 8)
    job.manifest.views = 2
    #expect(try #require(job.calibration.axes).trellisAxes >= 8)
    let (whole, one) = (ScratchFolder(), ScratchFolder())
    try job.write(to: whole.path)
    _ = try deriveCache(
      from: whole.path, into: one.file("derived"), keeping: Derivation(views: 1))
    let readers = try [CacheReader(path: whole.path), CacheReader(path: one.file("derived"))]
    #expect(readers[1].axes == readers[0].axes)
    var batches = readers.map { $0.makeBatch(coefficients: true) }
    for key in readers[1].manifest.blockKeys {
      for index in 0..<2 {
        try readers[index].decode(view: key.view, block: key.block, into: &batches[index])
      }
      #expect(batches[1].coefficients == batches[0].coefficients)
      #expect(batches[1].rowOffsets == batches[0].rowOffsets)
    }
  }

  // MARK: - Hostile bytes

  /// Puts canonical bytes in the place of a block.
  private func replace(_ job: TailJob, in path: String, with canonical: [UInt8]) throws {
    let value = try BlockProbe(job.manifest, job.calibration).storedValue(ofCanonical: canonical)
    let environment = try Environment(
      path: path, tables: ["blocks", "index", "meta"], access: .write(mapBytes: 1 << 24))
    let key: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 1]
    try environment.write { try $0.put(value, forKey: key, in: environment.table("blocks")) }
  }

  @Test(arguments: UInt64(1)...150)
  func `forged coefficients and offsets are refused or give finite rows`(seed: UInt64) throws {
    let job = try TailJob(classes: 30, k: 3, samples: 40, rank: 5)
    let folder = ScratchFolder()
    try job.write(to: folder.path, seal: false)
    let block = try job.encode(BlockKey(view: 0, block: 1))
    var bytes = block.canonicalBytes
    // Where planes 8 and 9 are: before the ratios at three temperatures.
    let sizes = block.planes
    let end =
      bytes.count - sizes.filter { $0.name.hasPrefix("tail") }.reduce(0) { $0 + $1.canonicalBytes }
    let tail = sizes.filter { ["coefficients", "offsets"].contains($0.name) }
      .reduce(0) { $0 + $1.canonicalBytes }
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<Int.random(in: 1...4, using: &generator) {
      let place = Int.random(in: end - tail..<end, using: &generator)
      bytes[place] = [0xff, 0x7f, 0x80, UInt8.random(in: 0...255, using: &generator)]
        .randomElement(using: &generator)!
    }
    if seed % 3 == 0 {  // forms and lengths in the directory, too
      let place = Int.random(in: 72..<72 + 8 * 14, using: &generator)
      bytes[place] = UInt8.random(in: 0...255, using: &generator)
    }
    try replace(job, in: folder.path, with: bytes)
    if bytes != block.canonicalBytes {
      #expect(problem { _ = try verifyCache(path: folder.path) }.kind == .corrupt)
    }
    let reader = try CacheReader(path: folder.path)
    var batch = reader.makeBatch(coefficients: true)
    do {
      try reader.decode(view: 0, block: 1, into: &batch)
    } catch let problem as Problem {
      #expect(problem.kind == .corrupt)
      return
    }
    var rows = TeacherBatch.fullRows(of: batch)
    for ordered in [true, false] {
      reader.axes?.rebuild(batch, into: &rows, ordered: ordered)
      #expect(rows.gaps.allSatisfy { $0 >= 0 && $0.isFinite }, "seed \(seed)")
    }
  }

  /// A first integer of plane 8 or 9, and the smallest that plane 9 begins with.
  struct Beyond {
    var plane: UInt8
    var first: Int
    var smallest: Int?
  }

  static let beyond = [
    Beyond(plane: 8, first: 0x8000_0001), Beyond(plane: 8, first: 0xffff_ffff),
    Beyond(plane: 9, first: 1, smallest: 0x4000_0000),
    Beyond(plane: 9, first: 0, smallest: -0x8000_0000),
    Beyond(plane: 9, first: 0xffff_ffff, smallest: 0),
  ]

  @Test(arguments: beyond)
  func `integers beyond 2^30 are refused, by readers of the head not even looked at`(
    beyond: Beyond
  ) throws {
    var part = PlanePart.plain([beyond.first] + [Int](repeating: 0, count: 15))
    if let smallest = beyond.smallest { part = part.from(smallest: smallest) }
    let job = try TailJob(classes: 30, k: 3, samples: 40, rank: 1)
    let folder = ScratchFolder()
    try job.write(to: folder.path, seal: false)
    let block = try job.encode(BlockKey(view: 0, block: 1))
    let bytes = BlockParts(block.canonicalBytes).with(beyond.plane, part).canonical
    try replace(job, in: folder.path, with: bytes)
    let reader = try CacheReader(path: folder.path)
    var (batch, heads) = (reader.makeBatch(coefficients: true), reader.makeBatch())
    let found = problem { try reader.decode(view: 0, block: 1, into: &batch) }
    #expect(found.kind == .corrupt)
    let what = beyond.plane == 8 ? "a coefficient" : "a value"
    #expect(found.message.contains("\(what) is out of range"), "\(found)")
    try reader.decode(view: 0, block: 1, into: &heads)
    #expect(heads.count == 16)
  }

  /// A file may say anything; a writer that goes on with it must not fail.
  @Test(arguments: [0, Float.leastNormalMagnitude, 0x1p13], UInt8(0)...3)
  func `rows are projected on any axes that are read`(scale: Float, trellisAxes: UInt8) throws {
    var job = try TailJob(classes: 30, k: 3, samples: 40, rank: 3)
    var bytes = job.calibration.bytes
    let axes = try #require(job.calibration.axes)
    // Scales follow the mean row; the last axis becomes a copy of the first.
    let start = bytes.count - axes.byteCount + 16 + 4 * 30
    bytes[start - 4 * 30 - 2] = trellisAxes
    if scale > 0 {
      for axis in 0..<axes.count {
        withUnsafeBytes(of: scale.bitPattern.littleEndian) {
          bytes.replaceSubrange(start + 4 * axis..<start + 4 * axis + 4, with: $0)
        }
      }
    }
    bytes.replaceSubrange(
      (bytes.count - 30)..., with: bytes[(start + 4 * axes.count)..<(start + 4 * axes.count + 30)])
    let calibration = try Calibration(bytes, job.manifest.encoding)
    #expect(calibration.axes?.trellisAxes == Int(trellisAxes))
    job.calibration = calibration
    job.manifest.calibration = calibration.digest
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    _ = try verifyCache(path: folder.path)
  }
}
