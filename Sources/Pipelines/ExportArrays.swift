import Arrays
import Basics
import LogitCache
import Losses

/// Writes the arrays of a job.
///
/// - Returns: what they are, and the bytes of the file.
func writeArrays(
  of cache: CacheReader, _ part: ExportPart, _ job: ExportJob
) throws -> (arrays: [ArrayFileWriter.Description], bytes: Int) {
  guard let out = job.out else {
    throw Problem(.usage, "only JSON lines go to standard output: give --out FILE")
  }
  let wantsRows = job.format != .safetensors
  var columns: [any ExportColumn] =
    wantsRows
    ? [try FullRowColumn(cache, part, fillsEvenly: job.fillsEvenly)]
    : recordColumns(of: cache, part)
  if job.format != .npy && part.isRagged { columns += placeColumns(part) }
  let file: ArrayFileWriter
  var arrays = columns.map(\.description)
  if job.format == .npy {
    file = try ArrayFileWriter(npy: out, arrays[0])
  } else {
    let labels = try LabelArray(of: cache, part)
    arrays.append(.init("labels", .int32, labels.shape))
    arrays.append(.init("samples", .int64, [part.samples.count]))
    arrays.append(.init("views", .int32, [part.views.count]))
    if part.isRagged { arrays.append(.init("counts", .int32, part.viewShape())) }
    file = try ArrayFileWriter(safetensors: out, arrays, metadata: metadata(of: cache))
    try file.write(labels.values, to: "labels", at: 0)
    try file.write(part.views.map { Int32($0) }, to: "views", at: 0)
  }
  try part.forEachStrip(
    of: cache, recordBytes: columns.reduce(0) { $0 + $1.recordBytes },
    coefficients: wantsRows, ranking: columns.contains { $0.description.name == "ranking" },
    begin: { strip in
      for index in columns.indices { columns[index].begin(strip.records.count) }
    },
    { batch, records in
      for index in columns.indices { columns[index].take(batch, records) }
    },
    end: { strip in
      for column in columns { try column.write(to: file, strip.records) }
      guard job.format != .npy else { return }
      try file.write(strip.samples.map { Int64($0) }, to: "samples", at: strip.place)
      if part.isRagged {
        try file.write(strip.counts, to: "counts", at: strip.place * part.views.count)
      }
    })
  try file.commit()
  return (arrays, file.byteCount)
}

/// What a file says of its cache.
private func metadata(of cache: CacheReader) -> [String: String] {
  let encoding = cache.manifest.encoding
  var metadata = [
    "classes": "\(encoding.classes)", "dataSet": cache.manifest.dataSet.name,
    "fingerprint": cache.fingerprint.description, "k": "\(encoding.k)",
    "temperatures": encoding.tailTemperatures.map(\.description).joined(separator: ","),
  ]
  metadata["cacheDigest"] = cache.cacheDigest?.description
  metadata["positions"] = encoding.positions.map { "\($0.maximum)" }
  return metadata
}

/// An array that is filled from records and written strip by strip.
protocol ExportColumn {
  var description: ArrayFileWriter.Description { get }
  /// Memory for a record.
  var recordBytes: Int { get }
  /// Makes room for records.
  mutating func begin(_ records: Int)
  /// Takes in records of a view.
  mutating func take(_ batch: TeacherBatch, _ records: [ExportRecord])
  /// Writes what was taken in, which are these of all exported records.
  func write(to file: ArrayFileWriter, _ records: Range<Int>) throws
}

/// Some numbers of every record.
private struct Column<Element: BitwiseCopyable>: ExportColumn {
  let description: ArrayFileWriter.Description
  let width: Int
  let zero: Element
  /// Fills in the numbers of a record.
  let fill: (TeacherBatch, ExportRecord, UnsafeMutableBufferPointer<Element>) -> Void
  private var values: [Element] = []

  init(
    _ name: String, _ elements: ArrayFileWriter.Elements, _ part: ExportPart, _ row: [Int],
    zero: Element,
    fill: @escaping (TeacherBatch, ExportRecord, UnsafeMutableBufferPointer<Element>) -> Void
  ) {
    description = .init(name, elements, part.shape(row))
    width = row.reduce(1, *)
    self.zero = zero
    self.fill = fill
  }

  var recordBytes: Int { width * MemoryLayout<Element>.size }

  mutating func begin(_ records: Int) {
    values.setCount(records * width, filler: zero)
  }

  mutating func take(_ batch: TeacherBatch, _ records: [ExportRecord]) {
    let (width, fill) = (width, fill)
    values.withUnsafeMutableBufferPointer { values in
      for record in records {
        let start = record.place * width
        fill(batch, record, UnsafeMutableBufferPointer(rebasing: values[start..<start + width]))
      }
    }
  }

  func write(to file: ArrayFileWriter, _ records: Range<Int>) throws {
    try file.write(
      values[..<(records.count * width)], to: description.name, at: records.lowerBound * width)
  }
}

/// The labels of the exported samples [samples], or of all their positions, -1 where one has none.
private struct LabelArray {
  let values: [Int32]
  let shape: [Int]

  init(of cache: CacheReader, _ part: ExportPart) throws {
    let positions = cache.manifest.encoding.positions
    let width = positions?.labels == .position ? positions?.maximum ?? 1 : 1
    values = Array(
      try cache.labels[part.samples.lowerBound * width..<part.samples.upperBound * width])
    shape = [part.samples.count] + (positions?.labels == .position ? [width] : [])
  }
}

/// Sample, view and position of every record.
private func placeColumns(_ part: ExportPart) -> [any ExportColumn] {
  [
    Column("record-samples", .int64, part, [], zero: Int64(0)) { _, record, target in
      target[0] = Int64(record.sample)
    },
    Column("record-views", .int32, part, [], zero: Int32(0)) { _, record, target in
      target[0] = Int32(record.view)
    },
    Column("record-positions", .int32, part, [], zero: Int32(0)) { _, record, target in
      target[0] = Int32(record.position)
    },
  ]
}

/// The fields of a record, each an array.
private func recordColumns(of cache: CacheReader, _ part: ExportPart) -> [any ExportColumn] {
  let encoding = cache.manifest.encoding
  let k = encoding.k
  var columns: [any ExportColumn] = [
    Column("ids", .int32, part, [k], zero: Int32(0)) { batch, record, target in
      for rank in 0..<k { target[rank] = batch.classIDs[record.row * k + rank] }
    },
    Column("logits", .float32, part, [k], zero: Float(0)) { batch, record, target in
      for rank in 0..<k {
        target[rank] = batch.largestLogits[record.row] - batch.gaps[record.row * k + rank]
      }
    },
    Column("label-logits", .float32, part, [], zero: Float(0)) { batch, record, target in
      target[0] = batch.largestLogits[record.row] - batch.labelGaps[record.row]
    },
    Column("label-ranks", .int32, part, [], zero: Int32(0)) { batch, record, target in
      target[0] = batch.labelRanks[record.row]
    },
  ]
  if encoding.knowsLogSumExp {
    columns.append(
      Column("log-sum-exp", .float64, part, [], zero: 0.0) { batch, record, target in
        target[0] = batch.logSumExp(record.row)
      })
  }
  let tails = encoding.tailTemperatures.count
  if tails > 0 {
    columns.append(
      Column("log-tail-ratios", .float32, part, [tails], zero: Float(0)) { batch, record, target in
        for t in 0..<tails { target[t] = batch.logTailRatios[record.row * tails + t] }
      })
  }
  if encoding.featureWidth != nil {
    columns.append(
      Column("feature-norms", .float32, part, [], zero: Float(0)) { batch, record, target in
        target[0] = batch.featureNorms[record.row]
      })
  }
  if encoding.ranking != nil {
    let classes = encoding.classes
    columns.append(
      Column("ranking", .int32, part, [classes], zero: Int32(0)) { batch, record, target in
        for rank in 0..<classes { target[rank] = batch.ranking[record.row * classes + rank] }
      })
  }
  return columns
}

extension Encoding {
  /// Whether records say the log-sum-exp of their rows: the tail's mass at T = 1 is stored, or nothing is missing.
  var knowsLogSumExp: Bool { k == classes || temperatures.contains(1) }
}

extension TeacherBatch {
  /// Log-sum-exp of all C logits of a record at T = 1.
  ///
  /// - Precondition: the encoding `knowsLogSumExp`.
  func logSumExp(_ row: Int) -> Double {
    Double(largestLogits[row]) + exactLog(headSum(row)) + exactLog(1 + tailRatio(row))
  }
}
