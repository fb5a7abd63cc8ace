import Arrays
import Basics
import DataSets
import Foundation
import ONNXRuntime
import Pipelines
import Teachers
import Views

/// What `bench precompute` measures.
struct OverheadSettings {
  /// An ONNX model like PP-OCRv6_rec_small.onnx of PyPI's rapidocr; `nil` leaves it out.
  var model: String?
  /// Where ONNX Runtime is.
  var onnxRuntime: String?
  /// Records of the native teacher's cache, and of the ONNX teacher's.
  var nativeRecords: Int
  var onnxRecords: Int
  /// How often both sides run, in turn; the fastest of each counts.
  var rounds: Int
}

/// Wall time of `precompute`, from its call to the sealed cache, beside the bare teacher over the same
/// batches: views rendered before, logits thrown away, as many threads.
func precomputeBenchmark(_ settings: OverheadSettings, into report: inout BenchmarkReport) throws {
  let folder = FileManager.default.temporaryDirectory.path + "/logitcache-bench-\(getpid())"
  defer { try? FileManager.default.removeItem(atPath: folder) }
  try Files.makeFolder(folder)
  var cases: [(name: String, OverheadCase)] = [
    (
      "native ResNet-20, 10 classes",
      OverheadCase(
        data: "fashion-mnist/train[0:\(settings.nativeRecords)]",
        teacher: "Examples/fashion-mnist/teacher.yaml",
        recipe: "Examples/fashion-mnist/crop-flip.recipe.yaml", onnxRuntime: nil, folder: folder)
    )
  ]
  if let model = settings.model {
    cases.append(
      (
        "ONNX character reader, 18,709 classes",
        try characterReader(model, settings, folder: folder)
      ))
  }
  report.setup = ["rounds": "\(settings.rounds), the fastest of each side counts"]
  report.targets = []
  for (name, overheadCase) in cases {
    let prepared = try overheadCase.prepare()
    var (ours, bare) = (RunCost.infinite, RunCost.infinite)
    for _ in 0..<settings.rounds {
      bare = bare.least(try RunCost(of: prepared.run))
      ours = ours.least(try RunCost(of: overheadCase.run))
    }
    report.rows += [
      .lessIsBetter(
        "\(name), \(prepared.records) records", ours: ours.wall, peer: bare.wall, unit: "s"),
      .lessIsBetter("the same, time of all CPU cores", ours: ours.cpu, peer: bare.cpu, unit: "s"),
    ]
    report.targets?.append(
      BenchmarkTarget(
        name: "precompute over bare teacher, \(name)", bound: 1.05, isUpper: true,
        measured: ours.wall / bare.wall))
  }
}

/// Seconds on the clock, and of all CPU cores: the second is the same on a machine that others use too.
private struct RunCost {
  var wall: Double
  var cpu: Double

  static let infinite = RunCost(wall: .infinity, cpu: .infinity)

  init(wall: Double, cpu: Double) { (self.wall, self.cpu) = (wall, cpu) }

  init(of body: () throws -> Void) rethrows {
    let clock = ContinuousClock()
    let (start, cpuStart) = (clock.now, RunCost.cpuSeconds)
    try body()
    (wall, cpu) = ((clock.now - start).inSeconds, RunCost.cpuSeconds - cpuStart)
  }

  func least(_ other: RunCost) -> RunCost {
    RunCost(wall: min(wall, other.wall), cpu: min(cpu, other.cpu))
  }

  /// What this process has used so far, all threads.
  private static var cpuSeconds: Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}

/// A data set and a teacher.
private struct OverheadCase {
  var data: String
  var teacher: String
  var recipe: String?
  var onnxRuntime: String?
  var folder: String

  private var threads: Int { ProcessInfo.processInfo.activeProcessorCount }

  func run() throws {
    let cache = folder + "/cache"
    defer { try? FileManager.default.removeItem(atPath: cache) }
    try precompute(
      PrecomputeJob(
        data: data, teacher: teacher, onnxRuntime: onnxRuntime, recipe: recipe, views: 1, seed: 1,
        making: CacheMaking(
          command: "precompute", cache: cache, threads: threads, commitSeconds: 5)))
  }

  /// Renders all batches, as `precompute` cuts them.
  func prepare() throws -> PreparedBatches {
    let dataSet = try openDataSet(data)
    let teacher = try openTeacher(
      configuration: teacher, for: dataSet, onnxRuntime: onnxRuntime)
    let augmenter = try Augmenter(
      dataSet: dataSet, recipe: recipe.map { try Recipe(contentsOf: $0) } ?? .identity, seed: 1)
    let batches = try stride(from: 0, to: dataSet.count, by: teacher.batchSize).map { first in
      var views = augmenter.makeBatch()
      try augmenter.render(
        samples: first..<min(first + teacher.batchSize, dataSet.count), view: 0, into: &views)
      return views
    }
    return PreparedBatches(
      teacher: teacher, batches: batches, records: dataSet.count, threads: threads)
  }
}

private struct PreparedBatches: Sendable {
  let teacher: any Teacher
  let batches: [ViewBatch]
  let records: Int
  let threads: Int

  /// The teacher alone.
  func run() throws {
    let queue = OrderedResults<Bool>(count: batches.count, ahead: batches.count)
    for _ in 0..<threads {
      let thread = Thread {
        do {
          let session = try teacher.makeSession()
          var logits = [Float](repeating: 0, count: teacher.batchSize * teacher.classes)
          while let index = queue.claim() {
            var all = logits.mutableSpan
            var part = all._mutatingExtracting(0..<batches[index].count * teacher.classes)
            try session.logits(of: batches[index], into: &part)
            queue.deliver(true, at: index)
          }
        } catch {
          queue.fail(error, at: 0)
        }
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    for _ in batches { _ = try queue.next() }
  }
}

/// Garments in the middle of pictures of 48 x 48, for a model that reads characters.
///
/// What they show does not change how long it takes. Every class is kept.
private func characterReader(
  _ model: String, _ settings: OverheadSettings, folder: String
) throws -> OverheadCase {
  let count = settings.onnxRecords
  let garments = try openDataSet("fashion-mnist/train[0:\(count)]")
  var pixels = [UInt8](repeating: 0, count: count * 48 * 48)
  var garment = [UInt8](repeating: 0, count: 28 * 28)
  for sample in 0..<count {
    var span = garment.mutableSpan
    garments.copyPixels(of: sample, into: &span)
    for (index, pixel) in garment.enumerated() {
      pixels[(sample * 48 + index / 28 + 10) * 48 + index % 28 + 10] = pixel
    }
  }
  try NumPy.write(
    NamedArray(shape: [count, 48, 48], values: .uint8(pixels)), to: folder + "/images.npy")
  try NumPy.write(
    NamedArray(shape: [count], values: .int32((0..<count).map { Int32($0 * 2 % 18_709) })),
    to: folder + "/labels.npy")
  let runtime = try Runtime(LibraryPlace.chosen(flag: settings.onnxRuntime, configured: nil))
  let session = try Session(runtime, model: Files.read(model), source: model, threads: 1)
  let names = (try session.metadata("character") ?? "").components(separatedBy: "\n") + [" "]
  try Files.writeAtomically(
    """
    {kind: arrays, name: garments, images: images.npy, labels: labels.npy,
     classNames: \(try canonicalJSON(names))}
    """, to: folder + "/data.yaml")
  let absolute =
    model.hasPrefix("/") ? model : FileManager.default.currentDirectoryPath + "/" + model
  try Files.writeAtomically(
    """
    version: 1
    kind: onnx
    model: \(absolute)
    batch: 32
    input: {channels: bgr, mean: 0.5, deviation: 0.5}
    output: {kind: probabilities, layout: ntc, position: {rule: best-nonblank, blank: 0}}
    class-names: {metadata: character, first: [blank], last: [" "]}
    """, to: folder + "/teacher.yaml")
  return OverheadCase(
    data: folder + "/data.yaml", teacher: folder + "/teacher.yaml", recipe: nil,
    onnxRuntime: settings.onnxRuntime, folder: folder)
}
