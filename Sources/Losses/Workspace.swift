/// The student's side of one step, as row pointers; opened once per step by `LossEvaluator`.
struct StudentRows {
  /// Logits [B, C].
  let logits: Row
  /// B.
  let count: Int
  /// C.
  let classes: Int
  /// What the survey found, per row.
  let surveys: UnsafePointer<RowSurvey>

  func row(_ index: Int) -> Row { logits + index * classes }
}

/// Where a term's gradient [B, C] goes.
struct GradientRows {
  let values: MutableRow
  let classes: Int
  /// False for the first term of a sum, which overwrites.
  let adding: Bool

  func row(_ index: Int) -> MutableRow { values + index * classes }
}

/// Memory of the kernels, allocated once. `width` is C, `head` is k + 1 (the head and the label).
struct Workspace: ~Copyable {
  /// One row of floats [C].
  let row: MutableRow
  /// One row of floats [C], for kernels that need two.
  let secondRow: MutableRow
  let surveys: UnsafeMutablePointer<RowSurvey>
  /// Teacher probabilities of one record [k + 1].
  let probabilities: UnsafeMutablePointer<Double>
  /// Scratch of the PLD walk [k + 1] each.
  let steps: UnsafeMutablePointer<Double>
  let decays: UnsafeMutablePointer<Double>
  let totals: UnsafeMutablePointer<Double>
  let placed: UnsafeMutablePointer<Int32>

  init(classes: Int, maximumBatch: Int, k: Int) {
    row = .allocate(capacity: classes)
    secondRow = .allocate(capacity: classes)
    surveys = .allocate(capacity: maximumBatch)
    probabilities = .allocate(capacity: k + 1)
    steps = .allocate(capacity: k + 1)
    decays = .allocate(capacity: k + 1)
    totals = .allocate(capacity: k + 1)
    placed = .allocate(capacity: k + 1)
  }

  deinit {
    row.deallocate()
    secondRow.deallocate()
    surveys.deallocate()
    probabilities.deallocate()
    steps.deallocate()
    decays.deallocate()
    totals.deallocate()
    placed.deallocate()
  }
}
