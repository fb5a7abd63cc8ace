import Arrays
import Basics
import ONNXRuntime
import TestSupport
import Testing

/// A runtime that all tests share, as threads of a program do.
private let shared = Result {
  try Runtime(LibraryPlace(path: InstalledRuntime.folder, origin: "the tests"))
}

/// Runs a model on values.
private func run<Element: TensorElement>(
  _ session: Session, _ values: [Element], shape: [Int]
) throws -> (values: [Float], shape: [Int]) {
  let input = try InputTensor<Element>(session.runtime, shape: shape)
  input.withMutableValues { for index in 0..<$0.count { $0[index] = values[index] } }
  let output = try session.run(input, as: "x", giving: "y")
  return (output.withValues { span in span.indices.map { span[$0] } }, output.shape)
}

@Suite(.enabled(if: InstalledRuntime.isThere, "\(InstalledRuntime.absence)"))
struct SessionTests {
  private let folder = ScratchFolder()

  private func open(_ model: ONNXModel, threads: Int = 1) throws -> Session {
    try Session(shared.get(), model: model.bytes, source: "small.onnx", threads: threads)
  }

  /// `count` pixels from a seed.
  private func pixels(_ count: Int, seed: UInt64) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
  }

  @Test func `a model describes its inputs, outputs and metadata`() throws {
    let session = try open(.classifier(element: .uint8, channels: 3, side: 5, classes: 7))
    #expect(session.inputs.map(\.description) == ["x, uint8 [?, 3, 5, 5]"])
    #expect(session.outputs.map(\.description) == ["y, float32 [?, 7]"])
    #expect(try session.metadata("names")?.hasPrefix("class 0\nclass 1\n") == true)
    #expect(try session.metadata("nothing") == nil)
    let other = try open(.echo(.float64, 2, 3))
    #expect(other.inputs.map(\.description) == ["x, another type [2, 3]"])
  }

  @Test(arguments: [ONNXModel.Element.float32, .uint8, .int32])
  func `every element type gives what plain arithmetic gives`(element: ONNXModel.Element) throws {
    let (batch, width, classes) = (3, 64, 4)
    let session = try open(.classifier(element: element, scale: 0.1))
    let pixels = pixels(batch * width, seed: 5)
    let shape = [batch, 1, 8, 8]
    let given =
      switch element {
      case .uint8: try run(session, pixels, shape: shape)
      case .int32: try run(session, pixels.map(Int32.init), shape: shape)
      default: try run(session, pixels.map(Float.init), shape: shape)
      }
    #expect(given.shape == [batch, classes])
    let layer = ONNXModel.randomLayer(from: width, to: classes, 1, 0.1)
    for row in 0..<batch {
      for c in 0..<classes {
        var sum = Double(layer[1].values[c])
        for i in 0..<width {
          sum += Double(pixels[row * width + i]) * Double(layer[0].values[i * classes + c])
        }
        #expect(abs(Double(given.values[row * classes + c]) - sum) < 1e-4)
      }
    }
  }

  @Test(arguments: ONNXModel.Ending.allCases, [1, 5, 32])
  func `values are bit for bit those of Python's onnxruntime at the same batch shape`(
    ending: ONNXModel.Ending, batch: Int
  ) throws {
    let model = ONNXModel.classifier(
      channels: 3, side: 12, classes: 37, seed: UInt64(batch), scale: 0.05, ending: ending)
    let input = pixels(batch * 3 * 12 * 12, seed: 9).map(Float.init)
    let shape = [batch, 3, 12, 12]
    let path = try model.write(to: folder)
    try NumPy.write(NamedArray(shape: shape, values: .float32(input)), to: folder.file("x.npy"))
    try InstalledRuntime.python(
      """
      import sys, numpy, onnxruntime
      options = onnxruntime.SessionOptions()
      options.intra_op_num_threads = 1
      session = onnxruntime.InferenceSession(sys.argv[1], options)
      numpy.save(sys.argv[3], session.run(["y"], {"x": numpy.load(sys.argv[2])})[0])
      """, [path, folder.file("x.npy"), folder.file("y.npy")])
    guard case .float32(let expected) = try NumPy.read(folder.file("y.npy")).values else {
      throw Problem(.corrupt, "Python gave no float32")
    }
    let given = try run(open(model), input, shape: shape)
    #expect(given.values.map(\.bitPattern) == expected.map(\.bitPattern))
  }

  @Test func `threads share a session`() async throws {
    let session = try open(.classifier(scale: 0.1))
    let input = pixels(2 * 64, seed: 3).map(Float.init)
    let alone = try run(session, input, shape: [2, 1, 8, 8]).values
    try await withThrowingTaskGroup(of: [Float].self) { group in
      for _ in 0..<8 {
        group.addTask { try run(session, input, shape: [2, 1, 8, 8]).values }
      }
      for try await values in group { #expect(values == alone) }
    }
  }

  @Test func `what is no model is refused by its name and in the runtime's words`() throws {
    let whole = ONNXModel.classifier().bytes
    for bytes in [[], Array("no model".utf8), Array(whole.prefix(whole.count / 2))] {
      let problem = #expect(throws: Problem.self) {
        try Session(shared.get(), model: bytes, source: "wrong.onnx", threads: 1)
      }
      #expect(problem?.kind == .corrupt)
      #expect(problem?.message.contains("wrong.onnx") == true)
    }
  }

  @Test func `an input of the wrong shape is refused in the runtime's words`() throws {
    let session = try open(.classifier(batch: 2))
    let problem = #expect(throws: Problem.self) {
      try run(session, [Float](repeating: 0, count: 3 * 64), shape: [3, 1, 8, 8])
    }
    #expect(problem?.message.contains("small.onnx") == true)
    #expect(problem?.message.contains("ONNX Runtime code") == true)
  }
}

@Suite struct OlderLibraryTests {
  @Test(.enabled(if: InstalledRuntime.hasOlder, "\(InstalledRuntime.absence)"))
  func `another version of the library serves through the same table`() throws {
    let runtime = try Runtime(LibraryPlace(path: InstalledRuntime.olderFolder, origin: "the tests"))
    #expect(runtime.version == "1.20.1")
    let session = try Session(
      runtime, model: ONNXModel.classifier().bytes, source: "small.onnx", threads: 2)
    let input = try InputTensor<Float>(runtime, shape: [2, 1, 8, 8])
    let bias = ONNXModel.randomLayer(from: 64, to: 4, 1, 1)[1]
    let output = try session.run(input, as: "x", giving: "y")
    #expect(output.shape == [2, 4])
    #expect(try session.metadata("names")?.hasPrefix("class 0") == true)
    output.withValues { values in
      for index in 0..<8 { #expect(values[index] == bias.values[index % 4]) }
    }
  }
}
