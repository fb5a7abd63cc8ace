import Basics
import Foundation
import LogitCache
import Losses
import TestSupport
import Testing

/// Random shapes, from tiny to wider than a byte of class ids.
private func shape(_ seed: UInt64) -> Job {
  var generator = SeededGenerator(seed: seed)
  let classes = [2, 3, 10, 17, 100, 257, 1000].randomElement(using: &generator)!
  let k = [1, classes, Int.random(in: 1...classes, using: &generator)]
    .randomElement(using: &generator)!
  let samples = Int.random(in: 1...40, using: &generator)
  let rows = Int.random(in: 1...16, using: &generator)
  return Job(
    classes: classes, k: k, samples: samples, views: 2, blockRows: rows, seed: seed,
    temperatures: seed.isMultiple(of: 5) ? [1, Temperature(3, over: 2)!, 20] : [1, 2, 4])
}

@Suite struct RecordTests {
  @Test(arguments: UInt64(1)...40)
  func `what is read back is the plain quantisation of what was written`(seed: UInt64) throws {
    let job = shape(seed)
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let reader = try CacheReader(path: folder.path)
    var batch = reader.makeBatch()
    for key in job.manifest.blockKeys {
      try reader.decode(view: key.view, block: key.block, into: &batch)
      let samples = job.manifest.samples(of: key)
      #expect(batch.count == samples.count)
      for (row, sample) in samples.enumerated() {
        compare(batch, row, job, key.view, sample, "seed \(seed), \(key), sample \(sample)")
      }
    }
  }

  private func compare(
    _ batch: TeacherBatch, _ row: Int, _ job: Job, _ view: Int, _ sample: Int, _ place: String
  ) {
    let encoding = job.manifest.encoding
    let k = encoding.k
    let label = Int(job.label(sample: sample))
    let wanted = ReferenceRecord(job.row(view: view, sample: sample), label: label, encoding)
    let ids = batch.classIDs[row * k..<(row + 1) * k].map { Int($0) }
    let gaps = batch.gaps[row * k..<(row + 1) * k].map { Double($0) }
    #expect(ids == wanted.ids, "\(place)")
    #expect(gaps == wanted.gaps, "\(place)")
    #expect(Double(batch.largestLogits[row]) == wanted.largest, "\(place)")
    #expect(Int(batch.labels[row]) == label, "\(place)")
    #expect(Int(batch.labelRanks[row]) == wanted.labelRank, "\(place)")
    #expect(Double(batch.labelGaps[row]) == wanted.labelGap, "\(place)")
    let ratios = batch.logTailRatios[
      row * wanted.logTailRatios.count..<(row + 1) * wanted.logTailRatios.count]
    let halfStep = 0.5 / Double(encoding.tailStepsPerNat)
    for (stored, exact) in zip(ratios, wanted.logTailRatios) {
      #expect(abs(Double(stored) - exact) <= halfStep + 1e-6 + abs(exact) * 1e-6, "\(place)")
    }
  }

  @Test(arguments: UInt64(50)...60)
  func `raw logits come back within half a step and half a step of the largest`(seed: UInt64) throws
  {
    let job = shape(seed)
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let reader = try CacheReader(path: folder.path)
    var batch = reader.makeBatch()
    try reader.decode(view: 1, block: 0, into: &batch)
    let k = job.manifest.encoding.k
    for row in 0..<batch.count {
      let teacher = job.row(view: 1, sample: row)
      for rank in 0..<k {
        let id = Int(batch.classIDs[row * k + rank])
        let stored =
          Double(batch.largestLogits[row]) - Double(batch.gaps[row * k + rank])
        #expect(abs(stored - Double(teacher[id])) <= 1.0 / 32, "seed \(seed), row \(row)")
      }
    }
  }

  @Test(arguments: [(20_000, 100), (20_000, 129), (20_000, 20_000), (70_000, 3)])
  func `wide rows select the same head as sorting does`(classes: Int, k: Int) throws {
    for seed in UInt64(1)...3 {
      let job = Job(classes: classes, k: k, samples: 4, blockRows: 4, seed: seed)
      let folder = ScratchFolder()
      try job.write(to: folder.path)
      let reader = try CacheReader(path: folder.path)
      var batch = reader.makeBatch()
      try reader.decode(view: 0, block: 0, into: &batch)
      for row in 0..<4 { compare(batch, row, job, 0, row, "seed \(seed), C \(classes), k \(k)") }
    }
  }

  @Test(arguments: UInt64(70)...89)
  func `a block measured in parts is the block measured at once`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let classes = [2, 17, 300, 3000].randomElement(using: &generator)!
    var job = Job(
      classes: classes, k: Int.random(in: 1...min(classes, 140), using: &generator), samples: 50,
      views: 2, blockRows: 33, seed: seed, featureWidth: seed.isMultiple(of: 2) ? 5 : nil)
    let isRanked = seed.isMultiple(of: 3) && job.manifest.encoding.k < classes
    if isRanked { job.manifest.encoding.ranking = .full }
    let encoder = try job.encoder()
    for key in job.manifest.blockKeys {
      let whole = try job.encode(key, with: encoder)
      let samples = job.manifest.samples(of: key)
      encoder.begin(key, rows: samples.count, forCalibration: false)
      var first = samples.lowerBound
      while first < samples.upperBound {
        let part = first..<Int.random(in: first + 1...samples.upperBound, using: &generator)
        let logits = part.flatMap { job.row(view: key.view, sample: $0) }
        let features = part.flatMap { job.feature(view: key.view, sample: $0) }
        try encoder.add(
          logits: logits.span, labels: part.map { job.label(sample: $0) }, features: features.span)
        first = part.upperBound
      }
      let parts = try encoder.pack(encoder.finish(viewDigest: job.viewDigest(key)))
      #expect(parts.storedValue == whole.storedValue, "seed \(seed), \(key)")
      #expect(parts.certificate == whole.certificate, "seed \(seed), \(key)")
    }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity, 300_000])
  func `unusable logits are refused with sample, view and class`(value: Float) throws {
    let job = Job(classes: 5, k: 2, samples: 20, views: 2)
    let encoder = try BlockEncoder(manifest: job.manifest)
    var logits = (8..<16).flatMap { job.row(view: 1, sample: $0) }
    logits[3 * 5 + 4] = value
    let labels = (8..<16).map { job.label(sample: $0) }
    let found = problem {
      _ = try encoder.encode(
        logits: logits.span, labels: labels, view: 1, block: 1, firstSample: 8,
        viewDigest: Digest(of: ""))
    }
    #expect(found.kind == .corrupt)
    #expect(found.message.contains("for sample 11, view 1, class 4"), "\(found)")
  }

  @Test func `a label that is not a class is refused`() throws {
    let job = Job(classes: 5, k: 2, samples: 1)
    let encoder = try BlockEncoder(manifest: job.manifest)
    let logits: [Float] = [1, 2, 3, 4, 5]
    let found = problem {
      _ = try encoder.encode(
        logits: logits.span, labels: [5], view: 0, block: 0, firstSample: 0,
        viewDigest: Digest(of: ""))
    }
    #expect(found.message.contains("sample 0 has label 5"), "\(found)")
  }
}

@Suite struct ExactMathTests {
  @Test(arguments: UInt64(1)...5)
  func `the exponential agrees with the C library`(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<20_000 {
      let x = -Double.random(in: 0...700, using: &generator)
      #expect(abs(exactExp(x) / exp(x) - 1) <= 2e-14, "seed \(seed), x \(x)")
    }
    #expect(exactExp(0) == 1)
    #expect(exactExp(-1e9) == exactExp(-700))
  }

  @Test(arguments: UInt64(1)...5)
  func `exponentials side by side have the bits of one alone`(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<5000 {
      var x = SIMD8<Double>(repeating: 0)
      for lane in 1..<8 { x[lane] = -Double.random(in: 0...750, using: &generator) }
      let powers = exactExp(x)
      for lane in 0..<8 {
        #expect(powers[lane].bitPattern == exactExp(x[lane]).bitPattern, "seed \(seed), x \(x)")
      }
    }
  }

  @Test(arguments: UInt64(1)...5)
  func `the logarithm agrees with the C library`(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<20_000 {
      let x = exp(Double.random(in: -700...700, using: &generator))
      #expect(
        abs(exactLog(x) - log(x)) <= 1e-14 * max(1, abs(log(x))), "seed \(seed), x \(x)")
    }
    #expect(exactLog(1) == 0)
  }
}
