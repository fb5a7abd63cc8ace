import Arrays
import Basics
import DataSets
import Pipelines
import Teachers
import TestSupport
import Views

/// A folder with pictures and an ONNX model as teacher.
struct ONNXBench {
  let folder = ScratchFolder()
  /// The data set's description.
  private(set) var data = ""
  /// The teacher's configuration.
  private(set) var teacher = ""

  /// Pictures [n, height, width, channels] from a seed; classes "class 0", "class 1", ....
  init(
    samples: Int = 20, height: Int = 8, width: Int = 8, channels: Int = 1, classNames: [String],
    seed: UInt64 = 1
  ) throws {
    var generator = SeededGenerator(seed: seed)
    let count = samples * height * width * channels
    let pixels = (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    try NumPy.write(
      NamedArray(shape: [samples, height, width, channels], values: .uint8(pixels)),
      to: folder.file("images.npy"))
    let labels = (0..<samples).map { Int32($0 % classNames.count) }
    try NumPy.write(
      NamedArray(shape: [samples], values: .int32(labels)), to: folder.file("labels.npy"))
    let names = classNames.map { "\"\($0)\"" }.joined(separator: ", ")
    data = try folder.write(
      """
      {kind: arrays, name: pictures, images: images.npy, labels: labels.npy, classNames: [\(names)]}
      """, to: "data.yaml")
    teacher = folder.file("teacher.yaml")
  }

  /// As many classes as `classes`.
  init(samples: Int = 20, side: Int = 8, channels: Int = 1, classes: Int) throws {
    try self.init(
      samples: samples, height: side, width: side, channels: channels,
      classNames: (0..<classes).map { "class \($0)" })
  }

  /// Writes model and configuration; `settings` are further lines.
  func describe(_ model: ONNXModel, _ settings: String...) throws {
    try model.write(to: folder)
    let lines = ["version: 1", "kind: onnx", "model: model.onnx"] + settings
    try folder.write(lines.joined(separator: "\n"), to: "teacher.yaml")
  }

  func open(library: String = InstalledRuntime.folder) throws -> any Teacher {
    try openTeacher(configuration: teacher, for: openDataSet(data), onnxRuntime: library)
  }

  /// All views without augmentation.
  func views(_ samples: Range<Int>) throws -> ViewBatch {
    let augmenter = try Augmenter(dataSet: openDataSet(data), recipe: .identity, seed: 1)
    var views = augmenter.makeBatch()
    try augmenter.render(samples: samples, view: 0, into: &views)
    return views
  }

  /// The teacher's logits of some samples, batch after batch, row-major.
  func logits(_ samples: Range<Int>) throws -> [Float] {
    let teacher = try open()
    let session = try teacher.makeSession()
    var all: [Float] = []
    for first in stride(from: samples.lowerBound, to: samples.upperBound, by: teacher.batchSize) {
      let views = try views(first..<min(first + teacher.batchSize, samples.upperBound))
      var logits = [Float](repeating: .nan, count: views.count * teacher.classes)
      var span = logits.mutableSpan
      try session.logits(of: views, into: &span)
      all += logits
    }
    return all
  }

  func job(_ cache: String = "cache", library: String = InstalledRuntime.folder) -> PrecomputeJob {
    PrecomputeJob(
      data: data, teacher: teacher, onnxRuntime: library, recipe: nil, views: 1, seed: 1,
      making: folder.making(cache))
  }
}
