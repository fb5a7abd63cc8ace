import Arrays
import Basics
import Foundation
import LogitCache
import Losses
import Pipelines

/// The orders in which records are read.
enum ReplayAccess: String, CaseIterable {
  case sequential
  case shuffled
  case kept = "shuffled, kept"
  case lone
  case loneKept = "lone, kept"
}

/// The name of a row before its peer.
func replayCaseName(classes: Int, k: Int, _ access: ReplayAccess) -> String {
  "C=\(classes) k=\(k) \(access.rawValue) against "
}

/// One shape: the same records as a cache, as fixed records, and as LMDB's keys of the Python peer.
struct ReplayCase {
  private let settings: ReplaySettings
  private let folder: String
  private let cache: CacheReader
  private let fixed: FixedRecords
  private let peer: PythonPeer
  /// Bytes of the cache's, the fixed records' and LMDB's file.
  private let bytes: [Double]
  private let classes: Int
  private let k: Int

  private static let batch = 256

  init(
    classes: Int, k: Int, _ settings: ReplaySettings, peer: PythonPeer, folder: String
  ) throws {
    self.settings = settings
    self.folder = folder
    self.peer = peer
    self.classes = classes
    self.k = k
    let path = folder + "/cache"
    try writeCache(
      of: SyntheticTeacher(
        classes: classes, confidence: classes > 100 ? 0.7 : 0.9, seed: settings.seed),
      records: settings.records, k: k, to: path)
    cache = try CacheReader(path: path)
    let file = folder + "/records.bin"
    try FixedRecords.write(cache, to: file)
    fixed = try FixedRecords(path: file, k: k)
    let lmdbBytes = try peer.ask("open \(file) \(folder)/lmdb \(k)", for: \.bytes)
    bytes = [Double(cache.fileBytes), Double(fixed.size * settings.records), lmdbBytes]
  }

  /// Every order against every peer, and the sizes.
  func measure() throws -> [BenchmarkRow] {
    let copied = copySpeed()
    let orders = try ReplayAccess.allCases.flatMap { access in
      let speeds = try measure(access)
      return zip(["file", "lmdb", "pread"], speeds.peers).map { name, peer in
        BenchmarkRow.moreIsBetter(
          replayCaseName(classes: classes, k: k, access) + name, ours: speeds.ours, peer: peer,
          unit: "thousand/s", limit: copied)
      }
    }
    let sizes = zip(["file", "lmdb"], bytes[1...]).map { name, peer in
      let records = Double(settings.records)
      return BenchmarkRow.lessIsBetter(
        "C=\(classes) k=\(k) size against \(name)", ours: bytes[0] / records, peer: peer / records,
        unit: "bytes/record")
    }
    return orders + sizes
  }

  /// The most thousands of records read in a second in an order: by us, and by file, lmdb and pread.
  private func measure(_ access: ReplayAccess) throws -> (ours: Double, peers: [Double]) {
    let samples = samples(access)
    let (ours, pread) = (reader(access, samples), fixedReader(samples))
    try check(access, samples, ours, pread)
    var times = [Double](repeating: .infinity, count: 4)
    for _ in 0..<settings.rounds {
      let seconds = settings.seconds
      times[0] = min(times[0], try fastest(seconds: seconds) { try ours { _, _ in } })
      for (index, name) in ["file", "lmdb"].enumerated() {
        times[1 + index] = min(
          times[1 + index], try peer.ask("time \(name) \(seconds)", for: \.nanoseconds))
      }
      times[3] = min(times[3], try fastest(seconds: seconds) { try pread { _, _ in } })
    }
    let speeds = times.map { Double(samples.count) / $0 * 1e6 }
    return (speeds[0], Array(speeds[1...]))
  }

  private func samples(_ access: ReplayAccess) -> [Int] {
    switch access {
    case .sequential: return Array(0..<settings.records)
    case .shuffled, .kept:
      let rows = cache.manifest.encoding.blockRows
      let order = EpochOrder(
        samples: settings.records, blockRows: rows, seed: settings.seed, epoch: 0)
      return order.windows().flatMap { window in
        window.places.map { window.blocks[$0.block] * rows + $0.row }
      }
    case .lone, .loneKept:
      var generator = SplitMix64(seed: settings.seed)
      let count = access == .lone ? settings.lone : settings.records
      return (0..<count).map { _ in Int.random(in: 0..<settings.records, using: &generator) }
    }
  }

  /// Tells the peer the order, and demands that all sides read the same ids in it.
  private func check(
    _ access: ReplayAccess, _ samples: [Int], _ ours: Pass, _ pread: Pass
  ) throws {
    let file = folder + "/order.npy"
    try NumPy.write(
      NamedArray(shape: [samples.count], values: .int64(samples.map { Int64($0) })), to: file)
    try peer.ask("order \(file)")
    let sums =
      [try idSum(ours), try idSum(pread)]
      + (try ["file", "lmdb"].map { try peer.ask("check \($0)", for: \.sum) })
    guard Set(sums).count == 1 else {
      throw Problem(.corrupt, "\(access.rawValue): the sides read different records: \(sums)")
    }
  }

  /// The sum of (i + 1) * (sum of the i-th record's ids), as the Python peer has it.
  private func idSum(_ pass: Pass) throws -> Double {
    var (total, place) = (0, 0)
    try pass { ids, count in
      for row in 0..<count {
        place += 1
        total += place * ids[row * k..<(row + 1) * k].reduce(0) { $0 + Int($1) }
      }
    }
    return Double(total)
  }
}

// MARK: - Readers in Swift

extension ReplayCase {
  /// Reads all records of an order; `use` gets ids [count, k] of a batch after the other.
  private typealias Pass = (_ use: (_ ids: [Int32], _ count: Int) -> Void) throws -> Void

  private func reader(_ access: ReplayAccess, _ samples: [Int]) -> Pass {
    switch access {
    case .sequential: sequentialReader()
    case .shuffled: shuffledReader(keepingBytes: 0)
    case .kept: shuffledReader(keepingBytes: .max)
    case .lone: loneReader(samples, blocks: 1)
    case .loneKept: loneReader(samples, blocks: cache.manifest.blocksPerView)
    }
  }

  private func sequentialReader() -> Pass {
    var batch = cache.makeBatch()
    return { use in
      for block in 0..<cache.manifest.blocksPerView {
        try cache.decode(view: 0, block: block, into: &batch)
        use(batch.classIDs, batch.count)
      }
    }
  }

  /// Passes are epochs, each in an order of its own.
  private func shuffledReader(keepingBytes: Int) -> Pass {
    let cursor = EpochCursor(
      epochs: 0..<1_000_000, samples: settings.records,
      blockRows: cache.manifest.encoding.blockRows, seed: settings.seed,
      blocks: DecodedBlocks(cache, keepingBytes: keepingBytes), view: { _ in 0 })
    var chosen: [Int] = []
    var batch: TeacherBatch? = cache.makeBatch()
    return { use in
      for start in stride(from: 0, to: settings.records, by: Self.batch) {
        let count = min(Self.batch, settings.records - start)
        try cursor.take(count, samples: &chosen, records: &batch)
        use(batch?.classIDs ?? [], count)
      }
    }
  }

  private func loneReader(_ samples: [Int], blocks: Int) -> Pass {
    var reader = RecordReader(cache, blocks: blocks)
    var batch = cache.makeBatch()
    return { use in
      for start in stride(from: 0, to: samples.count, by: Self.batch) {
        let part = samples[start..<min(start + Self.batch, samples.count)]
        batch.resize(to: part.count)
        for (row, sample) in part.enumerated() {
          try reader.read(sample: sample, view: 0, into: &batch, row: row)
        }
        use(batch.classIDs, part.count)
      }
    }
  }

  private func fixedReader(_ samples: [Int]) -> Pass {
    var ids = [Int32](repeating: 0, count: Self.batch * k)
    var probabilities = [Float](repeating: 0, count: Self.batch * k)
    return { use in
      for start in stride(from: 0, to: samples.count, by: Self.batch) {
        let part = samples[start..<min(start + Self.batch, samples.count)]
        try fixed.read(part, ids: &ids, probabilities: &probabilities)
        use(ids, part.count)
      }
    }
  }

  /// Thousands of records in a second when their decoded bytes are only copied, from memory that holds
  /// them all.
  private func copySpeed() -> Double {
    var batch = cache.makeBatch()
    batch.resize(to: settings.records)
    let source = [UInt8](repeating: 1, count: batch.byteCount)
    var target = source
    let time = fastest(seconds: settings.seconds) {
      target.withUnsafeMutableBytes { target in
        source.withUnsafeBytes { target.copyMemory(from: $0) }
      }
    }
    return Double(settings.records) / time * 1e6
  }
}

/// Writes one view of a teacher's rows as a sealed cache.
private func writeCache(
  of teacher: SyntheticTeacher, records: Int, k: Int, to path: String
) throws {
  let labels = (0..<records).map { Int32(teacher.label($0)) }
  var manifest = Manifest(
    dataSet: DataSetIdentity(
      name: "synthetic", fingerprint: Digest(of: "synthetic"), labels: labels,
      classNames: (0..<teacher.classes).map { "class \($0)" }),
    recipe: RecipeIdentity(digest: Digest(of: "none"), content: .object([:])), seed: 1, views: 1,
    teacher: .object(["name": .string("synthetic")]),
    encoding: Encoding(classes: teacher.classes, k: k))
  func measure(_ key: BlockKey, _ encoder: BlockEncoder, forCalibration: Bool) throws
    -> MeasuredBlock
  {
    let samples = manifest.samples(of: key)
    let (logits, labels) = teacher.rows(samples)
    return try encoder.measure(
      logits: logits.span, labels: labels, view: 0, block: key.block,
      firstSample: samples.lowerBound, viewDigest: Digest(of: "\(key)"),
      forCalibration: forCalibration)
  }
  let plain = try BlockEncoder(manifest: manifest)
  let some = manifest.blockKeys.enumerated().filter { $0.offset % 10 == 0 }
  let calibration = try Calibration.learn(
    try some.map { try measure($0.element, plain, forCalibration: true) }, manifest)
  manifest.calibration = calibration.digest
  let encoder = try BlockEncoder(manifest: manifest, calibration: calibration)
  let writer = try CacheWriter(
    path: path, manifest: manifest, labels: labels, calibration: calibration)
  for key in manifest.blockKeys {
    try writer.append([encoder.pack(measure(key, encoder, forCalibration: false))])
  }
  _ = try writer.seal()
}
