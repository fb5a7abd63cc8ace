import Losses

/// The part of a block encoder that keeps full rows: coefficients of a block, and what the rows lose
/// that are rebuilt from them.
///
/// Holds the axes twice (as stored, and for projecting) and a strip of rebuilt rows, 16 MiB at most.
struct SubspaceEncoder {
  private let axes: SubspaceAxes
  private let encoding: Encoding
  private var projector: SubspaceProjector
  private var meter: FullRowMeter
  /// The block's records as a reader gets them, a strip of them, and that strip's full rows.
  private var records: TeacherBatch
  private var strip: TeacherBatch
  private var rows: TeacherBatch

  /// Rows rebuilt at once.
  private let stripRows: Int

  init(_ axes: SubspaceAxes, _ encoding: Encoding) {
    guard let tail = encoding.subspaceTail else {
      preconditionFailure("\(axes.count) axes for an encoding without a subspace tail")
    }
    self.axes = axes
    self.encoding = encoding
    projector = SubspaceProjector(axes, step: tail.step)
    meter = FullRowMeter(encoding)
    records = TeacherBatch(encoding, axes: axes.count)
    strip = records
    rows = TeacherBatch.fullRows(of: records)
    stripRows = min(64, max(1, (1 << 21) / encoding.classes))
  }

  /// Fills the columns' tail and measures the rebuilt rows.
  ///
  /// - Parameters:
  ///   - logits: the teacher's rows [rows, C].
  ///   - columns: whose other columns are filled.
  ///   - certificate: of the head's records; what full rows are read for is replaced: errors at
  ///     temperatures above 1, and the missing energy.
  mutating func encode(
    _ logits: UnsafeBufferPointer<Float>, into columns: inout RecordColumns,
    measuring certificate: inout Certificate
  ) {
    let largestSteps = Double(encoding.largestStepsPerNat)
    let largest = columns.largest
    if var tail = columns.tail.take() {
      projector.project(
        logits, largest: { Double(largest[$0]) / largestSteps },
        gapStepsPerNat: encoding.stepsPerNat, into: &tail)
      columns.tail = tail
    }
    columns.write(to: &records, encoding)
    certificate.forgetFullRows()
    for start in stride(from: 0, to: columns.rows, by: stripRows) {
      let part = start..<min(start + stripRows, columns.rows)
      strip.resize(to: part.count)
      for row in part { strip.copyRow(row, of: records, to: row - start) }
      axes.rebuild(strip, into: &rows, ordered: true)
      for row in part {
        let values = logits[row * encoding.classes..<(row + 1) * encoding.classes]
        meter.measure(
          UnsafeBufferPointer(rebasing: values), rows, row - start, into: &certificate)
      }
    }
  }
}
