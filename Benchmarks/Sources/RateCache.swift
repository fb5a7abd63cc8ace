import Basics
import Foundation
import LogitCache
import Losses

/// A finished cache of a teacher's rows in a scratch folder, and what making it took.
struct RateCache {
  let reader: CacheReader
  /// Of this thread, measuring the rows' errors included; reading the rows is not.
  private(set) var encodeSeconds = 0.0

  /// Writes all rows, block by block.
  init(_ rows: TeacherRows, k: Int, folder: String) throws {
    let manifest = Self.manifest(rows, k: k)
    let (encoder, writer) = try Self.begin(manifest, rows, folder: folder)
    for key in manifest.blockKeys {
      let samples = manifest.samples(of: key)
      let logits = rows.copy(view: key.view, samples: samples)
      let labels = Array(rows.labels[samples])
      let start = threadSeconds()
      let block = try encoder.encode(
        logits: logits.span, labels: labels, view: key.view, block: key.block,
        firstSample: samples.lowerBound, viewDigest: Digest(of: "\(key)"))
      encodeSeconds += threadSeconds() - start
      try writer.append([block])
    }
    _ = try writer.seal()
    reader = try CacheReader(path: folder)
  }

  /// How records are stored; what a codec learns from rows before the first block belongs here.
  private static func begin(
    _ manifest: Manifest, _ rows: TeacherRows, folder: String
  ) throws -> (BlockEncoder, CacheWriter) {
    (try BlockEncoder(manifest: manifest), try CacheWriter(path: folder, manifest: manifest))
  }

  private static func manifest(_ rows: TeacherRows, k: Int) -> Manifest {
    Manifest(
      dataSet: DataSetIdentity(
        name: rows.name, fingerprint: Digest(of: rows.name), samples: rows.samples,
        classNames: (0..<rows.classes).map { "\($0)" }),
      recipe: RecipeIdentity(digest: Digest(of: rows.name), content: .string(rows.name)),
      seed: 1, views: rows.views, teacher: .string(rows.facts.teacher),
      encoding: Encoding(classes: rows.classes, k: k))
  }

  /// Seconds of this thread to decode every block once: the least of three passes.
  func decodeSeconds() throws -> Double {
    var batch = reader.makeBatch()
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

  /// The records of some rows (view times n plus sample), in that order, and all records' errors
  /// measured against the full rows.
  func read(
    _ rows: TeacherRows, chosen: [Int]
  ) throws -> (records: TeacherBatch, certificate: DirectCertificate) {
    let manifest = reader.manifest
    let places = Dictionary(uniqueKeysWithValues: zip(chosen, chosen.indices))
    var direct = DirectCertificate(manifest.encoding)
    var records = reader.makeBatch()
    records.resize(to: chosen.count)
    var batch = reader.makeBatch()
    for key in manifest.blockKeys {
      try reader.decode(view: key.view, block: key.block, into: &batch)
      for (row, sample) in manifest.samples(of: key).enumerated() {
        let index = key.view * rows.samples + sample
        direct.add(batch, row, row: rows.copy(row: index).span)
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
