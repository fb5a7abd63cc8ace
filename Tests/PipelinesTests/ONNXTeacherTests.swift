import Arrays
import Basics
import Foundation
import Pipelines
import Teachers
import TestSupport
import Testing
import Views

@Suite(.enabled(if: InstalledRuntime.isThere, "\(InstalledRuntime.absence)"))
struct ONNXTeacherTests {
  /// What every kind of output is before it is one.
  private func plainLogits(_ bench: ONNXBench, _ model: ONNXModel, _ rows: Range<Int>) throws
    -> [Float]
  {
    try bench.describe(model, "output: {kind: logits}")
    return try bench.logits(rows)
  }

  private func words(_ ending: ONNXModel.Ending) -> String {
    switch ending {
    case .logits: "logits"
    case .probabilities: "probabilities"
    case .logProbabilities: "log-probabilities"
    case .sigmoid: "sigmoid"
    }
  }

  @Test(arguments: ONNXModel.Ending.allCases)
  func `every kind of output becomes the logits behind it`(ending: ONNXModel.Ending) throws {
    let bench = try ONNXBench(classes: 6)
    let plain = try plainLogits(bench, .classifier(classes: 6, scale: 4), 0..<20)
    try bench.describe(
      .classifier(classes: 6, scale: 4, ending: ending), "output: {kind: \(words(ending))}")
    let given = try bench.logits(0..<20)
    for row in 0..<20 {
      // Of a softmax, logits come back up to one number a row.
      let isSoftmax = ending == .probabilities || ending == .logProbabilities
      let shift = isSoftmax ? plain[row * 6] - given[row * 6] : 0
      for index in row * 6..<(row + 1) * 6 {
        #expect(abs(given[index] + shift - plain[index]) < 2e-5 * (1 + abs(plain[index])))
      }
    }
  }

  @Test func `probabilities below the floor are the floor, and one is below one`() throws {
    let bench = try ONNXBench(samples: 2, height: 1, width: 3, classNames: ["a", "b", "c"])
    let pixels: [UInt8] = [0, 255, 51, 255, 0, 0]
    try NumPy.write(
      NamedArray(shape: [2, 1, 3, 1], values: .uint8(pixels)), to: bench.folder.file("images.npy"))
    let echo = ONNXModel.echo(.float32, "n", 1, 1, 3)
    try bench.describe(echo, "output: {kind: probabilities, floor: 0.001}")
    let least = Float(log(0.001))
    #expect(
      try zip(bench.logits(0..<2), [least, 0, Float(log(0.2)), 0, least, least])
        .allSatisfy { abs($0 - $1) < 1e-6 })
    try bench.describe(echo, "output: {kind: sigmoid, floor: 0.001}")
    let most = Float(log(Double(1 << 24) - 1))
    let logits = try bench.logits(0..<1)
    #expect(abs(logits[0] - Float(log(0.001 / 0.999))) < 1e-5)
    #expect(abs(logits[1] - most) < 1e-5)
    #expect(abs(logits[2] - Float(log(0.2 / 0.8))) < 1e-5)
  }

  @Test func `a model that takes batches of one size, and does not say so, is a teacher`() throws {
    let bench = try ONNXBench(samples: 8, height: 1, width: 3, classNames: ["a", "b", "c"])
    let model = ONNXModel(
      inputs: [ONNXModel.Tensor("input", .float32, "n", 1, 1, 3)],
      outputs: [ONNXModel.Tensor("output", .float32, "m", 3)],
      nodes: [ONNXModel.Node("Reshape", ["input", "shape"], ["output"])],
      integers: [ONNXModel.Integers("shape", [4, 3])])
    try bench.describe(model, "output: {kind: logits}", "batch: 4")
    let pixels = try bench.views(0..<8).pixels
    #expect(try bench.logits(0..<8) == pixels.map { Float($0) / 255 })
  }

  @Test func `values that cannot be of their kind are refused`() throws {
    let bench = try ONNXBench(classes: 4)
    for kind in ["probabilities", "log-probabilities", "sigmoid"] {
      try bench.describe(.classifier(scale: 30), "output: {kind: \(kind)}")
      let problem = #expect(throws: Problem.self) { try bench.logits(0..<20) }
      #expect(problem?.message.contains("output.kind is \(kind)") == true)
    }
  }

  @Test(arguments: ONNXModel.Ending.allCases, [false, true])
  func `of several positions the surest without blank is recorded`(
    ending: ONNXModel.Ending, isPositionFirst: Bool
  ) throws {
    let (samples, side, classes, blank) = (20, 8, 5, 2)
    let bench = try ONNXBench(classes: classes - 1)
    let model = ONNXModel.rowClassifier(isPositionFirst: isPositionFirst, ending: ending)
    try bench.describe(
      model,
      """
      output: {kind: \(words(ending)), layout: \(isPositionFirst ? "tnc" : "ntc"),
               position: {rule: best-nonblank, blank: \(blank)}}
      batch: 7
      """)
    let given = try bench.logits(0..<samples)
    let layer = ONNXModel.randomLayer(from: side, to: classes, 1, 4)
    let pixels = try bench.views(0..<samples).pixels
    for sample in 0..<samples {
      var best: (score: Double, row: [Double]) = (-.infinity, [])
      for position in 0..<side {
        let logits = (0..<classes).map { c in
          (0..<side).reduce(Double(layer[1].values[c])) { sum, i in
            let pixel = Double(pixels[(sample * side + position) * side + i]) / 255
            return sum + pixel * Double(layer[0].values[i * classes + c])
          }
        }
        let normaliser =
          ending == .sigmoid ? 0 : log(logits.reduce(0) { $0 + exp($1) })
        let others = logits.indices.filter { $0 != blank }.map { logits[$0] - normaliser }
        if others.max()! > best.score {
          best = (others.max()!, ending == .logits ? others.map { $0 + normaliser } : others)
        }
      }
      for c in 0..<classes - 1 {
        #expect(abs(Double(given[sample * (classes - 1) + c]) - best.row[c]) < 1e-4)
      }
    }
  }

  @Test(arguments: [1, 3, 64])
  func `a model of a fixed batch runs in it, and short batches are filled up`(batch: Int) throws {
    let bench = try ONNXBench(classes: 4)
    try bench.describe(.classifier(), "output: {kind: logits}", "batch: \(batch)")
    let free = try bench.logits(0..<20)
    try bench.describe(.classifier(batch: .fixed(batch)), "output: {kind: logits}")
    #expect(try bench.open().batchSize == batch)
    #expect(try bench.logits(0..<20) == free)
    // In one batch shape a row does not depend on how many stand beside it.
    let alone = try (0..<20).flatMap { try bench.logits($0..<$0 + 1) }
    #expect(alone == free)
    try bench.describe(
      .classifier(batch: .fixed(batch)), "output: {kind: logits}", "batch: \(batch + 1)")
    let problem = #expect(throws: Problem.self) { try bench.open() }
    #expect(problem?.message.contains("batch is \(batch + 1)") == true)
  }

  @Test func `logits are bit for bit those of Python's onnxruntime at the same batch shape`() throws
  {
    let bench = try ONNXBench(samples: 16, side: 12, channels: 3, classes: 21)
    try bench.describe(
      .classifier(channels: 3, side: 12, classes: 21), "output: {kind: logits}", "batch: 8",
      "input: {channels: bgr, mean: 0.5, deviation: 0.5}")
    try InstalledRuntime.python(
      """
      import sys, numpy, onnxruntime
      session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx")
      images = numpy.load(sys.argv[1] + "/images.npy")[..., ::-1].transpose(0, 3, 1, 2)
      x = (images.astype("float32") / numpy.float32(255) - numpy.float32(0.5)) / numpy.float32(0.5)
      rows = [session.run(["y"], {"x": x[start:start + 8]})[0] for start in (0, 8)]
      numpy.save(sys.argv[1] + "/rows.npy", numpy.concatenate(rows))
      """, [bench.folder.path])
    guard case .float32(let rows) = try NumPy.read(bench.folder.file("rows.npy")).values else {
      throw Problem(.corrupt, "Python gave no float32")
    }
    #expect(try bench.logits(0..<16).map(\.bitPattern) == rows.map(\.bitPattern))
  }

  @Test(arguments: [UInt64(1), 2, 3])
  func `the logarithm is within two units in the last place`(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<20_000 {
      // Any exponent of a normal number, or near 1, where the logarithm is near 0.
      let exponent = UInt32(generator.next() % 254) + 1
      let mantissa = UInt32(truncatingIfNeeded: generator.next()) >> 9
      for x in [Float(bitPattern: exponent << 23 | mantissa), 1 + Float(mantissa) * 0x1p-25] {
        let exact = log(Double(x))
        #expect(abs(Double(logarithm(x)) - exact) <= max(2.4e-7 * abs(exact), 3e-8), "\(x)")
      }
    }
    #expect(logarithm(Float.nan).isNaN)
    #expect(logarithm(Float(1)) == 0)
  }
}
