import Arrays
import Basics
import LogitCache
import Losses
import Pipelines
import Teachers
import TestSupport

/// Random rows and labels, and the files that somebody could have of them.
final class RowFiles {
  let folder = ScratchFolder()
  let samples: Int
  let views: Int
  let classes: Int
  /// [samples, views, classes].
  let rows: [Float]
  let labels: [Int32]

  init(samples: Int, views: Int, classes: Int, seed: UInt64) {
    (self.samples, self.views, self.classes) = (samples, views, classes)
    var generator = SeededGenerator(seed: seed)
    rows = (0..<samples * views * classes).map { _ in Float(generator.normal() * 4) }
    labels = (0..<samples).map { _ in Int32.random(in: 0..<Int32(classes), using: &generator) }
  }

  /// Rows of some shape.
  convenience init(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    self.init(
      samples: .random(in: 1...(seed.isMultiple(of: 3) ? 700 : 30), using: &generator),
      views: .random(in: 1...3, using: &generator),
      classes: .random(in: 1...70, using: &generator), seed: seed &+ 1)
  }

  func row(_ sample: Int, _ view: Int) -> ArraySlice<Float> {
    let start = (sample * views + view) * classes
    return rows[start..<start + classes]
  }

  /// Writes `NAME` and returns its path.
  func write(_ name: String, _ shape: [Int], _ values: ArrayValues) throws -> String {
    try NumPy.write(NamedArray(shape: shape, values: values), to: folder.file(name))
    return folder.file(name)
  }

  /// The rows in [samples, views, classes].
  func writeRows(_ name: String = "rows.npy", _ change: (inout [Float]) -> Void = { _ in }) throws
    -> String
  {
    var values = rows
    change(&values)
    return try write(name, [samples, views, classes], .float32(values))
  }

  func writeLabels(_ name: String = "labels.npy") throws -> String {
    try write(name, [samples], .int32(labels))
  }

  /// An import of full rows into the cache `name`.
  func job(
    _ name: String, _ values: String, kind: String? = "logits", k: Int? = nil,
    labels: String? = nil
  ) throws -> ImportJob {
    let kind = try kind.map { name in
      guard let kind = OutputKind(rawValue: name) else { throw Problem(.usage, name) }
      return kind
    }
    var job = ImportJob(
      .full(values: values, kind: kind, features: nil), kept: KeptRecord(k: k),
      making: folder.making(name, command: "import"))
    job.labels = try labels ?? writeLabels()
    return job
  }

  /// Imports what `export` wrote of records.
  func importRecords(_ file: String, into name: String, k: Int? = nil) throws -> ImportReport {
    var job = ImportJob(
      .sparse(
        ImportJob.SparseFiles(
          ids: file + ":ids", values: file + ":logits", logSumExp: file + ":log-sum-exp",
          labelLogits: file + ":label-logits", labelRanks: file + ":label-ranks",
          classes: classes)),
      kept: KeptRecord(k: k), making: folder.making(name, command: "import"))
    job.labels = file + ":labels"
    return try importRows(job)
  }

  @discardableResult
  func export(
    _ name: String, to file: String, _ format: ExportJob.Format,
    _ change: (inout ExportJob) -> Void = { _ in }
  ) throws -> [String: NamedArray] { try folder.export(name, to: file, format, change) }
}

extension ScratchFolder {
  /// Exports the cache `name` and reads the file.
  @discardableResult
  func export(
    _ name: String, to file: String, _ format: ExportJob.Format,
    _ change: (inout ExportJob) -> Void = { _ in }
  ) throws -> [String: NamedArray] {
    var job = ExportJob(cache: self.file(name), out: self.file(file), format: format)
    change(&job)
    let report = try exportRecords(job)
    if report.format == .jsonl { return [:] }
    let arrays =
      report.format == .npy
      ? ["logits": try NumPy.read(self.file(file))]
      : try Safetensors.read(self.file(file)).arrays
    let shapes = Dictionary(uniqueKeysWithValues: report.arrays.map { ($0.name, $0.shape) })
    if shapes != arrays.mapValues(\.shape) { throw Problem(.corrupt, "\(shapes), \(arrays)") }
    if try Files.read(self.file(file)).count != report.bytes {
      throw Problem(.corrupt, "\(file) has not \(report.bytes) bytes")
    }
    return arrays
  }
}

extension NamedArray {
  var floats: [Float] { if case .float32(let values) = values { values } else { [] } }
  var integers: [Int32] { if case .int32(let values) = values { values } else { [] } }
}
