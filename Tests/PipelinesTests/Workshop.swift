import Arrays
import Basics
import DataSets
import LogitCache
import Networks
import Pipelines
import Teachers
import TestSupport
import Views

/// A folder with small pictures, a teacher for them, recipes, and jobs on them.
final class Workshop {
  let folder = ScratchFolder()
  let pictures: SmallPictures
  let data: String
  let teacher: String
  let recipe: String

  /// - Parameter network: the teacher's; its weights are random, which is as good as trained ones
  ///   where only the way of its logits is looked at.
  init(
    samples: Int = 300, side: Int = 8, classes: Int = 4, seed: UInt64 = 1,
    network: String = "mlp-16"
  ) throws {
    pictures = SmallPictures(count: samples, side: side, classes: classes, seed: seed)
    data = try pictures.write(to: folder)
    recipe = try folder.write(
      """
      version: 1
      operations:
        - {op: pad-crop, pad: 1}
        - {op: flip}
      """, to: "recipe.yaml")
    teacher = folder.file("teacher.yaml")
    try writeTeacher(network: network, side: side, classes: classes, seed: 7)
  }

  /// A workshop whose teacher has learned the classes.
  static func withTrainedTeacher() throws -> Workshop {
    let workshop = try Workshop()
    try train(
      workshop.plan("ce", epochs: 12, model: "mlp-32", "recipe: recipe.yaml"),
      workshop.options("teacher"))
    try remove(workshop.folder.file("teacher.safetensors"))
    try copy(
      workshop.folder.file("teacher/model.safetensors"),
      to: workshop.folder.file("teacher.safetensors"))
    return workshop
  }

  /// Writes `NAME.yaml` and `NAME.safetensors`: a network with random weights.
  @discardableResult
  func writeTeacher(
    _ name: String = "teacher", network: String = "mlp-16", side: Int = 8, classes: Int = 4,
    seed: UInt64, batch: Int = 32
  ) throws -> String {
    let network = try Network(
      Architecture(network), input: LayerShape(height: side, width: side, channels: 1),
      classes: classes, seed: seed)
    let model = Model(network: network, normalisation: Normalisation(mean: 0.4, deviation: 0.3))
    try model.save(to: folder.file("\(name).safetensors"))
    return try describeTeacher(name, batch: batch)
  }

  @discardableResult
  func describeTeacher(_ name: String, batch: Int = 32) throws -> String {
    try folder.write(
      "{version: 1, kind: native, weights: \(name).safetensors, batch: \(batch)}",
      to: "\(name).yaml")
  }

  /// A precompute job over the workshop's data, with the cropping recipe unless told otherwise.
  func job(
    _ cache: String = "cache", views: Int = 2, features: Bool = false,
    kept: KeptRecord = KeptRecord()
  ) -> PrecomputeJob {
    PrecomputeJob(
      data: data, teacher: teacher, recipe: recipe, views: views, seed: 1,
      features: features, kept: kept, making: folder.making(cache))
  }

  /// A training plan with the workshop's data; `settings` are further lines of its file.
  func plan(
    _ loss: String, epochs: Int = 3, model: String = "mlp-16", data: String? = nil,
    _ settings: String...
  ) throws -> TrainingPlan {
    let lines = [
      "version: 1", "data: \(data ?? self.data)", "model: \(model)", "loss: \(loss)",
      "epochs: \(epochs)", "batch: 32", "learning-rate: 0.05", "clip-norm: 1",
    ]
    return try TrainingPlan(
      yamlAt: folder.write((lines + settings).joined(separator: "\n"), to: "training.yaml"))
  }

  /// How to train into the folder `out`.
  func options(
    _ out: String = "out", check: ViewCheck = .all, acceptsError: Bool = false,
    log: @escaping @Sendable (String) -> Void = { _ in }
  ) -> TrainingOptions {
    TrainingOptions(
      folder: folder.file(out), checkedViews: check, acceptsError: acceptsError, threads: 1,
      log: log)
  }

  func modelBytes(_ out: String) throws -> [UInt8] {
    try Files.read(folder.file(out) + "/model.safetensors")
  }
}

extension Workshop {
  /// Makes a linear teacher infinite where the first pixel is 255, and leave it alone at 0.
  func overflowOnBrightCorner() throws {
    let path = folder.file("teacher.safetensors")
    var file = try Safetensors.read(path)
    let name = "classifier.weight"
    guard case .float32(var weights)? = file.arrays[name]?.values else {
      throw Problem(.corrupt, "no \(name)")
    }
    weights[1] = 3e38  // first pixel, class 1
    file.arrays[name]!.values = .float32(weights)
    file.metadata["mean"] = "0.0"  // so that the pixel 0 is the input 0
    try Safetensors.write(file, to: path)
  }

  /// Makes a block as simply as possible: one sample after the other through augmentation, one batch
  /// after the other through the network.
  func makeBlock(
    _ key: BlockKey, of finished: CacheReader, viewDigest: Digest? = nil
  ) throws -> EncodedBlock {
    try makeBlock(
      key, of: finished.manifest, calibration: finished.calibration, viewDigest: viewDigest)
  }

  /// Makes a block of any cache over the workshop's pictures.
  func makeBlock(
    _ key: BlockKey, of manifest: Manifest, calibration: Calibration, viewDigest: Digest? = nil
  ) throws -> EncodedBlock {
    let augmenter = try Augmenter(
      dataSet: openDataSet(data), recipe: Recipe(contentsOf: recipe), seed: manifest.seed)
    let model = try Model.load(from: folder.file("teacher.safetensors"))
    let samples = manifest.samples(of: key)
    var logits: [Float] = []
    var features: [Float] = []
    var views = augmenter.makeBatch()
    for start in stride(from: samples.lowerBound, to: samples.upperBound, by: 32) {
      try augmenter.render(
        samples: start..<min(start + 32, samples.upperBound), view: key.view, into: &views)
      model.network.infer(model.inputBatch(of: views)).withValues { values in
        for index in 0..<values.count { logits.append(values[index]) }
      }
      guard manifest.encoding.featureWidth != nil else { continue }
      model.network.features.withValues { values in
        for index in 0..<values.count { features.append(values[index]) }
      }
    }
    return try BlockEncoder(manifest: manifest, calibration: calibration).encode(
      logits: logits.span, labels: Array(pictures.labels[samples]), view: key.view,
      block: key.block, firstSample: samples.lowerBound,
      viewDigest: viewDigest ?? augmenter.digest(samples: samples, view: key.view),
      features: features.span)
  }

  /// Opens a cache with the manifest, labels and calibration of a finished one.
  func writer(_ cache: String, like finished: String) throws -> CacheWriter {
    let reader = try CacheReader(path: folder.file(finished))
    return try CacheWriter(
      path: folder.file(cache), manifest: reader.manifest, labels: pictures.labels,
      calibration: reader.calibration)
  }

  /// Begins another cache with the manifest of a finished one, and puts some blocks into it.
  func begin(_ cache: String, like finished: String, with keys: [BlockKey]) throws {
    let reader = try CacheReader(path: folder.file(finished))
    let writer = try writer(cache, like: finished)
    for key in keys { try writer.append([makeBlock(key, of: reader)]) }
  }
}

extension ScratchFolder {
  /// How a cache of the folder is made: all in one commit.
  func making(
    _ cache: String, command: String = "precompute", threads: Int = 1
  ) -> CacheMaking {
    CacheMaking(command: command, cache: file(cache), threads: threads, commitSeconds: 1000)
  }
}
