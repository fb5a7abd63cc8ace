import Basics
import Foundation
import LogitCache
import Losses

// Bytes and errors of records on real teachers.
//
// Benchmarks/Peers/teacher_rows.py makes full rows of a teacher (`tools/bench rate NAME` runs it).
// Here they go through the library as a cache does it: encoder, writer, sealed file, reader. Reported
// for each k are the stored bytes by field beside the plain layout of TinyViT (Wu and others 2022,
// arXiv:2207.10666: 2 bytes a class, 2 a probability, 4 for a seed), records a second on one core, what
// the losses' gradients lose, and whether the certificate in the cache tells the truth.

/// What `benchmarks rate` is asked for.
struct RateSettings {
  /// The folder of the rows, and the teacher's name in it.
  var folder: String
  var teacher: String
  var heads: [Int]
  /// Use only so many samples of each view.
  var samples: Int?
  /// Of 256 rows, for the gradients.
  var batches: Int?
  /// Keep full rows too.
  var tail: SubspaceTail?
  /// Keep the order of all classes too.
  var ranking: Ranking?
  var form: RowForm
  /// The records of the job that the calibration decides for; those at hand when left out.
  var jobRecords: Int?
  /// Where the caches stay, each named by teacher and k; they are removed when left out.
  var keep: String?
}

/// What a subspace tail came to, beside the head's fields.
struct RateTail: Encodable {
  var step: Float
  var axes: Int
  /// Of the axes in the calibration: the fixed cost of a cache.
  var axesBytes: Int
  /// Of coefficients and offsets; `bytesPerRecord` counts them too.
  var bytesPerRecord: Double
  var rebuiltPerSecond: Double
  /// What the losses' gradients lose on rebuilt full rows.
  var gradientErrors: [String: Double]
}

/// What records with one k came to.
struct RateResult: Encodable {
  var k: Int
  var records: Int
  var blockRows: Int
  /// Of the blocks' stored values, checksums included.
  var bytesPerRecord: Double
  /// The same of the blocks alone that the calibration did not see; 0 when it saw all.
  var unseenBytesPerRecord: Double
  /// Of the whole data file: pages and index too.
  var fileBytesPerRecord: Double
  /// Of each plane, by name; frames and checksums are the rest.
  var planes: [String: Double]
  /// 4 k + 4; with full rows 2 C, as 16-bit numbers take.
  var plainBytes: Int
  /// What the cache learned before its first block, and the bytes of that.
  var calibration: String
  var calibrationBytes: Int
  /// The records of the job it decided for, and its bytes spread over them.
  var jobRecords: Int
  var calibrationBytesPerRecord: Double
  var tail: RateTail?
  /// Heads selected and errors measured, over all C classes, on one core.
  var measuredPerSecond: Double
  /// Records written, on one core.
  var encodedPerSecond: Double
  var decodedPerSecond: Double
  /// |g - g'| / |g| of each loss, g from the full rows, g' from head and tail mass.
  var gradientErrors: [String: Double]
  var certificate: [CertificateCheck]
  /// The largest relative difference between the certificate and the direct measurement.
  var certificateDifference: Double
}

private let seed: UInt64 = 1

func rateBenchmark(_ settings: RateSettings, into report: inout BenchmarkReport) throws {
  let rows = try TeacherRows(
    folder: settings.folder, name: settings.teacher, form: settings.form, limit: settings.samples)
  // Full gradients of every batch and loss are kept.
  let batches = settings.batches ?? (rows.classes > 4096 ? 2 : 8)
  let start = CPUTime.now
  let study = try GradientStudy(rows, batches: batches, seed: seed)
  var results: [RateResult] = []
  for k in settings.heads where k <= rows.classes {
    results.append(try rate(rows, k: k, settings, study))
  }
  let jobRecords = settings.jobRecords ?? rows.count
  report.setup = [
    "batches": "\(study.chosen.count / GradientStudy.batchRows) of \(GradientStudy.batchRows)",
    "busy": start.busyCores,
    "calibration": "from a third of the blocks, its lists chosen as for \(jobRecords) records",
    "rows": "\(rows.views) views of \(rows.samples) samples, \(rows.classes) classes",
    "seed": "\(seed)",
    "student": String(
      format: "teacher's logits and noise of %.2f nat, agrees on %.1f %%", study.student.distance,
      100 * study.student.agreement),
    "teacher": rows.facts.teacher,
    "teacher's sureness": String(
      format: "mean p1 %.3f, agrees with the label on %.1f %%", rows.facts.meanP1,
      100 * rows.facts.agreementWithLabel),
    "threads": "1, its CPU time",
    "values": rows.form == .logits ? "logits" : "logits minus their log-sum-exp",
    "what the rows are": rows.facts.how,
  ]
  report.rates = results
  report.rows = results.map {
    .lessIsBetter(
      "\(rows.name) k=\($0.k)" + ($0.tail == nil ? "" : " and tail")
        + (settings.ranking == nil ? "" : " and ranking"), ours: $0.bytesPerRecord,
      peer: Double($0.plainBytes),
      unit: "B/record")
  }
}

private func rate(
  _ rows: TeacherRows, k: Int, _ settings: RateSettings, _ study: GradientStudy
) throws -> RateResult {
  let folder =
    settings.keep.map { "\($0)/\(rows.name)-\(k)" }
    ?? FileManager.default.temporaryDirectory.path + "/logitcache-bench-\(getpid())-\(k)"
  defer { if settings.keep == nil { try? FileManager.default.removeItem(atPath: folder) } }
  if FileManager.default.fileExists(atPath: folder) {
    throw Problem(.cannotCreate, "\(folder) exists: remove it, or keep caches elsewhere")
  }
  let jobRecords = settings.jobRecords ?? rows.count
  let cache = try RateCache(
    rows, k: k, tail: settings.tail, ranking: settings.ranking, jobRecords: jobRecords,
    folder: folder)
  let (records, direct) = try cache.read(rows, chosen: study.chosen)
  let reader = cache.reader
  let checks = direct.beside(try reader.certificate())
  let count = Double(rows.count)
  let seen = Set(RateCache.calibrationKeys(reader.manifest))
  var (stored, unseen, unseenRows) = (0, 0, 0)
  try reader.forEachBlock { key, info in
    stored += info.storedBytes
    if seen.contains(key) { return }
    unseen += info.storedBytes
    unseenRows += info.rows
  }
  let planes = Dictionary(
    uniqueKeysWithValues: try reader.sizeByPlane().map { ($0.name, Double($0.storedBytes) / count) }
  )
  let tail = try reader.axes.map { axes in
    RateTail(
      step: settings.tail?.step ?? 0, axes: axes.count, axesBytes: axes.byteCount,
      bytesPerRecord: (planes["coefficients"] ?? 0) + (planes["offsets"] ?? 0),
      rebuiltPerSecond: Double(records.count) / cache.rebuildSeconds(records),
      gradientErrors: try study.errors(of: records, axes: axes))
  }
  return RateResult(
    k: k, records: rows.count, blockRows: reader.manifest.encoding.blockRows,
    bytesPerRecord: Double(stored) / count,
    unseenBytesPerRecord: Double(unseen) / Double(max(1, unseenRows)),
    fileBytesPerRecord: Double(reader.fileBytes) / count,
    planes: planes,
    plainBytes: tail == nil && settings.ranking == nil ? 4 * k + 4 : 2 * rows.classes,
    calibration: cache.calibration.summary,
    calibrationBytes: cache.calibration.bytes.count, jobRecords: jobRecords,
    calibrationBytesPerRecord: Double(cache.calibration.bytes.count) / Double(jobRecords),
    tail: tail,
    measuredPerSecond: count / cache.measureSeconds, encodedPerSecond: count / cache.packSeconds,
    decodedPerSecond: count / (try cache.decodeSeconds()),
    gradientErrors: try study.errors(of: records, axes: nil), certificate: checks,
    certificateDifference: checks.map(\.difference).max() ?? 0)
}

extension RateResult {
  /// The result as aligned text of a few lines.
  var text: String {
    let fields = planes.sorted { $0.key < $1.key }
      .map { String(format: "%@ %.2f", $0.key, $0.value) }
    return String(
      format:
        "k=%-4d %8.2f B/record (%.2f of %d; unseen blocks %.2f, file %.2f), %.0f measured/s, %.0f encoded/s, %.0f decoded/s\n",
      k, bytesPerRecord, bytesPerRecord / Double(plainBytes), plainBytes, unseenBytesPerRecord,
      fileBytesPerRecord,
      measuredPerSecond, encodedPerSecond,
      decodedPerSecond)
      + String(
        format: "         learned: %@, %d bytes, %.2f B/record of %d\n", calibration,
        calibrationBytes, calibrationBytesPerRecord, jobRecords)
      + "         bytes: \(fields.joined(separator: ", "))\n"
      + "         gradient errors in %: \(Self.text(gradientErrors))\n"
      + tailText
      + String(format: "         certificate differs by %.1e at most", certificateDifference)
  }

  private var tailText: String {
    guard let tail else { return "" }
    return String(
      format:
        "         tail: step %g, %d axes in %d bytes, %.2f B/record of the above, %.0f rebuilt/s\n",
      tail.step, tail.axes, tail.axesBytes, tail.bytesPerRecord, tail.rebuiltPerSecond)
      + "         gradient errors of full rows in %: \(Self.text(tail.gradientErrors))\n"
  }

  private static func text(_ errors: [String: Double]) -> String {
    GradientStudy.losses.compactMap { loss in
      errors[loss.0].map { String(format: "%@ %.3f", loss.0, 100 * $0) }
    }.joined(separator: ", ")
  }
}
