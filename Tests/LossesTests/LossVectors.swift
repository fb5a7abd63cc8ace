import Foundation
import TestSupport

/// A file of reference vectors: inputs, hyper-parameters, expected results, tolerances.
struct VectorFile: Decodable {
  var format: String
  var version: Int
  var cases: [VectorCase]

  /// The folder named by LOSS_VECTORS, else the one in this bundle.
  static let folder =
    ProcessInfo.processInfo.environment["LOSS_VECTORS"]
    ?? Bundle.module.resourcePath! + "/Vectors"

  /// The names of the files in the folder.
  static let names = try! FileManager.default.contentsOfDirectory(atPath: folder)
    .filter { $0.hasSuffix(".json") }.sorted()

  static func read(_ name: String) throws -> VectorFile {
    let data = try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name))
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(VectorFile.self, from: data)
  }
}

struct VectorCase: Decodable {
  var name: String
  var loss: String
  var params: Parameters
  var inputs: Inputs
  var expected: Expected
  var tol: Tolerances

  struct Parameters: Decodable {
    var temperature: Double?
    var tau: Double?
    var alpha: Double?
    var beta: Double?
    var gamma: Double?
    var eps: Double?
    var tauSquared: Bool?
    var weight: Double?
    var ceWeight: Double?
    var kdWeight: Double?
    var ndWeight: Double?
    var epoch: Int?
    var warmupEpochs: Int?
    var tail: String?
    var k: Int?
    var numClasses: Int?
  }

  struct Inputs: Decodable {
    var studentLogits: [[Double]]?
    var teacherLogits: [[Double]]?
    var labels: [Int]?
    var order: [[Int]]?
    var studentFeatures: [[Double]]?
    var teacherFeatures: [[Double]]?
    var classMeans: [[Double]]?
    var generator: Generator?
    var topkIndex: [[Int]]?
    var topkLogit: [[Double]]?
    var lseAtTemperature: [Double]?
    var tailLseAtTemperature: [Double?]?
    var labelLogit: [Double]?
    var tailMean: [Double?]?
  }

  struct Generator: Decodable {
    var kind: String
    var shape: [Int]
    var studentLogits: Stream
    var teacherLogits: Stream

    struct Stream: Decodable {
      var seed: UInt64
      var lo: Double
      var hi: Double
    }

    /// Uniform numbers from SplitMix64, row-major.
    func rows(_ stream: Stream) -> [[Double]] {
      var generator = SeededGenerator(seed: stream.seed)
      return (0..<shape[0]).map { _ in
        (0..<shape[1]).map { _ in
          stream.lo + (stream.hi - stream.lo) * (Double(generator.next() >> 11) * 0x1p-53)
        }
      }
    }
  }

  struct Expected: Decodable {
    var loss: Double
    var gradOf: String
    var grad: [[Double]]?
    var gradProbe: Probe?
    var gradStudentFeatures: [[Double]]?

    struct Probe: Decodable {
      var l2: Double
      var weightedSum: Double
      var entries: [[Double]]
    }
  }

  struct Tolerances: Decodable {
    var f64: Tolerance
    var f32: Tolerance
  }

  struct Tolerance: Decodable {
    var lossAbs: Double
    var gradAbs: Double
    var skip: String?
  }

  var student: [[Double]] {
    inputs.studentLogits ?? inputs.generator!.rows(inputs.generator!.studentLogits)
  }
  var labels: [Int] { inputs.labels ?? student.map { _ in 0 } }

  /// The teacher's records: all classes, or what a truncated case keeps of them.
  var records: [ReferenceRecord] {
    if inputs.topkIndex != nil { return truncatedRecords }
    let rows = inputs.teacherLogits ?? inputs.generator!.rows(inputs.generator!.teacherLogits)
    return zip(rows, labels).map { ReferenceRecord(full: $0, label: $1) }
  }

  private var truncatedRecords: [ReferenceRecord] {
    let temperature = params.temperature ?? params.tau ?? 1
    return inputs.topkIndex!.indices.map { b in
      let ids = inputs.topkIndex![b]
      let logits = inputs.topkLogit![b]
      var record = ReferenceRecord(full: logits)
      record.ids = ids
      record.logits = logits
      record.label = inputs.labels?[b] ?? ids[0]
      record.labelLogit = inputs.labelLogit?[b] ?? logits[0]
      if let tail = inputs.tailLseAtTemperature?[b] {
        record.logTailRatio = tail - logSumExp(logits.map { $0 / temperature })
      }
      record.tailMean = (inputs.tailMean?[b] ?? nil) ?? 0
      return record
    }
  }

  /// The first way in which a result is wrong; nil when it is right.
  func mismatch(
    loss: Double, gradient: [[Double]], featureGradient: [[Double]]? = nil, _ tolerance: Tolerance
  ) -> String? {
    let flat = gradient.flatMap(\.self)
    guard loss.isFinite && flat.allSatisfy(\.isFinite) else { return "not finite" }
    if tolerance.skip != nil { return nil }
    func far(_ what: String, _ value: Double, _ right: Double, _ allowed: Double) -> String? {
      abs(value - right) <= allowed
        ? nil : "\(what) is \(value), should be \(right) within \(allowed)"
    }
    if let wrong = far("loss", loss, expected.loss, tolerance.lossAbs) { return wrong }
    if let right = expected.grad?.flatMap(\.self) {
      if let wrong = farthest(flat, right, tolerance.gradAbs) { return wrong }
    }
    if let probe = expected.gradProbe {
      let l2 = flat.reduce(0) { $0 + $1 * $1 }.squareRoot()
      let weighted = flat.enumerated().reduce(0) {
        $0 + $1.element * ((Double(($1.offset * 7919) % 101) - 50) / 50)
      }
      if let wrong = far("l2 norm", l2, probe.l2, 10 * tolerance.gradAbs)
        ?? far("weighted sum", weighted, probe.weightedSum, 10 * tolerance.gradAbs)
      {
        return wrong
      }
      for entry in probe.entries {
        if let wrong = far(
          "gradient \(Int(entry[0]))", flat[Int(entry[0])], entry[1], tolerance.gradAbs)
        {
          return wrong
        }
      }
    }
    if let right = expected.gradStudentFeatures?.flatMap(\.self) {
      return farthest(featureGradient?.flatMap(\.self) ?? [], right, tolerance.gradAbs)
    }
    return expected.grad == nil && expected.gradProbe == nil ? "no expected gradient" : nil
  }

  private func farthest(_ values: [Double], _ right: [Double], _ allowed: Double) -> String? {
    guard values.count == right.count else {
      return "\(values.count) gradient entries, should be \(right.count)"
    }
    for (index, (value, wanted)) in zip(values, right).enumerated()
    where abs(value - wanted) > allowed {
      return "gradient \(index) is \(value), should be \(wanted) within \(allowed)"
    }
    return nil
  }
}
