import Basics
import Foundation
import LogitCache
import Losses
import TestSupport
import Testing

/// Full rows, and the sparse ones that somebody kept of them.
private struct Case {
  var job: Job
  /// Ids kept of a row, k or more.
  var width: Int

  init(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let classes = Int.random(in: 1...60, using: &generator)
    width = Int.random(in: 1...classes, using: &generator)
    let k =
      Bool.random(using: &generator) ? width : Int.random(in: 1...width, using: &generator)
    job = Job(
      classes: classes, k: k, samples: Int.random(in: 1...30, using: &generator), views: 2,
      seed: seed, temperatures: SparseMeter.temperatures(k: k, classes: classes))
  }

  /// What is kept of a block.
  func rows(_ key: BlockKey) -> SparseRows {
    var rows = SparseRows(
      width: width, ids: [], logits: [], logSumExps: [], rounding: 0x1p-44)
    for sample in job.manifest.samples(of: key) {
      let row = job.row(view: key.view, sample: sample)
      let order = row.indices.sorted { row[$0] > row[$1] || (row[$0] == row[$1] && $0 < $1) }
      let label = Int(job.label(sample: sample))
      rows.ids += order.prefix(width)
      rows.logits += order.prefix(width).map { row[$0] }
      rows.logSumExps.append(logSumExp(row.map { Double($0) }, 1))
      rows.labelLogits.append(row[label])
      rows.labelRanks.append(order.firstIndex(of: label)!)
    }
    return rows
  }

  /// Writes the cache of the sparse rows.
  func write(to path: String) throws -> CacheReader {
    var meter = SparseMeter(job.manifest)
    let encoder = try job.encoder()
    let writer = try CacheWriter(path: path, manifest: job.manifest, labels: job.labels)
    for key in job.manifest.blockKeys {
      let labels = Array(job.labels[job.manifest.samples(of: key)])
      let block = try meter.measure(rows(key), labels: labels, key, viewDigest: .unknownInputs)
      try writer.append([encoder.pack(block)])
    }
    _ = try writer.seal()
    return try CacheReader(path: path)
  }
}

@Suite struct SparseTests {
  private let folder = ScratchFolder()

  @Test(arguments: UInt64(1)...60)
  func `the certificate of sparse rows is an upper bound of the error on the full ones`(
    seed: UInt64
  ) throws {
    let test = Case(seed: seed)
    let cache = try test.write(to: folder.file("sparse"))
    #expect(try verifyCache(path: cache.path).missingBlocks == 0)
    try expectBounds(of: cache, "seed \(seed)") { view, sample in
      (test.job.row(view: view, sample: sample), Int(test.job.label(sample: sample)))
    }
    let certificate = try cache.certificate()
    #expect(certificate.orderAgreements == certificate.records)
  }

  @Test(arguments: UInt64(1)...30)
  func `records of sparse rows are those of the full ones`(seed: UInt64) throws {
    let test = Case(seed: seed)
    let sparse = try test.write(to: folder.file("sparse"))
    try test.job.write(to: folder.file("full"))
    let full = try CacheReader(path: folder.file("full"))
    var (one, two) = (sparse.makeBatch(), full.makeBatch())
    for key in test.job.manifest.blockKeys {
      try sparse.decode(view: key.view, block: key.block, into: &one)
      try full.decode(view: key.view, block: key.block, into: &two)
      #expect(one.classIDs == two.classIDs && one.gaps == two.gaps, "seed \(seed), \(key)")
      #expect(one.largestLogits == two.largestLogits && one.labels == two.labels)
      #expect(one.labelGaps == two.labelGaps && one.labelRanks == two.labelRanks)
      for (ratio, exact) in zip(one.logTailRatios, two.logTailRatios) {
        // What rounding of the log-sum-exp hides is stored as that much.
        #expect(ratio >= exact - 1 / 64 && (exact < -20 || ratio <= exact + 1 / 64), "seed \(seed)")
      }
    }
  }

  /// A change of rows, and what the refusal says.
  struct Fault: CustomTestStringConvertible, Sendable {
    var testDescription: String
    var change: @Sendable (inout SparseRows) -> Void
  }

  static let faults = [
    Fault(testDescription: "id 1 is 4, the classes are 0..<4") { $0.ids[4] = 4 },
    Fault(testDescription: "id 0 is -1") { $0.ids[3] = -1 },
    Fault(testDescription: "class 2 is among its ids twice") { $0.ids[4] = 2 },
    Fault(testDescription: "the value of class 1 is nan") { $0.logits[4] = .nan },
    Fault(testDescription: "the value of class 2 is 1000000.0") { $0.logits[3] = 1e6 },
    Fault(testDescription: "value 2 is 2.0, after 1.0: ids and values must be in descending") {
      $0.logits[5] = 2
    },
    Fault(testDescription: "the log-sum-exp is nan") { $0.logSumExps[1] = .nan },
    Fault(testDescription: "less than") { $0.logSumExps[1] = 3.1 },
    Fault(testDescription: "1 classes no better than the last value 0.0 cannot have that") {
      $0.logSumExps[1] = 3.6
    },
    Fault(testDescription: "its label 3 is not among its 3 ids: give --label-logits") {
      $0.labelLogits = []
    },
    Fault(testDescription: "has the logit 0.5, the last value is 0.0") { $0.labelLogits[1] = 0.5 },
    Fault(testDescription: "has the rank 1, it must be in 3..<4") { $0.labelRanks[1] = 1 },
    Fault(testDescription: "that is more than the log-sum-exp leaves") {
      $0.logSumExps[1] = log(exp(3) + exp(1) + 1 + exp(-3))
    },
  ]

  @Test(arguments: faults)
  func `a row that contradicts itself is refused with sample, view and numbers`(
    fault: Fault
  ) throws {
    let job = Job(classes: 4, k: 3, samples: 2, temperatures: [1])
    var meter = SparseMeter(job.manifest)
    // Rows 4, 2, 0, -1 and 3, 1, 0, -1.
    var rows = SparseRows(
      width: 3, ids: [0, 1, 2, 2, 1, 0], logits: [4, 2, 0, 3, 1, 0],
      logSumExps: [logSumExp([4, 2, 0, -1], 1), logSumExp([3, 1, 0, -1], 1)], rounding: 0x1p-44,
      labelLogits: [4, -1], labelRanks: [0, 3])
    let key = BlockKey(view: 0, block: 0)
    _ = try meter.measure(rows, labels: [0, 3], key, viewDigest: .unknownInputs)
    fault.change(&rows)
    let found = problem {
      _ = try meter.measure(rows, labels: [0, 3], key, viewDigest: .unknownInputs)
    }
    #expect(found.kind == .corrupt && found.message.hasPrefix("sample 1, view 0: "), "\(found)")
    #expect(found.message.contains(fault.testDescription), "\(found)")
  }

  @Test func `float32 log-sum-exps may round below the sum of their own values`() throws {
    let job = Job(classes: 3, k: 2, samples: 1, temperatures: [1])
    var meter = SparseMeter(job.manifest)
    let sum = logSumExp([12, 3], 1)
    let rows = SparseRows(
      width: 2, ids: [0, 1], logits: [12, 3], logSumExps: [sum - 4e-6], rounding: 0x1p-20)
    let block = try meter.measure(
      rows, labels: [0], BlockKey(view: 0, block: 0), viewDigest: .unknownInputs)
    let dropped = block.certificate.atTemperature[0].pldDroppedWeight.max
    #expect(dropped > 4e-6 && dropped < 1e-4, "\(dropped)")
  }
}
