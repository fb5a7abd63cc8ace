import Losses

/// Runs the float kernels on double-precision inputs.
enum KernelRunner {
  /// The loss and gradient of a configuration.
  static func run(
    _ configuration: LossConfiguration, _ student: [[Double]], labels: [Int],
    teacher: TeacherBatch? = nil, epoch: Int = 0
  ) throws -> ReferenceResult {
    let classes = student[0].count
    var evaluator = LossEvaluator(
      configuration: configuration, classes: classes, maximumBatch: student.count,
      k: teacher.map { $0.hasRanking ? classes : $0.k } ?? 0)
    let logits = student.flatMap { $0.map { Float($0) } }
    // Not zero: the evaluator must overwrite what is there.
    var gradient = [Float](repeating: 77, count: logits.count)
    let classIDs = labels.map { Int32($0) }
    var total = 0.0
    do {
      var slopes = gradient.mutableSpan
      total = try evaluator.evaluate(
        logits: logits.span, labels: classIDs.span, teacher: teacher, epoch: epoch,
        gradient: &slopes
      ).total
    }
    return ReferenceResult(
      loss: total,
      gradient: student.indices.map { b in
        gradient[b * classes..<(b + 1) * classes].map { Double($0) }
      })
  }

  /// The loss and gradient of a configuration's feature terms.
  static func runFeatures(
    _ configuration: LossConfiguration, _ features: [[Double]], teacherNorms: [Double],
    classMeans: [[Double]], labels: [Int]
  ) throws -> ReferenceResult {
    let width = features[0].count
    let means = classMeans.flatMap { $0.map { Float($0) } }
    let norms = teacherNorms.map { Float($0) }
    let classIDs = labels.map { Int32($0) }
    var evaluator = FeatureLoss(
      configuration: configuration, classMeans: means.span, classes: classMeans.count)
    let values = features.flatMap { $0.map { Float($0) } }
    var gradient = [Float](repeating: 77, count: values.count)
    var total = 0.0
    do {
      var slopes = gradient.mutableSpan
      total = try evaluator.evaluate(
        features: values.span, teacherNorms: norms.span, labels: classIDs.span, gradient: &slopes
      ).total
    }
    return ReferenceResult(
      loss: total,
      gradient: features.indices.map { b in
        gradient[b * width..<(b + 1) * width].map { Double($0) }
      })
  }

  /// A teacher batch holding the records; every record must keep the same number of classes.
  ///
  /// - Parameter temperature: where the records' tail ratios belong.
  static func batch(_ records: [ReferenceRecord], classes: Int, temperature: Double)
    -> TeacherBatch
  {
    let k = records[0].ids.count
    var batch = TeacherBatch(
      classes: classes, k: k, tailTemperatures: k < classes ? [Float(temperature)] : [],
      count: records.count, meanTailGaps: true)
    for (b, record) in records.enumerated() {
      let largest = record.logits[0]
      for j in 0..<k {
        batch.classIDs[b * k + j] = Int32(record.ids[j])
        batch.gaps[b * k + j] = Float(largest - record.logits[j])
      }
      batch.largestLogits[b] = Float(largest)
      batch.labels[b] = Int32(record.label)
      batch.labelGaps[b] = Float(largest - record.labelLogit)
      batch.labelRanks[b] = Int32(record.ids.firstIndex(of: record.label) ?? k)
      batch.meanTailGaps[b] = Float(largest - record.tailMean)
      if k < classes { batch.logTailRatios[b] = Float(record.logTailRatio) }
    }
    return batch
  }
}
