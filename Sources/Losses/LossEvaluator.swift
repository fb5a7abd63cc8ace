/// Why a step's losses could not be computed: the step's inputs are wrong.
public enum LossError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A student logit is NaN or infinite (or so large that the row's sum is).
  case nonFiniteLogit(row: Int)
  /// A student feature is NaN or infinite (or so large that its norm is).
  case nonFiniteFeature(row: Int)
  /// A label is not a class.
  case labelOutOfRange(row: Int, label: Int, classes: Int)
  /// The teacher's record belongs to another label: rows are paired wrongly.
  case labelMismatch(row: Int, label: Int, teacherLabel: Int)
  /// The configuration has terms that need a teacher, and none was given.
  case missingTeacher

  /// The error in a sentence.
  public var description: String {
    switch self {
    case .nonFiniteLogit(let row):
      "row \(row) of the student's logits holds a value that is not finite: training has diverged; "
        + "lower the learning rate or warm the loss up"
    case .nonFiniteFeature(let row):
      "row \(row) of the student's features holds a value that is not finite: training has "
        + "diverged; lower the learning rate"
    case .labelOutOfRange(let row, let label, let classes):
      "row \(row) has label \(label), outside 0..<\(classes)"
    case .labelMismatch(let row, let label, let teacherLabel):
      "row \(row) has label \(label) but its teacher record has label \(teacherLabel): "
        + "the records belong to other samples"
    case .missingTeacher:
      "the loss compares with a teacher, and no teacher batch was given"
    }
  }
}

/// The losses of one step.
public struct LossReport: Hashable, Sendable {
  /// The weighted sum, warm-up included: what the gradient belongs to.
  public internal(set) var total: Double
  private var values: SIMD8<Double>

  init() {
    total = 0
    values = .zero
  }

  /// The value of each term of the configuration before its weight; 0 for feature terms, which
  /// `FeatureLoss` computes.
  public internal(set) subscript(term: Int) -> Double {
    get { values[term] }
    set { values[term] = newValue }
  }
}

/// Computes a configuration's loss and its gradient with respect to the student's logits.
///
/// Holds its working memory, so a step at planned temperatures allocates nothing. One evaluator serves one thread at a
/// time.
///
/// - Accuracy: against a double-precision reference, gradient entries are within 2e-6 of T / B
///   (DKD: of (alpha + beta) T / B; DIST: 1e-4 of its largest entry) and losses within 1e-5 of
///   T^2 plus the loss (`KernelPropertyTests`).
/// - Determinism: own exp and log, sums in a fixed order, no fused multiply-add: the same bits on
///   every x86-64 CPU and at every optimisation level.
public struct LossEvaluator: ~Copyable, @unchecked Sendable {
  /// What is computed; feature terms are left to `FeatureLoss`.
  public let configuration: LossConfiguration
  /// C.
  public let classes: Int
  /// The largest B of a step.
  public let maximumBatch: Int
  /// The largest k of a teacher batch.
  public let k: Int
  private let needsTeacher: Bool
  private let needsOrder: Bool
  private let workspace: Workspace
  private let distWorkspace: DISTWorkspace
  private let logFactorials: LogFactorials

  /// Makes an evaluator.
  ///
  /// - Parameters:
  ///   - configuration: the weighted sum.
  ///   - classes: C >= 2.
  ///   - maximumBatch: the largest number of rows of a step, >= 1.
  ///   - k: the largest head of a teacher batch; C when batches hold rankings; 0 when there is no teacher.
  public init(configuration: LossConfiguration, classes: Int, maximumBatch: Int, k: Int) {
    precondition(classes >= 2, "\(classes) classes, at least 2 are needed")
    precondition(maximumBatch >= 1, "maximumBatch is \(maximumBatch), at least 1 is needed")
    precondition(k >= 0 && k <= classes, "k = \(k) must be in 0...\(classes)")
    self.configuration = configuration
    self.classes = classes
    self.maximumBatch = maximumBatch
    self.k = k
    needsTeacher = configuration.requirements.teacher
    needsOrder = configuration.requirements.order
    workspace = Workspace(classes: classes, maximumBatch: maximumBatch, k: k)
    let usesDIST = configuration.terms.contains { if case .dist = $0 { true } else { false } }
    distWorkspace = DISTWorkspace(
      classes: usesDIST ? classes : 0, maximumBatch: usesDIST ? maximumBatch : 0,
      k: usesDIST ? k : 0)
    logFactorials = LogFactorials(upTo: classes)
  }

  /// Computes the loss of a step and overwrites `gradient` with d total / d logits.
  ///
  /// - Parameters:
  ///   - logits: the student's, shape [B, C], natural-log units, finite.
  ///   - labels: the true labels [B].
  ///   - partnerLabels: the labels of the partner samples of mixed views [B], or empty.
  ///   - ownShares: the own label's share in each mixed view [B] in 0...1, or empty.
  ///   - teacher: B records, row by row for the same views; nil when no term needs one.
  ///   - epoch: counted from 0, for the warm-up.
  ///   - gradient: shape [B, C], overwritten.
  /// - Precondition: the counts fit; B <= maximumBatch, the teacher's k <= k.
  /// - Throws: `LossError`; the gradient is then not to be used.
  public mutating func evaluate(
    logits: Span<Float>, labels: Span<Int32>, partnerLabels: Span<Int32> = Span(),
    ownShares: Span<Float> = Span(), teacher: TeacherBatch? = nil, epoch: Int = 0,
    gradient: inout MutableSpan<Float>
  ) throws(LossError) -> LossReport {
    let count = labels.count
    checkShapes(
      count: count, logits: logits.count, partners: partnerLabels.count, shares: ownShares.count,
      gradient: gradient.count)
    try check(labels: labels)
    try check(labels: partnerLabels)
    if let teacher { try check(teacher: teacher, labels: labels) }
    if teacher == nil && needsTeacher { throw .missingTeacher }

    return try gradient.withUnsafeMutableBufferPointer { slopes throws(LossError) in
      try logits.withUnsafeBufferPointer { values throws(LossError) in
        try evaluate(
          values.baseAddress!, labels: labels, partners: partnerLabels, shares: ownShares,
          teacher: teacher, epoch: epoch, gradient: slopes.baseAddress!)
      }
    }
  }

  private mutating func evaluate(
    _ logits: Row, labels: Span<Int32>, partners: Span<Int32>, shares: Span<Float>,
    teacher: TeacherBatch?, epoch: Int, gradient: MutableRow
  ) throws(LossError) -> LossReport {
    let count = labels.count
    try survey(logits, count: count)
    let student = StudentRows(
      logits: logits, count: count, classes: classes, surveys: workspace.surveys)
    var report = LossReport()
    var adding = false
    for (index, term) in configuration.terms.enumerated() where !term.comparesFeatures {
      let factor = configuration.factor(of: term, epoch: epoch)
      let target = GradientRows(values: gradient, classes: classes, adding: adding)
      if case .crossEntropy = term {
        report[index] = crossEntropy(
          student, labels: labels, partners: partners, shares: shares, factor: factor,
          workspace: workspace, gradient: target)
      } else if let teacher {
        report[index] = compare(term, student, teacher, factor: factor, gradient: target)
      }
      report.total += factor * report[index]
      adding = true
    }
    if !adding { gradient.update(repeating: 0, count: count * classes) }
    return report
  }

  /// One term that compares the student's logits with the teacher's.
  private mutating func compare(
    _ term: LossTerm, _ student: StudentRows, _ teacher: TeacherBatch, factor: Double,
    gradient: GradientRows
  ) -> Double {
    switch term {
    case .kd(_, .infinity, _):
      kdLimit(student, teacher, factor: factor, workspace: workspace, gradient: gradient)
    case .kd(_, let temperature, .uniform):
      kdUniform(
        student, teacher, temperature: temperature, factor: factor, workspace: workspace,
        gradient: gradient)
    case .kd(_, let temperature, .bucket):
      kdBucket(
        student, teacher, temperature: temperature, factor: factor, workspace: workspace,
        gradient: gradient)
    case .mse(_, let tail):
      meanSquaredError(
        student, teacher, tail: tail, factor: factor, workspace: workspace, gradient: gradient)
    case .dist(_, let settings):
      dist(
        student, teacher, settings: settings, factor: factor, workspace: workspace,
        columns: distWorkspace, gradient: gradient)
    case .pld(_, let temperature, let tail):
      pld(
        student, teacher, temperature: temperature, tail: tail, factor: factor,
        logFactorials: logFactorials, workspace: workspace, gradient: gradient)
    case .dkd(_, let temperature, let alpha, let beta):
      dkd(
        student, teacher, temperature: temperature, alpha: alpha, beta: beta, factor: factor,
        workspace: workspace, gradient: gradient)
    case .crossEntropy, .normDirection, .classMeanCosine:
      preconditionFailure("\(term) compares no logits")
    }
  }

  /// Looks at every row once: its maximum, its sum, and that all of it is finite.
  private func survey(_ logits: Row, count: Int) throws(LossError) {
    for row in 0..<count {
      let found = surveyRow(logits + row * classes, count: classes)
      guard found.pivotedSum.isFinite else { throw .nonFiniteLogit(row: row) }
      workspace.surveys[row] = found
    }
  }

  private func checkShapes(count: Int, logits: Int, partners: Int, shares: Int, gradient: Int) {
    precondition(
      count >= 1 && count <= maximumBatch, "\(count) rows, the evaluator holds 1...\(maximumBatch)")
    precondition(
      logits == count * classes, "\(logits) logits for \(count) rows of \(classes) classes")
    precondition(gradient == logits, "gradient of \(gradient) values for \(logits) logits")
    precondition(
      partners == shares && (partners == 0 || partners == count),
      "\(partners) partner labels and \(shares) shares for \(count) rows: give none or all")
  }

  private func check(labels: Span<Int32>) throws(LossError) {
    for row in 0..<labels.count where labels[row] < 0 || Int(labels[row]) >= classes {
      throw .labelOutOfRange(row: row, label: Int(labels[row]), classes: classes)
    }
  }

  private func check(teacher: TeacherBatch, labels: Span<Int32>) throws(LossError) {
    precondition(
      teacher.classes == classes && teacher.k <= k && teacher.count == labels.count,
      """
      teacher batch of \(teacher.count) records, \(teacher.classes) classes, k = \(teacher.k); \
      the step has \(labels.count) rows, \(classes) classes, and the evaluator k <= \(k)
      """)
    precondition(
      !teacher.hasRanking || k == classes,
      "a teacher batch with rankings of \(classes) classes, the evaluator has k = \(k)")
    precondition(
      teacher.isOrdered || !needsOrder, "\(configuration) reads the order of rows taken without it")
    for row in 0..<labels.count where labels[row] != teacher.labels[row] {
      throw .labelMismatch(
        row: row, label: Int(labels[row]), teacherLabel: Int(teacher.labels[row]))
    }
  }
}
