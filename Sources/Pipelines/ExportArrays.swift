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
  if job.format != .npy { columns.append(labelColumn(part)) }
  let file: ArrayFileWriter
  var arrays = columns.map(\.description)
  if job.format == .npy {
    file = try ArrayFileWriter(npy: out, arrays[0])
  } else {
    arrays.append(.init("samples", .int64, [part.samples.count]))
    arrays.append(.init("views", .int32, [part.views.count]))
    file = try ArrayFileWriter(safetensors: out, arrays, metadata: metadata(of: cache))
    try file.write(part.views.map { Int32($0) }, to: "views", at: 0)
  }
  try part.forEachStrip(
    of: cache, recordBytes: columns.reduce(0) { $0 + $1.recordBytes },
    coefficients: wantsRows, ranking: columns.contains { $0.description.name == "ranking" },
    begin: { strip in
      for index in columns.indices { columns[index].begin(strip.count * part.views.count) }
    },
    { batch, rows, view in
      for index in columns.indices {
        columns[index].take(batch, rows, view: view, of: part.views.count)
      }
    },
    end: { strip in
      for column in columns {
        try column.write(to: file, samples: strip, views: part.views.count)
      }
      guard job.format != .npy else { return }
      let numbers = strip.map { Int64(part.samples.lowerBound + $0) }
      try file.write(numbers, to: "samples", at: strip.lowerBound)
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
  return metadata
}

/// An array that is filled from records and written strip by strip.
protocol ExportColumn {
  var description: ArrayFileWriter.Description { get }
  /// Memory for a record.
  var recordBytes: Int { get }
  /// Makes room for records.
  mutating func begin(_ records: Int)
  /// Takes in rows of a view; record (row, view) lies at `row * views + view`.
  mutating func take(_ batch: TeacherBatch, _ rows: Range<Int>, view: Int, of views: Int)
  /// Writes what was taken in.
  func write(to file: ArrayFileWriter, samples: Range<Int>, views: Int) throws
}

/// Some numbers of every record.
private struct Column<Element: BitwiseCopyable>: ExportColumn {
  let description: ArrayFileWriter.Description
  let width: Int
  let zero: Element
  /// Whether all views have the same numbers, of which one is kept.
  var isOfSample = false
  /// Fills in the numbers of a row.
  let fill: (TeacherBatch, Int, UnsafeMutableBufferPointer<Element>) -> Void
  private var values: [Element] = []

  init(
    _ name: String, _ elements: ArrayFileWriter.Elements, _ part: ExportPart, _ row: [Int],
    zero: Element, isOfSample: Bool = false,
    fill: @escaping (TeacherBatch, Int, UnsafeMutableBufferPointer<Element>) -> Void
  ) {
    description = .init(name, elements, isOfSample ? [part.samples.count] : part.shape(row))
    width = row.reduce(1, *)
    self.zero = zero
    self.isOfSample = isOfSample
    self.fill = fill
  }

  var recordBytes: Int { width * MemoryLayout<Element>.size }

  mutating func begin(_ records: Int) {
    values.setCount(records * width, filler: zero)
  }

  mutating func take(_ batch: TeacherBatch, _ rows: Range<Int>, view: Int, of views: Int) {
    if isOfSample && view > 0 { return }
    let (stride, width, fill) = (isOfSample ? 1 : views, width, fill)
    values.withUnsafeMutableBufferPointer { values in
      for (place, row) in rows.enumerated() {
        let start = (place * stride + view) * width
        fill(batch, row, UnsafeMutableBufferPointer(rebasing: values[start..<start + width]))
      }
    }
  }

  func write(to file: ArrayFileWriter, samples: Range<Int>, views: Int) throws {
    let stride = (isOfSample ? 1 : views) * width
    try file.write(
      values[..<(samples.count * stride)], to: description.name, at: samples.lowerBound * stride)
  }
}

private func labelColumn(_ part: ExportPart) -> any ExportColumn {
  Column("labels", .int32, part, [], zero: Int32(0), isOfSample: true) { batch, row, target in
    target[0] = batch.labels[row]
  }
}

/// The fields of a record, each an array.
private func recordColumns(of cache: CacheReader, _ part: ExportPart) -> [any ExportColumn] {
  let encoding = cache.manifest.encoding
  let k = encoding.k
  var columns: [any ExportColumn] = [
    Column("ids", .int32, part, [k], zero: Int32(0)) { batch, row, target in
      for rank in 0..<k { target[rank] = batch.classIDs[row * k + rank] }
    },
    Column("logits", .float32, part, [k], zero: Float(0)) { batch, row, target in
      for rank in 0..<k { target[rank] = batch.largestLogits[row] - batch.gaps[row * k + rank] }
    },
    Column("label-logits", .float32, part, [], zero: Float(0)) { batch, row, target in
      target[0] = batch.largestLogits[row] - batch.labelGaps[row]
    },
    Column("label-ranks", .int32, part, [], zero: Int32(0)) { batch, row, target in
      target[0] = batch.labelRanks[row]
    },
  ]
  if encoding.knowsLogSumExp {
    columns.append(
      Column("log-sum-exp", .float64, part, [], zero: 0.0) { batch, row, target in
        target[0] = batch.logSumExp(row)
      })
  }
  let tails = encoding.tailTemperatures.count
  if tails > 0 {
    columns.append(
      Column("log-tail-ratios", .float32, part, [tails], zero: Float(0)) { batch, row, target in
        for t in 0..<tails { target[t] = batch.logTailRatios[row * tails + t] }
      })
  }
  if encoding.featureWidth != nil {
    columns.append(
      Column("feature-norms", .float32, part, [], zero: Float(0)) { batch, row, target in
        target[0] = batch.featureNorms[row]
      })
  }
  if encoding.ranking != nil {
    let classes = encoding.classes
    columns.append(
      Column("ranking", .int32, part, [classes], zero: Int32(0)) { batch, row, target in
        for rank in 0..<classes { target[rank] = batch.ranking[row * classes + rank] }
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
