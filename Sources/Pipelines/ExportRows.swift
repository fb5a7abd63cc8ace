import Arrays
import Basics
import LogitCache
import Losses

/// All C logits of every record.
///
/// The head and the label are as stored. The other classes come from a subspace tail, or share the mass of the tail
/// evenly where that was asked for.
struct FullRowColumn: ExportColumn {
  let description: ArrayFileWriter.Description
  private let classes: Int
  private let axes: SubspaceAxes?
  /// Steps of log(tail / head) in one nat.
  private let tailSteps: Double
  private var values: [Float] = []
  /// Some records, and their rows rebuilt from axes.
  private var strip: TeacherBatch
  private var rebuilt: TeacherBatch

  /// - Throws: `Problem(.usage)` when the cache does not know all logits and nothing may stand for them.
  init(_ cache: CacheReader, _ part: ExportPart, fillsEvenly: Bool) throws {
    let encoding = cache.manifest.encoding
    classes = encoding.classes
    axes = cache.axes
    guard encoding.k == classes || axes != nil || fillsEvenly else {
      throw Problem(
        .usage,
        "\(cache.path) keeps \(encoding.k) of \(classes) logits and no subspace tail: export its records as "
          + "safetensors or JSON lines, or say --missing uniform to spread the mass of the others evenly"
      )
    }
    tailSteps = Double(encoding.tailStepsPerNat)
    description = .init("logits", .float32, part.shape([classes]))
    strip = cache.makeBatch(coefficients: true)
    rebuilt = TeacherBatch.fullRows(of: strip)
  }

  var recordBytes: Int { classes * 4 }

  mutating func begin(_ records: Int) { values.setCount(records * classes, filler: 0) }

  mutating func take(_ batch: TeacherBatch, _ records: [ExportRecord]) {
    if let axes { return rebuild(batch, records, axes) }
    let tailSteps = tailSteps
    for record in records {
      fill(record.place) { target in
        if batch.k < target.count { spread(batch, record.row, tailSteps, over: target) }
        lay(batch, record.row, over: target)
      }
    }
  }

  /// Lends the numbers of a record.
  private mutating func fill(
    _ place: Int, _ body: (UnsafeMutableBufferPointer<Float>) -> Void
  ) {
    let range = place * classes..<(place + 1) * classes
    values.withUnsafeMutableBufferPointer {
      body(UnsafeMutableBufferPointer(rebasing: $0[range]))
    }
  }

  func write(to file: ArrayFileWriter, _ records: Range<Int>) throws {
    try file.write(
      values[..<(records.count * classes)], to: description.name, at: records.lowerBound * classes)
  }

  /// Rebuilds rows from their coefficients, at most 2^21 numbers at once.
  private mutating func rebuild(
    _ batch: TeacherBatch, _ records: [ExportRecord], _ axes: SubspaceAxes
  ) {
    let most = max(1, (1 << 21) / classes)
    for first in stride(from: 0, to: records.count, by: most) {
      let some = records[first..<min(first + most, records.count)]
      strip.resize(to: some.count)
      for (row, record) in some.enumerated() { strip.copyRow(record.row, of: batch, to: row) }
      axes.rebuild(strip, into: &rebuilt, ordered: false)
      let rebuilt = rebuilt
      for (row, record) in some.enumerated() {
        fill(record.place) { lay(rebuilt, row, over: $0) }
      }
    }
  }
}

/// Writes the head's logits into a row in class order.
private func lay(
  _ batch: TeacherBatch, _ row: Int, over target: UnsafeMutableBufferPointer<Float>
) {
  let largest = batch.largestLogits[row]
  for entry in row * batch.k..<(row + 1) * batch.k {
    target[Int(batch.classIDs[entry])] = largest - batch.gaps[entry]
  }
}

/// Gives the label its logit, and all other classes the one with which they have the tail's mass at T = 1.
///
/// None is above the last of the head. Where rounding leaves the label no less than the whole tail, the others have
/// a step of it.
private func spread(
  _ batch: TeacherBatch, _ row: Int, _ tailSteps: Double,
  over target: UnsafeMutableBufferPointer<Float>
) {
  let tail = batch.headSum(row) * batch.tailRatio(row)
  let isOutside = Int(batch.labelRanks[row]) >= batch.k
  let label = isOutside ? exactExp(-Double(batch.labelGaps[row])) : 0
  let others = Double(batch.tailClasses - (isOutside ? 1 : 0))
  let last = -Double(batch.gaps[(row + 1) * batch.k - 1])
  let rest = max(tail - label, tail / tailSteps)
  let even = others > 0 ? min(exactLog(max(rest / others, .leastNormalMagnitude)), last) : last
  target.update(repeating: batch.largestLogits[row] + Float(even))
  target[Int(batch.labels[row])] = batch.largestLogits[row] - batch.labelGaps[row]
}
