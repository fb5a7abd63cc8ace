import Basics
import DataSets
import Teachers
import TestSupport
import Testing
import Views

/// Preprocessing, seen through models that give their input back.
@Suite(.enabled(if: InstalledRuntime.isThere, "\(InstalledRuntime.absence)"))
struct ONNXInputTests {
  @Test(arguments: [false, true], [1, 3])
  func `layout, order of channels and normalisation are as configured`(
    isChannelsLast: Bool, channels: Int
  ) throws {
    let (height, width) = (3, 5)
    for isBGR in [false, true] {
      let bench = try ONNXBench(
        samples: 4, height: height, width: width, channels: channels,
        classNames: (0..<45).map { "class \($0)" })
      let (mean, deviation): ([Float], [Float]) = ([0.5, 0.25, 0.125], [0.5, 1, 2])
      try bench.describe(
        isChannelsLast ? .echo(.float32, "n", 3, 5, 3) : .echo(.float32, "n", 3, 3, 5),
        """
        input: {layout: \(isChannelsLast ? "nhwc" : "nchw"), channels: \(isBGR ? "bgr" : "rgb"),
                mean: [0.5, 0.25, 0.125], deviation: [0.5, 1, 2]}
        output: {kind: logits}
        """)
      let views = try bench.views(0..<4)
      var expected: [Float] = []
      for view in 0..<4 {
        for index in 0..<45 {
          let (y, x, channel) =
            isChannelsLast
            ? (index / 15, index / 3 % 5, index % 3) : (index % 15 / 5, index % 5, index / 15)
          let source = channels == 1 ? 0 : isBGR ? 2 - channel : channel
          let pixel = views.pixels[((view * height + y) * width + x) * channels + source]
          expected.append((Float(pixel) / 255 - mean[channel]) / deviation[channel])
        }
      }
      #expect(try bench.logits(0..<4) == expected)
    }
  }

  @Test(arguments: [ONNXModel.Element.uint8, .int32])
  func `integer inputs take pixels as they are`(element: ONNXModel.Element) throws {
    let bench = try ONNXBench(side: 3, classes: 9)
    try bench.describe(.echo(element, "n", 1, 3, 3), "output: {kind: logits}", "batch: 4")
    #expect(try bench.logits(0..<6) == bench.views(0..<6).pixels.map(Float.init))
    try bench.describe(
      .echo(element, "n", 1, 3, 3), "input: {mean: 0.5}", "output: {kind: logits}")
    #expect(throws: Problem.self) { try bench.open() }
  }

  /// Bilinear resizing as its definition says, in Double.
  private func resized(
    _ pixels: [UInt8], from: (Int, Int), to: (Int, Int)
  ) -> [Double] {
    func place(_ target: Int, _ from: Int, _ to: Int) -> (Int, Int, Double) {
      let position = min(
        max((Double(target) + 0.5) * Double(from) / Double(to) - 0.5, 0), Double(from - 1))
      let first = Int(position)
      return (first, min(first + 1, from - 1), position - Double(first))
    }
    return (0..<to.0 * to.1).map { index in
      let (top, bottom, v) = place(index / to.1, from.0, to.0)
      let (left, right, u) = place(index % to.1, from.1, to.1)
      func pixel(_ y: Int, _ x: Int) -> Double { Double(pixels[y * from.1 + x]) }
      return (pixel(top, left) * (1 - u) + pixel(top, right) * u) * (1 - v)
        + (pixel(bottom, left) * (1 - u) + pixel(bottom, right) * u) * v
    }
  }

  @Test(arguments: [(7, 5, 7, 9), (4, 9, 10, 3), (1, 1, 3, 2), (12, 12, 5, 5)])
  func `stretched pictures are within a level of bilinear arithmetic`(
    height: Int, width: Int, newHeight: Int, newWidth: Int
  ) throws {
    let count = newHeight * newWidth
    let bench = try ONNXBench(
      samples: 3, height: height, width: width, classNames: (0..<count).map { "\($0)" })
    try bench.describe(
      .echo(.float32, "n", 1, "h", "w"),
      "input: {size: [\(newHeight), \(newWidth)], fit: stretch, divide-by: 1}",
      "output: {kind: logits}")
    let given = try bench.logits(0..<3)
    let pixels = try bench.views(0..<3).pixels
    for view in 0..<3 {
      let picture = Array(pixels[view * height * width..<(view + 1) * height * width])
      let expected = resized(picture, from: (height, width), to: (newHeight, newWidth))
      for index in 0..<count {
        #expect(abs(Double(given[view * count + index]) - expected[index]) <= 0.7)
      }
    }
  }

  @Test func `pictures keep their shape and are padded at the right`() throws {
    let bench = try ONNXBench(
      samples: 2, height: 4, width: 2, classNames: (0..<20).map { "\($0)" })
    try bench.describe(
      .echo(.float32, "n", 1, 4, 5), "input: {fit: right-pad, divide-by: 1, pad-value: -7}",
      "output: {kind: logits}")
    let pixels = try bench.views(0..<2).pixels
    let expected = (0..<40).map { index -> Float in
      let (row, x) = (index / 5, index % 5)
      return x < 2 ? Float(pixels[row * 2 + x]) : -7
    }
    #expect(try bench.logits(0..<2) == expected)
  }

  @Test func `features are normalised too`() throws {
    let folder = ScratchFolder()
    let pictures = SmallPictures(count: 5, side: 2, classes: 4)
    let data = try pictures.writeFeatures(to: folder)
    try ONNXModel.echo(.float32, "n", 4).write(to: folder)
    let teacher = try folder.write(
      """
      {version: 1, kind: onnx, model: model.onnx, input: {mean: 0.5, deviation: 0.25},
       output: {kind: logits}}
      """, to: "teacher.yaml")
    let session = try openTeacher(
      configuration: teacher, for: openDataSet(data), onnxRuntime: InstalledRuntime.folder
    ).makeSession()
    let augmenter = try Augmenter(dataSet: openDataSet(data), recipe: .identity, seed: 1)
    var views = augmenter.makeBatch()
    try augmenter.render(samples: 0..<5, view: 0, into: &views)
    var logits = [Float](repeating: 0, count: 20)
    var span = logits.mutableSpan
    try session.logits(of: views, into: &span)
    #expect(logits == views.features.map { ($0 - 0.5) / 0.25 })
  }

  @Test(arguments: [
    ("fit: exact", "8 x 8"), ("size: [9, 9]", "9 x 9"), ("name: z", "'z'"),
    ("mean: [1, 2], fit: stretch", "2 numbers for 1"), ("deviation: 0, fit: stretch", "deviation"),
  ])
  func `an input that does not fit is refused in words`(setting: String, named: String) throws {
    let bench = try ONNXBench(classes: 4)
    try bench.describe(
      .classifier(side: 10), "input: {\(setting)}", "output: {kind: logits}")
    let problem = #expect(throws: Problem.self) { try bench.open() }
    #expect(problem?.message.contains(named) == true, "\(problem?.message ?? "")")
  }
}
