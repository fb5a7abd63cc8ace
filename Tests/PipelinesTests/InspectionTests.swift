import Basics
import DataSets
import Foundation
import LogitCache
import Losses
import Pipelines
import Reports
import Schemas
import TestSupport
import Testing
import Views

/// The report of a cache, as `inspect --json` prints it.
private func inspect(_ workshop: Workshop, _ cache: String = "cache") throws -> JSONValue {
  let report = try Inspection(of: CacheReader(path: workshop.folder.file(cache)))
  let value = try parseJSON(readableJSON(report).utf8, source: "the report")
  try Schemas.validate(value, against: .inspect, source: "the report")
  return value
}

/// One decoded record, with its probabilities at T = 1 worked out plainly.
private struct Record {
  var sample: Int
  var view: Int
  var label: Int
  var rank: Int
  var best: Int
  var headProbabilities: [Double]
  var labelProbability: Double
  /// Mass outside the head at each planned temperature.
  var tailMass: [Double]
  var entropy: Double
}

/// Every record of a cache.
private func records(of reader: CacheReader) throws -> [Record] {
  var batch = reader.makeBatch()
  return try reader.manifest.blockKeys.flatMap { key in
    try reader.decode(view: key.view, block: key.block, into: &batch)
    return (0..<batch.count).map { row in
      let first = reader.manifest.samples(of: key).lowerBound
      return record(batch, row, sample: first + row, view: key.view)
    }
  }
}

private func record(_ batch: TeacherBatch, _ row: Int, sample: Int, view: Int) -> Record {
  let (k, planned) = (batch.k, batch.tailTemperatures.count)
  let gaps = (0..<k).map { Double(batch.gaps[row * k + $0]) }
  // tail mass / head mass at T; T = 1 is the first planned temperature.
  let ratios = (0..<planned).map { exp(Double(batch.logTailRatios[row * planned + $0])) }
  let total = gaps.reduce(0) { $0 + exp(-$1) } * (1 + (ratios.first ?? 0))
  let head = gaps.map { exp(-$0) / total }
  let tail = ratios.first.map { $0 / (1 + $0) } ?? 0
  let each = tail / Double(max(batch.classes - k, 1))
  let tailEntropy = tail > 0 ? -tail * log(each) : 0
  return Record(
    sample: sample, view: view, label: Int(batch.labels[row]), rank: Int(batch.labelRanks[row]),
    best: Int(batch.classIDs[row * k]), headProbabilities: head,
    labelProbability: exp(-Double(batch.labelGaps[row])) / total,
    tailMass: ratios.map { $0 / (1 + $0) },
    entropy: head.reduce(tailEntropy) { $0 - $1 * log($1) })
}

private func mean(_ values: [Double]) -> Double {
  values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
}

private func isNear(_ found: Double?, _ expected: Double, within: Double = 1e-9) -> Bool {
  found.map { abs($0 - expected) <= within } ?? false
}

@Suite struct InspectionTests {
  @Test(arguments: [(4, 4, 2100, 3), (7, 3, 300, 2), (6, 6, 300, 1), (6, 1, 300, 2)])
  func `the numbers are those of a plain count over all records`(
    classes: Int, k: Int, samples: Int, views: Int
  ) throws {
    let workshop = try Workshop(samples: samples, classes: classes)
    var job = workshop.job(views: views)
    job.kept.k = k
    let made = try precompute(job)
    let report = try inspect(workshop)
    let reader = try CacheReader(path: job.making.cache)
    let records = try records(of: reader)
    #expect(records.count == samples * views)

    #expect(report["sealed"]?.bool == true)
    #expect(report["cacheDigest"]?.string == made.cacheDigest?.description)
    #expect(report["fingerprint"]?.string == reader.fingerprint.description)
    #expect(report["records"]?.integer == records.count)
    #expect(report["missingBlocks"]?.integer == 0)
    #expect(report["classes"]?.integer == classes && report["k"]?.integer == k)
    #expect(report["views"]?.integer == views && report["seed"]?.integer == 1)
    #expect(report["bytes"]?.integer == (try Files.read(job.making.cache + "/data.mdb").count))

    func share(_ count: Int) -> Double { Double(count) / Double(records.count) }
    #expect(isNear(report["teacherTop1"]?.double, share(records.count { $0.rank == 0 })))
    #expect(isNear(report["teacherTop5"]?.double, share(records.count { $0.rank < 5 })))
    let mass = (1...k).map { j in mean(records.map { $0.headProbabilities.prefix(j).reduce(0, +) })
    }
    for j in 0..<k { #expect(isNear(report["cumulativeMass"]?[j]?.double, mass[j])) }
    checkTails(report, records, hasTail: k < classes)
    checkSummary(report["entropy"], records.map(\.entropy), upTo: log(Double(classes)))
    checkSummary(report["confidence"], records.map { $0.headProbabilities[0] }, upTo: 1)
    checkViewAgreement(report, records, views: views)
    checkClasses(report, records, classes: classes)
    try checkSizes(report, reader, records.count)
    checkCertificate(report, try reader.certificate(), records.count)
  }

  private func checkTails(_ report: JSONValue, _ records: [Record], hasTail: Bool) {
    #expect(report["tailMass"]?.array?.count == (hasTail ? 3 : 0))
    for (index, temperature) in ["1", "2", "4"].enumerated() where hasTail {
      let row = report["tailMass"]?[index]
      let masses = records.map { $0.tailMass[index] }
      #expect(row?["temperature"]?.string == temperature)
      #expect(isNear(row?["mean"]?.double, mean(masses)))
      #expect(isNear(row?["max"]?.double, masses.max()!))
    }
  }

  /// Quantiles are right to a 2,000th of the range.
  private func checkSummary(_ summary: JSONValue?, _ values: [Double], upTo upper: Double) {
    let sorted = values.sorted()
    #expect(isNear(summary?["mean"]?.double, mean(values)))
    for (name, part) in [("p1", 0.01), ("p10", 0.1), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
      let rank = max(1, Int((Double(values.count) * part).rounded(.up)))
      #expect(isNear(summary?[name]?.double, sorted[rank - 1], within: upper / 2000), "\(name)")
    }
  }

  private func checkViewAgreement(_ report: JSONValue, _ records: [Record], views: Int) {
    guard views > 1 else {
      #expect(report["viewAgreement"] == nil)
      return
    }
    let first = Dictionary(
      uniqueKeysWithValues: records.filter { $0.view == 0 }.map { ($0.sample, $0.best) })
    let others = records.filter { $0.view > 0 }
    let agreeing = others.count { first[$0.sample] == $0.best }
    #expect(isNear(report["viewAgreement"]?.double, Double(agreeing) / Double(others.count)))
  }

  private func checkClasses(_ report: JSONValue, _ records: [Record], classes: Int) {
    #expect(report["perClass"]?.array?.count == classes)
    for label in 0..<classes {
      let row = report["perClass"]?[label]
      let own = records.filter { $0.label == label }
      let wrong = own.filter { $0.best != label }
      #expect(row?["name"]?.string == "class \(label)")
      #expect(row?["records"]?.integer == own.count)
      #expect(isNear(row?["accuracy"]?.double, 1 - Double(wrong.count) / Double(own.count)))
      #expect(isNear(row?["meanLabelProbability"]?.double, mean(own.map(\.labelProbability))))
      let counts = (0..<classes).map { id in wrong.count { $0.best == id } }
      let worst = counts.max()! > 0 ? "class \(counts.firstIndex(of: counts.max()!)!)" : nil
      #expect(row?["mostConfusedWith"]?.string == worst)
    }
  }

  private func checkSizes(_ report: JSONValue, _ reader: CacheReader, _ records: Int) throws {
    var stored = 0
    var planes: [String: Int] = [:]
    try reader.forEachBlock { _, info in
      stored += info.storedBytes
      for plane in info.planes { planes[plane.name, default: 0] += plane.storedBytes }
    }
    #expect(isNear(report["bytesPerRecord"]?.double, Double(stored) / Double(records)))
    #expect(report["planes"]?.array?.count == planes.count)
    for plane in report["planes"]?.array ?? [] {
      let bytes = planes[plane["plane"]?.string ?? ""]
      #expect(plane["storedBytes"]?.integer == bytes)
      #expect(isNear(plane["bytesPerRecord"]?.double, Double(bytes ?? -1) / Double(records)))
    }
  }

  private func checkCertificate(
    _ report: JSONValue, _ certificate: Certificate, _ records: Int
  ) {
    let found = report["certificate"]
    #expect(found?["records"]?.integer == records)
    #expect(found?["atTemperature"]?.array?.count == 3)
    for (index, expected) in certificate.atTemperature.enumerated() {
      let variation = found?["atTemperature"]?[index]?["totalVariation"]
      #expect(isNear(variation?["mean"]?.double, expected.totalVariation.mean))
      #expect(isNear(variation?["max"]?.double, expected.totalVariation.max))
    }
    let kept = Double(certificate.topOneAgreements) / Double(records)
    #expect(isNear(found?["topOneAgreement"]?.double, kept))
  }

  @Test func `an unfinished cache can be inspected, and says how much is missing`() throws {
    let workshop = try Workshop(samples: 2100)
    try precompute(workshop.job("whole", views: 2))
    let key = BlockKey(view: 1, block: 0)
    try workshop.begin("begun", like: "whole", with: [key])
    let report = try inspect(workshop, "begun")
    #expect(report["sealed"]?.bool == false)
    #expect(report["cacheDigest"] == nil)
    #expect(report["records"]?.integer == 2048)
    #expect(report["missingBlocks"]?.integer == 3)
    let text = try Inspection(of: CacheReader(path: workshop.folder.file("begun"))).text
    #expect(text.contains("not sealed, 3 blocks missing"))
  }

  @Test func `a cache that was only begun can be inspected`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job("whole", views: 2))
    try workshop.begin("begun", like: "whole", with: [])
    let report = try inspect(workshop, "begun")
    #expect(report["records"]?.integer == 0)
    #expect(report["missingBlocks"]?.integer == 2)
  }

  @Test func `the text names what the cache is and every class`() throws {
    let workshop = try Workshop()
    let made = try precompute(workshop.job())
    let text = try Inspection(of: CacheReader(path: workshop.folder.file("cache"))).text
    for expected in [
      "sealed", made.cacheDigest!.description, "data, 300 samples", "native mlp-16",
      "pad-crop, flip, seed 1", "600 = 300 samples x 2 views, k = 4 of 4 classes", "class 3",
      "certificate", "total variation, T = 4", "entropy",
    ] {
      #expect(text.contains(expected), "\(expected)")
    }
  }

  @Test func `a record is shown with its picture, its classes and its label`() throws {
    let workshop = try Workshop(classes: 6)
    var job = workshop.job()
    job.kept.k = 3
    try precompute(job)
    let reader = try CacheReader(path: job.making.cache)
    let augmenter = try matchingAugmenter(for: reader, openDataSet(workshop.data))
    let text = try describeRecord(of: reader, sample: 5, view: 1, augmenter: augmenter)
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines[0] == "sample 5, view 1")
    #expect(lines[1..<9].allSatisfy { $0.count == 16 && $0.allSatisfy { " ░▒▓█".contains($0) } })
    let label = workshop.pictures.labels[5]
    #expect(lines[9].hasPrefix("label class \(label) (\(label)), rank "))
    let own = try records(of: reader).first { $0.sample == 5 && $0.view == 1 }!
    #expect(lines[11].contains(String(format: "%.6f", own.headProbabilities[0])))
    #expect(lines[11].contains("class \(own.best)"))
    #expect(text.contains("the other 3 classes together"))
    let plain = try describeRecord(of: reader, sample: 5, view: 1, augmenter: nil)
    #expect(plain.split(separator: "\n").count == lines.count - 1 - 8)
  }

  @Test(arguments: [(-1, 0), (300, 0), (0, 2), (0, -1)])
  func `a record that is not there is refused by what is there`(sample: Int, view: Int) throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    let reader = try CacheReader(path: workshop.folder.file("cache"))
    let problem = #expect(throws: Problem.self) {
      try describeRecord(of: reader, sample: sample, view: view, augmenter: nil)
    }
    #expect(problem?.kind == .usage)
    #expect(problem?.message.contains("samples 0..<300 and views 0..<2") == true)
  }
}
