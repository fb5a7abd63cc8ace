/// Turns the coefficients of a row into codes: the first ones through a trellis, each of the others
/// rounded to a step (docs/FORMAT.md, "Subspace tail").
///
/// Keeps its working memory between rows; for use by one thread at a time.
package struct SubspaceQuantiser {
  /// In nats.
  private let step: Float
  private let trellisAxes: Int
  private var steps: [Double]
  private var trellis = Trellis()
  /// The row's codes.
  package private(set) var codes: [Int32]
  /// What the codes stand for, in nats, as a reader computes it.
  package private(set) var values: [Float]

  /// - Parameters:
  ///   - axes: coefficients of a row.
  ///   - trellisAxes: how many of them, from the first on, go through a trellis.
  ///   - step: in nats.
  package init(axes: Int, trellisAxes: Int, step: Float) {
    precondition(step > 0 && step.isFinite, "a step of \(step)")
    precondition(trellisAxes <= axes, "a trellis for \(trellisAxes) of \(axes) axes")
    self.step = step
    self.trellisAxes = trellisAxes
    steps = Array(repeating: 0, count: axes)
    codes = Array(repeating: 0, count: axes)
    values = Array(repeating: 0, count: axes)
  }

  /// Overwrites `codes` and `values`.
  ///
  /// - Parameter coefficients: of a row, in nats. Far ones are held within what is stored.
  package mutating func quantise(_ coefficients: ArraySlice<Float>) {
    precondition(
      coefficients.count == steps.count, "\(coefficients.count) coefficients of \(steps.count)")
    // A trellis may take the second nearest code, of a grid half a step off.
    let largest = Double(SubspaceColumns.largest) - 2
    for (axis, coefficient) in coefficients.enumerated() {
      steps[axis] = min(max(Double(coefficient / step), -largest), largest)
    }
    trellis.round(steps, upTo: trellisAxes, into: &codes)
    var state: UInt32 = 0
    for axis in 0..<trellisAxes {
      values[axis] = Trellis.value(state, codes[axis]) * step
      state = Trellis.next(state, codes[axis])
    }
    for axis in trellisAxes..<steps.count {
      codes[axis] = Int32(steps[axis].rounded(.toNearestOrEven))
      values[axis] = Float(codes[axis]) * step
    }
  }
}
