import Losses

/// The subspace tail of a block as integers, one column per axis: exactly what a block stores.
///
/// Columns are axis-major: axis a of row r is at `a * rows + r`.
package struct SubspaceColumns: Equatable {
  /// The number of axes.
  package let axes: Int
  /// Of how many axes, from the first on, the coefficients go through a `Trellis`.
  package let trellisAxes: Int
  /// Codes of coefficients [axes, rows]: in steps, but for those of a trellis.
  package var coefficients: [Int32] = []
  /// How far the rebuilt row's level lies below the stored largest logit, in steps of a gap [rows].
  package var offsets: [Int32] = []

  /// No stored integer is larger in magnitude.
  static let largest = Limits.signed

  package init(axes: Int, trellisAxes: Int) {
    self.axes = axes
    self.trellisAxes = trellisAxes
  }

  /// Makes room for `rows` rows; their content is arbitrary until overwritten.
  package mutating func resize(to rows: Int) {
    if offsets.count == rows { return }
    coefficients = Array(repeating: 0, count: axes * rows)
    offsets = Array(repeating: 0, count: rows)
  }

  /// The coefficients of a group of axes as small non-negative integers.
  package func folded(_ group: Range<Int>) -> [UInt32] {
    coefficients[group.lowerBound * offsets.count..<group.upperBound * offsets.count].map(zigzag)
  }

  /// Takes in what `folded` gave.
  ///
  /// - Returns: false when an integer is out of range.
  package mutating func unfold(_ values: UnsafeBufferPointer<UInt32>, _ group: Range<Int>) -> Bool {
    let start = group.lowerBound * offsets.count
    precondition(
      values.count == group.count * offsets.count, "\(values.count) coefficients for \(group)")
    return coefficients.withUnsafeMutableBufferPointer { coefficients in
      var fine = true
      for index in 0..<values.count {
        let value = unzigzag(values[index])
        fine = fine && value.magnitude <= UInt32(SubspaceColumns.largest)
        coefficients[start &+ index] = value
      }
      return fine
    }
  }

  /// Writes the tail as floating-point values, row-major.
  ///
  /// - Parameters:
  ///   - step: of coefficients, in nats.
  ///   - gapStep: of offsets, in nats.
  /// - Precondition: the batch has as many rows and axes.
  package func write(to batch: inout TeacherBatch, step: Float, gapStep: Float) {
    let rows = offsets.count
    precondition(
      batch.count == rows && batch.axes == axes,
      "a batch of \(batch.count) rows, \(batch.axes ?? 0) axes cannot hold \(rows) rows, \(axes) axes"
    )
    coefficients.withUnsafeBufferPointer { source in
      batch.coefficients.withUnsafeMutableBufferPointer { target in
        // A tile of rows after the other, as `RecordColumns` does it.
        for start in stride(from: 0, to: rows, by: 128) {
          write(source, start..<min(start + 128, rows), to: target, step)
        }
      }
    }
    for row in 0..<rows { batch.rowOffsets[row] = Float(offsets[row]) * gapStep }
  }

  /// Writes the coefficients of a tile of rows, each row with a state of the trellis.
  private func write(
    _ source: UnsafeBufferPointer<Int32>, _ tile: Range<Int>,
    to target: UnsafeMutableBufferPointer<Float>, _ step: Float
  ) {
    let (axes, rows) = (axes, offsets.count)
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: tile.count) { states in
      states.initialize(repeating: 0)
      for axis in 0..<trellisAxes {
        for row in tile {
          let (code, state) = (source[axis &* rows &+ row], states[row &- tile.lowerBound])
          target[row &* axes &+ axis] = Trellis.value(state, code) * step
          states[row &- tile.lowerBound] = Trellis.next(state, code)
        }
      }
    }
    for axis in trellisAxes..<axes {
      for row in tile {
        target[row &* axes &+ axis] = Float(source[axis &* rows &+ row]) * step
      }
    }
  }
}
