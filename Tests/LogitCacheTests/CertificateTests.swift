import Foundation
import LogitCache
import Losses
import TestSupport
import Testing

/// The errors of one record, computed directly from a full row and the decoded record.
struct DirectErrors {
  var totalVariation = 0.0
  var kdGradient = 0.0
  var dropped = 0.0
  var angle = 0.0

  init(_ row: [Float], _ batch: TeacherBatch, _ index: Int, temperature: Double, _ t: Int) {
    let k = batch.k
    let z = row.map { Double($0) / temperature }
    let normaliser = logSumExp(z, 1)
    let p = z.map { exp($0 - normaliser) }
    let ids = (0..<k).map { Int(batch.classIDs[index * k + $0]) }
    let q = rebuilt(batch, index, temperature, t, ids)
    totalVariation = zip(p, q).reduce(0) { $0 + abs($1.0 - $1.1) } / 2
    kdGradient = temperature * zip(p, q).reduce(0) { $0 + pow($1.0 - $1.1, 2) }.squareRoot()
    let placed = Set(ids + [Int(batch.labels[index])])
    dropped = p.indices.filter { !placed.contains($0) }.reduce(0) { $0 + p[$1] }
    angle = 1 - correlation(p, q)
  }
}

/// What a reader takes the distribution to be: quantised head, stored tail mass spread evenly.
private func rebuilt(
  _ batch: TeacherBatch, _ index: Int, _ temperature: Double, _ t: Int, _ ids: [Int]
) -> [Double] {
  let k = batch.k
  let weights = (0..<k).map { exp(-Double(batch.gaps[index * k + $0]) / temperature) }
  let sum = weights.reduce(0, +)
  var tail = 0.0
  if k < batch.classes {
    let ratio = Double(batch.logTailRatios[index * batch.tailTemperatures.count + t])
    tail = 1 / (1 + exp(-ratio))
  }
  var q = [Double](
    repeating: k < batch.classes ? tail / Double(batch.classes - k) : 0, count: batch.classes)
  for rank in 0..<k { q[ids[rank]] = weights[rank] / sum * (1 - tail) }
  return q
}

private func correlation(_ a: [Double], _ b: [Double]) -> Double {
  let (meanA, meanB) = (a.reduce(0, +) / Double(a.count), b.reduce(0, +) / Double(b.count))
  let covariance = zip(a, b).reduce(0) { $0 + ($1.0 - meanA) * ($1.1 - meanB) }
  let varianceA = a.reduce(0) { $0 + pow($1 - meanA, 2) }
  let varianceB = b.reduce(0) { $0 + pow($1 - meanB, 2) }
  if varianceA < 1e-24 { return 1 }
  if varianceB < 1e-24 { return 0 }
  return covariance / (varianceA * varianceB).squareRoot()
}

@Suite struct CertificateTests {
  @Test(arguments: [(2, 1), (10, 10), (10, 3), (100, 20), (1000, 10)])
  func `the certificate is what a direct comparison finds`(classes: Int, k: Int) throws {
    let job = Job(classes: classes, k: k, samples: 30, views: 2, seed: UInt64(classes + k))
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let reader = try CacheReader(path: folder.path)
    let certificate = try reader.certificate()
    #expect(certificate.records == 60)
    #expect(certificate.topOneAgreements == 60)
    #expect(certificate.orderAgreements == 60)
    for (t, errors) in certificate.atTemperature.enumerated() {
      let direct = try directErrors(job, reader, errors.temperature.value, t)
      compare(errors.totalVariation, direct.map(\.totalVariation), "total variation")
      compare(errors.kdGradientError, direct.map(\.kdGradient), "KD")
      compare(errors.pldDroppedWeight, direct.map(\.dropped), "PLD")
      compare(errors.distAngle, direct.map(\.angle), "DIST")
    }
  }

  private func directErrors(
    _ job: Job, _ reader: CacheReader, _ temperature: Double, _ t: Int
  ) throws -> [DirectErrors] {
    var batch = reader.makeBatch()
    return try job.manifest.blockKeys.flatMap { key in
      try reader.decode(view: key.view, block: key.block, into: &batch)
      return job.manifest.samples(of: key).enumerated().map { row, sample in
        DirectErrors(
          job.row(view: key.view, sample: sample), batch, row, temperature: temperature, t)
      }
    }
  }

  private func compare(_ statistic: ErrorStatistic, _ direct: [Double], _ name: String) {
    let tolerance = 1e-9
    #expect(statistic.count == direct.count, "\(name)")
    #expect(
      abs(statistic.mean - direct.reduce(0, +) / Double(direct.count)) <= tolerance, "\(name)")
    #expect(abs(statistic.max - direct.max()!) <= tolerance, "\(name)")
    let sorted = direct.sorted()
    let exact = sorted[Int((Double(sorted.count) * 0.5).rounded(.up)) - 1]
    #expect(statistic.quantile(0.5) >= exact - tolerance, "\(name)")
    #expect(statistic.quantile(0.5) <= exact * 1.25 + 1e-7, "\(name)")
  }

  @Test(arguments: [(10, 10), (100, 5)])
  func `missing energy compares logits with their rebuilt values`(classes: Int, k: Int) throws {
    let job = Job(classes: classes, k: k, samples: 20)
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let reader = try CacheReader(path: folder.path)
    var batch = reader.makeBatch()
    var direct: [Double] = []
    for key in job.manifest.blockKeys {
      try reader.decode(view: 0, block: key.block, into: &batch)
      for (row, sample) in job.manifest.samples(of: key).enumerated() {
        direct.append(
          missingEnergy(job.row(view: 0, sample: sample), batch, row, job.manifest.encoding))
      }
    }
    let statistic = try reader.certificate().mseMissingEnergy
    let mean = direct.reduce(0, +) / Double(direct.count)
    #expect(abs(statistic.mean - mean) <= 1e-6 * max(1, mean))
    #expect(abs(statistic.max - direct.max()!) <= 1e-6 * max(1, direct.max()!))
  }

  @Test func `merging in key order gives the same bits however blocks arrived`() throws {
    let job = Job(classes: 20, k: 4, samples: 64)
    let (a, b) = (ScratchFolder(), ScratchFolder())
    try job.write(to: a.path)
    let writer = try CacheWriter(path: b.path, manifest: job.manifest, labels: job.labels)
    for block in try job.encodeAll().reversed() { try writer.append([block]) }
    _ = try writer.seal()
    #expect(
      try CacheReader(path: a.path).certificate() == CacheReader(path: b.path).certificate())
  }
}
