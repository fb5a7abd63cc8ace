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

/// Memory of the kernels, allocated once.
struct Workspace: ~Copyable {
  /// One row of floats [C].
  let row: MutableRow
  /// What was found in each row of the step [B].
  let surveys: UnsafeMutablePointer<RowSurvey>
  /// Teacher probabilities of one record [k + 1].
  let probabilities: UnsafeMutablePointer<Double>
  /// Classes that stand outside the softmax over the others, and numbers on each [k + 1].
  let placed: UnsafeMutablePointer<Int32>
  let steps: UnsafeMutablePointer<Double>
  let decays: UnsafeMutablePointer<Double>
  let totals: UnsafeMutablePointer<Double>

  init(classes: Int, maximumBatch: Int, k: Int) {
    row = .allocate(capacity: classes)
    surveys = .allocate(capacity: maximumBatch)
    probabilities = .allocate(capacity: k + 1)
    steps = .allocate(capacity: k + 1)
    decays = .allocate(capacity: k + 1)
    totals = .allocate(capacity: k + 1)
    placed = .allocate(capacity: k + 1)
  }

  deinit {
    row.deallocate()
    surveys.deallocate()
    probabilities.deallocate()
    steps.deallocate()
    decays.deallocate()
    totals.deallocate()
    placed.deallocate()
  }
}
