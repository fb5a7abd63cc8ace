import Foundation
import Losses
import TestSupport
import Testing

@Suite struct FullRowTests {
  /// Records of a random step with a small head, and its full rows.
  private func records(_ step: RandomStep, k: Int) -> TeacherBatch {
    TeacherBatchTests.batch(step.teacherRows, labels: step.labels, k: k)
  }

  /// Full rows from the step's own logits plus noise.
  private func fullRows(
    _ step: RandomStep, of records: TeacherBatch, ordered: Bool, noise: Double = 0
  ) -> TeacherBatch {
    var generator = SeededGenerator(seed: 5)
    var rows = TeacherBatch.fullRows(of: records)
    rows.takeRows(of: records, ordered: ordered) { values in
      var place = 0
      for (row, logits) in step.teacherRows.enumerated() {
        for logit in logits {
          values[place] =
            -Float(Double(records.largestLogits[row]) - Double(logit))
            + Float(noise * generator.normal())
          place += 1
        }
      }
    }
    return rows
  }

  private func headSize(_ step: RandomStep, _ seed: Int) -> Int {
    var generator = SeededGenerator(seed: UInt64(seed))
    return Int.random(in: 1...step.teacher.classes, using: &generator)
  }

  @Test(arguments: 0..<40)
  func `full rows of exact values are the k = C batch bit for bit`(seed: Int) {
    let step = RandomStep(seed: 9000 + seed)
    let rows = fullRows(step, of: records(step, k: headSize(step, seed)), ordered: true)
    let exact = records(step, k: step.teacher.classes)
    #expect(rows.isOrdered)
    #expect(rows.classIDs == exact.classIDs, "\(step.shape)")
    #expect(rows.gaps == exact.gaps, "\(step.shape)")
    #expect(rows.largestLogits == exact.largestLogits && rows.labels == exact.labels)
    #expect(rows.labelGaps == exact.labelGaps && rows.labelRanks == exact.labelRanks)
  }

  @Test(arguments: 0..<40)
  func `head, label and order of the head are the records' own`(seed: Int) {
    let step = RandomStep(seed: 9100 + seed)
    let k = headSize(step, seed)
    let records = records(step, k: k)
    for ordered in [true, false] {
      let rows = fullRows(step, of: records, ordered: ordered, noise: 3)
      for b in 0..<records.count {
        let start = b * rows.classes
        var gaps = [Float](repeating: -1, count: rows.classes)
        for j in start..<start + rows.classes { gaps[Int(rows.classIDs[j])] = rows.gaps[j] }
        for j in 0..<k {
          #expect(gaps[Int(records.classIDs[b * k + j])] == records.gaps[b * k + j])
        }
        #expect(gaps[Int(records.labels[b])] == records.labelGaps[b], "\(step.shape)")
        #expect(gaps.allSatisfy { $0 >= 0 }, "every class stands once: \(step.shape)")
        if ordered {
          let head = rows.classIDs[start..<start + k]
          #expect(Array(head) == Array(records.classIDs[b * k..<(b + 1) * k]))
          let all = rows.gaps[start..<start + rows.classes]
          #expect(zip(all, all.dropFirst()).allSatisfy { $0 <= $1 }, "\(step.shape)")
        }
      }
    }
  }

  @Test(arguments: 0..<30)
  func `terms that need no order get the same from rows without it`(seed: Int) throws {
    let step = RandomStep(seed: 9200 + seed)
    let records = records(step, k: headSize(step, seed))
    let terms: [LossTerm] = [
      .kd(temperature: 1), .kd(temperature: 4), .kd(temperature: 4, tail: .bucket),
      .kd(temperature: .infinity), .mse(), .dist(DISTSettings(temperature: 4)),
    ]
    for term in terms {
      let configuration = LossConfiguration([term])
      #expect(!configuration.requirements.order)
      let results = try [true, false].map { ordered in
        try KernelRunner.run(
          configuration, step.student, labels: step.labels,
          teacher: fullRows(step, of: records, ordered: ordered, noise: 0.2))
      }
      #expect(
        abs(results[0].loss - results[1].loss) <= 1e-6 * max(1, abs(results[0].loss)),
        "\(term), \(step.shape)")
      let largest = results[0].gradient.joined().map { abs($0) }.max()!
      let same = zip(results[0].gradient.joined(), results[1].gradient.joined()).allSatisfy {
        abs($0 - $1) <= 1e-6 * max(largest, 1e-3)
      }
      #expect(same, "\(term), \(step.shape)")
    }
    #expect(LossConfiguration([.mse(), .pld()]).requirements.order)
    #expect(LossConfiguration([.dkd()]).requirements.order)
  }

  @Test(arguments: 0..<30)
  func `every term reads full rows as it reads the k = C batch of the same values`(
    seed: Int
  ) throws {
    let step = RandomStep(seed: 9300 + seed)
    let rows = fullRows(step, of: records(step, k: headSize(step, seed)), ordered: true)
    let exact = records(step, k: rows.classes)
    for term in [
      LossTerm.kd(temperature: 2), .mse(), .dist(), .pld(), .pld(temperature: 4, tail: .uniform),
      .dkd(temperature: 4),
    ] {
      let configuration = LossConfiguration([term])
      let own = try KernelRunner.run(
        configuration, step.student, labels: step.labels, teacher: rows)
      let other = try KernelRunner.run(
        configuration, step.student, labels: step.labels, teacher: exact)
      // The stored tail ratio is a rounded number.
      let largest = other.gradient.joined().map { abs($0) }.max()!
      let same = zip(own.gradient.joined(), other.gradient.joined()).allSatisfy {
        abs($0 - $1) <= 4e-6 * max(largest, 1)
      }
      #expect(same, "\(term), \(step.shape)")
      #expect(
        abs(own.loss - other.loss) <= 4e-6 * max(1, abs(other.loss)), "\(term), \(step.shape)")
    }
  }

  @Test(arguments: 0..<20)
  func `the stored tail mass stays whatever the rebuilt tail sums to`(seed: Int) throws {
    let step = RandomStep(seed: 9400 + seed)
    let (classes, k) = (step.teacher.classes, headSize(step, seed))
    let records = records(step, k: k)
    let rows = fullRows(step, of: records, ordered: false, noise: 1)
    // KD's gradient is T (q - p) / B: summed over the head it shows the head's mass.
    let even = step.student.map { $0.map { _ in 0.0 } }
    for temperature in [1, 2, 4] as [Float] {
      let result = try KernelRunner.run(
        LossConfiguration([.kd(temperature: temperature)]), even, labels: step.labels,
        teacher: rows)
      for b in 0..<rows.count {
        let ratio = records.logTailRatio(row: b, temperature: temperature)
        let head = records.classIDs[b * k..<(b + 1) * k].reduce(0.0) {
          $0 + result.gradient[b][Int($1)]
        }
        let mass =
          Double(k) / Double(classes) - head * Double(rows.count) / Double(temperature)
        #expect(abs(mass - 1 / (1 + exp(ratio))) < 1e-5, "\(step.shape), T \(temperature)")
      }
      #expect(result.loss >= -1e-6, "\(step.shape)")
    }
  }

  @Test func `records keep their coefficients when rows are copied`() {
    var source = TeacherBatch(classes: 9, k: 2, tailTemperatures: [1], count: 2, axes: 3)
    source.coefficients = [1, 2, 3, 4, 5, 6]
    source.rowOffsets = [7, 8]
    var copy = TeacherBatch(classes: 9, k: 2, tailTemperatures: [1], count: 1, axes: 3)
    copy.copyRow(1, of: source, to: 0)
    #expect(copy.coefficients == [4, 5, 6] && copy.rowOffsets == [8])
  }
}
