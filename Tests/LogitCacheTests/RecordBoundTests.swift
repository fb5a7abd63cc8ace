import LogitCache
import TestSupport
import Testing

@Suite struct RecordBoundTests {
  @Test(arguments: 1...40)
  func `no stored record is longer than the bound`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let classes = Int.random(in: 1...300, using: &generator)
    let k = Int.random(in: 1...classes, using: &generator)
    let rows = Int.random(in: 1...300, using: &generator)
    let range = Double([1, 20, 128, 1000].randomElement(using: &generator)!)
    var job = Job(classes: classes, k: k, samples: rows, blockRows: rows, seed: seed)
    if k < classes, seed.isMultiple(of: 2) { job.manifest.encoding.ranking = .full }
    // As uneven as can be: independent logits all over the range.
    let logits = (0..<rows * classes).map { _ in
      Float(Double.random(in: -range / 2...range / 2, using: &generator))
    }
    let block = try BlockEncoder(manifest: job.manifest).encode(
      logits: logits.span, labels: job.labels, view: 0, block: 0, firstSample: 0,
      viewDigest: job.viewDigest(BlockKey(view: 0, block: 0)))
    let bound = job.manifest.encoding.largestRecord(logitRange: range) * Double(rows)
    #expect(Double(block.storedValue.count) <= bound)
  }

  @Test(arguments: 1...40)
  func `no stored record with a subspace tail is longer than the bound`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let classes = Int.random(in: 2...200, using: &generator)
    let k = Int.random(in: 1..<classes, using: &generator)
    let rows = Int.random(in: 2...300, using: &generator)
    let range = Double([1, 20, 128, 1000].randomElement(using: &generator)!)
    let steps = [1, 16, 64, 1024].randomElement(using: &generator)!
    var job = Job(classes: classes, k: k, samples: rows, blockRows: rows, seed: seed)
    job.manifest.encoding.subspaceTail = SubspaceTail(
      stepSixteenths: steps, axisBytes: Int(seed % 2) + 1)
    job.calibration = nil
    // Axes of other rows than those they are used for, and of fewer of them.
    func logits(_ rows: Int) -> [Float] {
      (0..<rows * classes).map { _ in
        Float(Double.random(in: -range / 2...range / 2, using: &generator))
      }
    }
    let learning = logits(rows)
    let measured = try BlockEncoder(manifest: job.manifest).measure(
      logits: learning.span, labels: job.labels, view: 0, block: 0, firstSample: 0,
      viewDigest: job.viewDigest(BlockKey(view: 0, block: 0)), forCalibration: true,
      keptRows: Int.random(in: 2...rows, using: &generator))
    let calibration = try Calibration.learn([measured], job.manifest)
    job.calibration = calibration
    let others = logits(rows)
    let block = try BlockEncoder(manifest: job.manifest, calibration: calibration).encode(
      logits: others.span, labels: job.labels, view: 0, block: 0, firstSample: 0,
      viewDigest: job.viewDigest(BlockKey(view: 0, block: 0)))
    let stored = Double(block.storedValue.count)
    let axes = try #require(calibration.axes).count
    let encoding = job.manifest.encoding
    let bound = encoding.largestRecord(logitRange: range, axes: axes)
    #expect(stored <= bound * Double(rows), "\(axes) axes")
    #expect(bound <= encoding.largestRecord(logitRange: range))
  }
}
