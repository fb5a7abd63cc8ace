import Basics
import Foundation
import LogitCache
import Losses

/// A finished cache of a teacher's rows in a scratch folder, and what making it took.
struct RateCache {
  let reader: CacheReader
  /// Of this thread: to select heads and measure errors over all classes, and to write records.
  private(set) var measureSeconds = 0.0
  private(set) var packSeconds = 0.0
  /// What the cache learned, and bytes of it and of the labels.
  var calibration: Calibration { reader.calibration }

  /// Writes all rows, block by block, with a calibration that suits a job of so many records.
  init(
    _ rows: TeacherRows, k: Int, tail: SubspaceTail?, ranking: Ranking?, jobRecords: Int,
    folder: String
  ) throws {
    var manifest = Self.manifest(rows, k: k, tail, ranking)
    let calibration = try Self.calibration(manifest, rows, jobRecords: jobRecords)
    manifest.calibration = calibration.digest
    let encoder = try BlockEncoder(manifest: manifest, calibration: calibration)
    let writer = try CacheWriter(
      path: folder, manifest: manifest, labels: rows.labels, calibration: calibration)
    for key in manifest.blockKeys {
      let samples = manifest.samples(of: key)
      let logits = rows.copy(view: key.view, samples: samples)
      let labels = Array(rows.labels[samples])
      let start = threadSeconds()
      let block = try encoder.measure(
        logits: logits.span, labels: labels, view: key.view, block: key.block,
        firstSample: samples.lowerBound, viewDigest: Digest(of: "\(key)"))
      measureSeconds += threadSeconds() - start
      let middle = threadSeconds()
      try writer.append([encoder.pack(block)])
      packSeconds += threadSeconds() - middle
    }
    _ = try writer.seal()
    reader = try CacheReader(path: folder)
  }

  /// A third of the blocks, other samples of each view.
  static func calibrationKeys(_ manifest: Manifest) -> [BlockKey] {
    let (views, blocks) = (manifest.views, manifest.blocksPerView)
    let count = max(1, views * blocks / 3)
    return (0..<count).map { BlockKey(view: $0 % views, block: $0 * blocks / count) }
  }

  /// Learned from some of the blocks: the study's tables saw about as much.
  private static func calibration(
    _ manifest: Manifest, _ rows: TeacherRows, jobRecords: Int
  ) throws -> Calibration {
    let encoder = try BlockEncoder(manifest: manifest)
    let keys = calibrationKeys(manifest)
    let blocks = try keys.enumerated().map { index, key in
      let samples = manifest.samples(of: key)
      let logits = rows.copy(view: key.view, samples: samples)
      return try encoder.measure(
        logits: logits.span, labels: Array(rows.labels[samples]), view: key.view,
        block: key.block, firstSample: samples.lowerBound, viewDigest: Digest(of: "\(key)"),
        forCalibration: true,
        keptRows: Calibration.keptRows(manifest.encoding, block: index, of: keys.count))
    }
    return try Calibration.learn(blocks, manifest, records: jobRecords)
  }

  private static func manifest(
    _ rows: TeacherRows, k: Int, _ tail: SubspaceTail?, _ ranking: Ranking?
  ) -> Manifest {
    Manifest(
      dataSet: DataSetIdentity(
        name: rows.name, fingerprint: Digest(of: rows.name), labels: rows.labels,
        classNames: (0..<rows.classes).map { "\($0)" }),
      recipe: RecipeIdentity(
        digest: Digest(of: rows.name), content: .object(["rows": .string(rows.name)])),
      seed: 1, views: rows.views, teacher: .object(["name": .string(rows.facts.teacher)]),
      encoding: Encoding(classes: rows.classes, k: k, subspaceTail: tail, ranking: ranking))
  }

  /// Seconds of this thread to decode every block once: the least of three passes.
  func decodeSeconds() throws -> Double {
    var batch = reader.makeBatch(coefficients: true, ranking: true)
    var least = Double.infinity
    for _ in 0..<3 {
      let start = threadSeconds()
      for key in reader.manifest.blockKeys {
        try reader.decode(view: key.view, block: key.block, into: &batch)
      }
      least = min(least, threadSeconds() - start)
    }
    return least
  }

  /// Seconds of this thread to rebuild the full rows of records once.
  func rebuildSeconds(_ records: TeacherBatch) -> Double {
    guard let axes = reader.axes else { return 0 }
    var rows = TeacherBatch.fullRows(of: records)
    axes.rebuild(records, into: &rows, ordered: false)  // its memory is then there
    let start = threadSeconds()
    axes.rebuild(records, into: &rows, ordered: false)
    return threadSeconds() - start
  }

  /// The records of some rows (view times n plus sample), in that order, and all records' errors
  /// measured against the full rows.
  func read(
    _ rows: TeacherRows, chosen: [Int]
  ) throws -> (records: TeacherBatch, certificate: DirectCertificate) {
    let manifest = reader.manifest
    let places = Dictionary(uniqueKeysWithValues: zip(chosen, chosen.indices))
    var direct = DirectCertificate(manifest.encoding)
    var records = reader.makeBatch(coefficients: true, ranking: true)
    records.resize(to: chosen.count)
    var batch = reader.makeBatch(coefficients: true, ranking: true)
    var one = batch
    one.resize(to: 1)
    var full = TeacherBatch.fullRows(of: batch)
    for key in manifest.blockKeys {
      try reader.decode(view: key.view, block: key.block, into: &batch)
      for (row, sample) in manifest.samples(of: key).enumerated() {
        let index = key.view * rows.samples + sample
        if let axes = reader.axes {
          one.copyRow(row, of: batch, to: 0)
          axes.rebuild(one, into: &full, ordered: true)
        }
        direct.add(
          batch, row, row: rows.copy(row: index).span,
          full: reader.axes == nil ? nil : (full, 0))
        if let place = places[index] { records.copyRow(row, of: batch, to: place) }
      }
    }
    return (records, direct)
  }
}

/// CPU time of this thread: other programs on the machine take none of it.
private func threadSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
