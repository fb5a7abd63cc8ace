import Foundation
import Losses
import Testing

/// Reference vectors from outside: every case of every file.
///
/// The environment variable LOSS_VECTORS names another folder of files of the same form.
@Suite struct LossVectorTests {
  @Test(arguments: VectorFile.names)
  func `float kernels give the expected losses and gradients`(file: String) throws {
    for vector in try VectorFile.read(file).cases {
      guard let (result, features) = try vector.kernelResult() else { continue }
      let wrong = vector.mismatch(
        loss: result.loss, gradient: result.gradient, featureGradient: features, vector.tol.f32)
      #expect(wrong == nil, "\(file) \(vector.name): \(wrong ?? "")")
    }
  }

  @Test(arguments: VectorFile.names)
  func `the double reference gives the expected losses and gradients`(file: String) throws {
    for vector in try VectorFile.read(file).cases {
      let (result, features) = try vector.referenceResult()
      let wrong = vector.mismatch(
        loss: result.loss, gradient: result.gradient, featureGradient: features, vector.tol.f64)
      #expect(wrong == nil, "\(file) \(vector.name): \(wrong ?? "")")
    }
  }

  @Test func `there are vectors, and only the two bad tails have no float kernel`() throws {
    var cases = 0
    for file in VectorFile.names {
      let contents = try VectorFile.read(file)
      #expect(contents.format == "kd-loss-vectors" && contents.version == 1, "\(file)")
      for vector in contents.cases where try vector.kernelResult() == nil {
        #expect(
          ["renorm_teacher", "renorm_both"].contains(vector.params.tail), "\(vector.name)")
      }
      cases += contents.cases.count
    }
    #expect(cases > 0)
  }

  @Test func `a wrong kernel is caught`() throws {
    // KD whose gradient forgets one factor T, and CE whose label is off by one.
    for vector in try VectorFile.read("kd.json").cases
    where vector.loss == "kd" && vector.params.temperature == 4
      && vector.inputs.teacherLogits != vector.inputs.studentLogits
    {
      var result = try vector.kernelResult()!.0
      result.gradient = result.gradient.map { $0.map { $0 / 4 } }
      #expect(
        vector.mismatch(loss: result.loss, gradient: result.gradient, vector.tol.f32) != nil,
        "\(vector.name)")
    }
    for vector in try VectorFile.read("ce.json").cases {
      let classes = vector.student[0].count
      let result = referenceCrossEntropy(
        vector.student, labels: vector.labels.map { ($0 + 1) % classes })
      #expect(
        vector.mismatch(loss: result.loss, gradient: result.gradient, vector.tol.f32) != nil,
        "\(vector.name)")
    }
  }
}

/// A loss or tail that the vectors name and the tests do not know.
struct UnknownVector: Error {
  var what: String
}

extension VectorCase {
  private var temperature: Double { params.temperature ?? params.tau ?? 1 }

  private var distSettings: DISTSettings {
    DISTSettings(
      temperature: Float(params.tau!), beta: params.beta!, gamma: params.gamma!,
      epsilon: params.eps!, scalesByTemperatureSquared: params.tauSquared ?? true)
  }

  private var mseTail: MSETail { params.tail == "drop" ? .drop : .mean }

  /// The configuration of the float kernels; nil for the tails that the product does not offer.
  private func configuration() throws -> LossConfiguration? {
    let t = Float(temperature)
    switch loss {
    case "ce": return LossConfiguration([.crossEntropy()])
    case "kd": return LossConfiguration([.kd(temperature: t)])
    case "kd_limit": return LossConfiguration([.kd(temperature: .infinity)])
    case "kd_total":
      return LossConfiguration([
        .crossEntropy(weight: params.ceWeight!), .kd(weight: params.kdWeight!, temperature: t),
      ])
    case "mse", "trunc_mse": return LossConfiguration([.mse(tail: mseTail)])
    case "dkd":
      return LossConfiguration([.dkd(temperature: t, alpha: params.alpha!, beta: params.beta!)])
    case "pld": return LossConfiguration([.pld(temperature: t)])
    case "dist", "trunc_dist": return LossConfiguration([.dist(distSettings)])
    case "dist_total":
      return LossConfiguration([.crossEntropy(weight: params.ceWeight!), .dist(distSettings)])
    case "nd": return LossConfiguration([.normDirection(weight: params.weight!)])
    case "kd_plus_plus":
      return LossConfiguration(
        [
          .crossEntropy(weight: params.ceWeight!),
          .kd(weight: params.kdWeight!, temperature: t),
          .normDirection(weight: params.ndWeight!),
        ], warmupEpochs: params.warmupEpochs!)
    case "trunc_pld":
      guard let tail = PLDTail(rawValue: params.tail!) else {
        throw UnknownVector(what: "PLD tail \(params.tail!)")
      }
      return LossConfiguration([.pld(temperature: t, tail: tail)])
    case "trunc_kd":
      if ["renorm_teacher", "renorm_both"].contains(params.tail) { return nil }
      guard let tail = KDTail(rawValue: params.tail!) else {
        throw UnknownVector(what: "KD tail \(params.tail!)")
      }
      return LossConfiguration([.kd(temperature: t, tail: tail)])
    default: throw UnknownVector(what: "loss \(loss)")
    }
  }

  /// What the float kernels give, and the gradient of the features where both are expected.
  func kernelResult() throws -> (ReferenceResult, [[Double]]?)? {
    guard let configuration = try configuration() else { return nil }
    var features: ReferenceResult?
    if configuration.requirements.features {
      features = try KernelRunner.runFeatures(
        configuration, inputs.studentFeatures!, teacherNorms: teacherNorms,
        classMeans: inputs.classMeans!, labels: labels)
      if expected.gradOf == "student_features" { return (features!, nil) }
    }
    let needsTeacher = configuration.requirements.teacher
    let records = needsTeacher ? records : []
    var result = try KernelRunner.run(
      configuration, student, labels: needsTeacher ? records.map(\.label) : labels,
      teacher: needsTeacher
        ? KernelRunner.batch(records, classes: student[0].count, temperature: temperature) : nil,
      epoch: params.epoch ?? 0)
    result.loss += features?.loss ?? 0
    return (result, features?.gradient)
  }

  private var teacherNorms: [Double] {
    inputs.teacherFeatures!.map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
  }

  /// What the plain reference gives.
  func referenceResult() throws -> (ReferenceResult, [[Double]]?) {
    let t = temperature
    switch loss {
    case "ce": return (referenceCrossEntropy(student, labels: labels), nil)
    case "kd": return (referenceKD(student, records, temperature: t), nil)
    case "kd_limit": return (referenceKDLimit(student, records), nil)
    case "mse", "trunc_mse": return (referenceMSE(student, records, tail: mseTail), nil)
    case "dkd":
      return (
        referenceDKD(
          student, records, temperature: t, alpha: params.alpha!, beta: params.beta!), nil
      )
    case "pld": return (referencePLD(student, try ordered(records), temperature: t), nil)
    case "dist", "trunc_dist": return (referenceDIST(student, records, settings: distSettings), nil)
    case "trunc_kd":
      guard let tail = ReferenceKDTail(rawValue: params.tail!) else {
        throw UnknownVector(what: "KD tail \(params.tail!)")
      }
      return (referenceKD(student, records, temperature: t, tail: tail), nil)
    case "trunc_pld":
      guard let tail = PLDTail(rawValue: params.tail!) else {
        throw UnknownVector(what: "PLD tail \(params.tail!)")
      }
      return (referencePLD(student, records, temperature: t, tail: tail), nil)
    case "kd_total", "dist_total": return (referenceSum, nil)
    case "nd": return (referenceNormDirectionTerm(weight: params.weight!), nil)
    case "kd_plus_plus":
      let features = referenceNormDirectionTerm(weight: params.ndWeight!)
      var result = referenceSum
      result.loss += features.loss
      return (result, features.gradient)
    default: throw UnknownVector(what: "loss \(loss)")
    }
  }

  /// Cross-entropy plus the (warmed up) term that compares logits.
  private var referenceSum: ReferenceResult {
    let own = (params.ceWeight!, referenceCrossEntropy(student, labels: labels))
    if loss == "dist_total" {
      return weightedSum([own, (1, referenceDIST(student, records, settings: distSettings))])
    }
    let warmup = params.warmupEpochs.map { min(1, Double(params.epoch!) / Double($0)) } ?? 1
    return weightedSum([
      own, (params.kdWeight! * warmup, referenceKD(student, records, temperature: temperature)),
    ])
  }

  private func referenceNormDirectionTerm(weight: Double) -> ReferenceResult {
    weightedSum([
      (
        weight,
        referenceNormDirection(
          inputs.studentFeatures!, teacherNorms: teacherNorms, classMeans: inputs.classMeans!,
          labels: labels)
      )
    ])
  }

  /// Checks that our order of ties is the one the case was made with.
  private func ordered(_ records: [ReferenceRecord]) throws -> [ReferenceRecord] {
    for (record, order) in zip(records, inputs.order ?? []) {
      guard [record.label] + record.ids.filter({ $0 != record.label }) == order else {
        throw UnknownVector(what: "order \(order)")
      }
    }
    return records
  }
}
