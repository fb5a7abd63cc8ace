import Foundation
import Losses
import TestSupport
import Testing

@Suite struct TeacherBatchTests {
  /// A teacher's row with a heavy or light tail, and a label that is often its best class.
  static func row(classes: Int, generator: inout SeededGenerator) -> [Float] {
    let spread = Double.random(in: 0.5...4, using: &generator)
    return (0..<classes).map { _ in Float(spread * generator.normal()) }
  }

  static func batch(
    _ rows: [[Float]], labels: [Int], k: Int, temperatures: [Float] = [1, 2, 4]
  ) -> TeacherBatch {
    let classes = rows[0].count
    var batch = TeacherBatch(
      classes: classes, k: k, tailTemperatures: k < classes ? temperatures : [],
      count: rows.count, meanTailGaps: true)
    for (b, row) in rows.enumerated() { batch.assign(row: b, logits: row.span, label: labels[b]) }
    return batch
  }

  @Test func `ties go to the lower class and the label keeps its rank and gap`() {
    let batch = Self.batch([[1, 3, 3, 0, 2]], labels: [3], k: 3)
    #expect(batch.classIDs == [1, 2, 4])
    #expect(batch.gaps == [0, 0, 1])
    #expect(batch.largestLogits == [3] && batch.labelGaps == [3] && batch.labelRanks == [4])
    #expect(batch.meanTailGaps == [2.5])
  }

  @Test(arguments: 0..<30)
  func `tail ratios are those of the full row`(seed: Int) {
    var generator = SeededGenerator(seed: UInt64(seed))
    let classes = Int.random(in: 2...300, using: &generator)
    let k = Int.random(in: 1...classes, using: &generator)
    let row = Self.row(classes: classes, generator: &generator)
    let batch = Self.batch([row], labels: [0], k: k)
    for temperature in [1, 2, 4] as [Float] {
      let exact = ReferenceRecord(
        top: k, of: row.map { Double($0) }, temperature: Double(temperature))
      let ratio = batch.logTailRatio(row: 0, temperature: temperature)
      #expect(
        ratio == exact.logTailRatio || abs(ratio - exact.logTailRatio) < 2e-6,
        "seed \(seed), T \(temperature)")
    }
    #expect(
      abs(
        batch.logTailRatio(row: 0, temperature: .infinity)
          - log(Double(classes - k) / Double(k))) < 1e-12 || k == classes)
  }

  @Test(arguments: 0..<30)
  func `between planned temperatures the tail is interpolated well`(seed: Int) {
    var generator = SeededGenerator(seed: UInt64(1000 + seed))
    let classes = Int.random(in: 20...300, using: &generator)
    let k = Int.random(in: 1...10, using: &generator)
    let row = Self.row(classes: classes, generator: &generator)
    let batch = Self.batch([row], labels: [0], k: k)
    for (temperature, allowed) in [(1.2, 0.1), (1.5, 0.1), (3, 0.05), (8, 0.1), (40, 0.1)] {
      let exact = ReferenceRecord(top: k, of: row.map { Double($0) }, temperature: temperature)
      let ratio = batch.logTailRatio(row: 0, temperature: Float(temperature))
      #expect(
        abs(ratio - exact.logTailRatio) < allowed,
        "seed \(seed), T \(temperature): \(ratio), exactly \(exact.logTailRatio)")
    }
  }

  @Test(arguments: 0..<30)
  func `below the smallest temperature the tail never exceeds the last head gap's bound`(
    seed: Int
  ) {
    var generator = SeededGenerator(seed: UInt64(2000 + seed))
    let row = Self.row(classes: 100, generator: &generator)
    let batch = Self.batch([row], labels: [0], k: 5)
    for temperature in [0.9, 0.5, 0.1] as [Float] {
      let ratio = batch.logTailRatio(row: 0, temperature: temperature)
      // Every tail class is at most as likely as the last head class.
      let head = ReferenceRecord(batch, row: 0, temperature: temperature)
      let most =
        log(95.0)
        + (head.logits[4] - logSumExp(head.logits.map { $0 / Double(temperature) })
          * Double(temperature)) / Double(temperature)
      #expect(ratio.isFinite && ratio <= most + 1e-6, "seed \(seed), T \(temperature)")
    }
  }

  @Test func `the mean tail gap is stored, or estimated from the tail ratios`() {
    var generator = SeededGenerator(seed: 7)
    for _ in 0..<20 {
      let row = Self.row(classes: 200, generator: &generator)
      let stored = Self.batch([row], labels: [0], k: 10)
      var estimated = TeacherBatch(classes: 200, k: 10, tailTemperatures: [1, 2, 4], count: 1)
      estimated.assign(row: 0, logits: row.span, label: 0)
      let exact = stored.meanTailGap(row: 0)
      #expect(abs(exact - Double(stored.meanTailGaps[0])) == 0)
      #expect(abs(estimated.meanTailGap(row: 0) / exact - 1) < 0.1)
    }
  }

  @Test func `rows are copied and kept when the batch grows`() {
    let source = Self.batch([[1, 2, 3], [5, 4, 0]], labels: [0, 1], k: 2)
    var copy = TeacherBatch(
      classes: 3, k: 2, tailTemperatures: [1, 2, 4], count: 1, meanTailGaps: true)
    copy.copyRow(1, of: source, to: 0)
    copy.resize(to: 3)
    copy.copyRow(0, of: source, to: 2)
    #expect(copy.count == 3 && copy.classIDs == [0, 1, 0, 0, 2, 1])
    #expect(copy.meanTailGaps == [5, 0, 2] && copy.labels == [1, 0, 0])
    #expect(copy.logTailRatios[0..<3] == source.logTailRatios[3..<6])
    #expect(copy.featureNorms.isEmpty)
  }

  @Test func `feature norms go with their rows when they are kept`() {
    var source = TeacherBatch(
      classes: 2, k: 2, tailTemperatures: [], count: 2, featureNorms: true)
    source.featureNorms = [3, 5]
    var copy = TeacherBatch(classes: 2, k: 2, tailTemperatures: [], count: 1, featureNorms: true)
    copy.copyRow(1, of: source, to: 0)
    copy.resize(to: 2)
    #expect(copy.featureNorms == [5, 0])
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `rows gathered from several batches are those copied one by one`(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let k = Int.random(in: 1...20, using: &random)
    let (hasTail, hasAxes) = (Bool.random(using: &random), Bool.random(using: &random))
    let options = (norms: Bool.random(using: &random), ranking: Bool.random(using: &random))
    func batch(_ count: Int) -> TeacherBatch {
      var batch = TeacherBatch(
        classes: hasTail ? k + 3 : k, k: k, tailTemperatures: hasTail ? [1, 2] : [], count: count,
        meanTailGaps: hasTail, featureNorms: options.norms, axes: hasAxes ? 5 : nil,
        ranking: options.ranking)
      func fill(_ numbers: inout [Float]) {
        for index in numbers.indices { numbers[index] = Float(random.normal()) }
      }
      func fill(_ numbers: inout [Int32]) {
        for index in numbers.indices { numbers[index] = Int32.random(in: 0...999, using: &random) }
      }
      fill(&batch.classIDs)
      fill(&batch.gaps)
      fill(&batch.largestLogits)
      fill(&batch.labels)
      fill(&batch.labelGaps)
      fill(&batch.labelRanks)
      fill(&batch.logTailRatios)
      fill(&batch.meanTailGaps)
      fill(&batch.featureNorms)
      fill(&batch.ranking)
      fill(&batch.coefficients)
      fill(&batch.rowOffsets)
      return batch
    }
    let sources = (1...3).map { batch(3 * $0) }
    let rows = (0..<11).map { _ in
      let source = Int.random(in: 0..<3, using: &random)
      return RowAddress(
        batch: source, row: Int.random(in: 0..<sources[source].count, using: &random))
    }
    var gathered = batch(13)
    var copied = gathered
    gathered.copyRows(rows, of: sources, to: 2)
    for (index, address) in rows.enumerated() {
      copied.copyRow(address.row, of: sources[address.batch], to: 2 + index)
    }
    func integers(_ batch: TeacherBatch) -> [[Int32]] {
      [batch.classIDs, batch.labels, batch.labelRanks, batch.ranking]
    }
    func numbers(_ batch: TeacherBatch) -> [[Float]] {
      [
        batch.gaps, batch.largestLogits, batch.labelGaps, batch.logTailRatios, batch.meanTailGaps,
        batch.featureNorms, batch.coefficients, batch.rowOffsets,
      ]
    }
    #expect(integers(gathered) == integers(copied), "seed \(seed)")
    #expect(numbers(gathered) == numbers(copied), "seed \(seed)")
  }
}
