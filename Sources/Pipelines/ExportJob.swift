import Arrays
import Basics
import LogitCache
import Losses

/// What `export` was asked to do.
package struct ExportJob: Sendable {
  /// What is written.
  package enum Format: String, Codable, Sendable {
    /// An `.npy` file of full rows.
    case npy
    /// A safetensors file of records.
    case safetensors
    /// A safetensors file of full rows.
    case fullRows = "safetensors, full rows"
    /// JSON, one line a record.
    case jsonl
  }

  /// The cache's folder.
  package var cache: String
  /// The file to write; `nil` for standard output, JSON lines only.
  package var out: String?
  /// What is written.
  package var format: Format
  /// The view; `nil` for all.
  package var view: Int?
  /// The samples; `nil` for all.
  package var samples: Range<Int>?
  /// Whether classes whose logits are not kept share the mass of the tail evenly; else they are refused.
  package var fillsEvenly: Bool
  /// Whether the cache may be unfinished.
  package var allowsUnfinished: Bool
  /// Whether an existing file is replaced.
  package var replaces: Bool

  /// A job with plain settings, to be changed.
  package init(cache: String, out: String?, format: Format) {
    (self.cache, self.out, self.format) = (cache, out, format)
    fillsEvenly = false
    allowsUnfinished = false
    replaces = false
  }
}

/// What `export` wrote.
package struct ExportReport: Codable, Sendable {
  /// An array of the file.
  package struct Array: Codable, Sendable {
    /// Its name; "logits" in an `.npy` file, which has no names.
    package var name: String
    /// Its element type.
    package var elements: String
    /// The length of each axis.
    package var shape: [Int]
  }

  /// The identity of the cache's content; absent when it is unfinished.
  package var cacheDigest: Digest?
  /// What was written.
  package var format: ExportJob.Format
  /// Samples.
  package var samples: Int
  /// Views of each.
  package var views: Int
  /// Records.
  package var records: Int
  /// The arrays by name; none in JSON lines.
  package var arrays: [Array]
  /// Bytes written.
  package var bytes: Int
}

/// Writes records of a cache to a file that others read, samples first, then views.
///
/// Blocks are decoded and written piece by piece, so memory does not grow with the records. A file comes to be in
/// one step; the same content gives the same bytes.
/// - Throws: `Problem`: `.usage` when the cache has no such sample or view, or does not know what is asked for;
///   `.cannotCreate` when the file exists; a damaged or unfinished cache, a full disk, or interruption.
@discardableResult
package func exportRecords(_ job: ExportJob) throws -> ExportReport {
  let cache = try CacheReader(path: job.cache)
  guard cache.isSealed || job.allowsUnfinished else {
    throw Problem(
      .corrupt,
      "\(job.cache) is not complete: finish it first, or export what it holds with --unfinished")
  }
  guard cache.manifest.encoding.positions == nil else {
    throw Problem(
      .usage,
      "\(job.cache) has records at many positions of a view, and export writes one record for each view; "
        + "read it with the Swift product LogitCache or the Python package")
  }
  if let out = job.out, Files.exists(out), !job.replaces {
    throw Problem(.cannotCreate, "\(out) exists: choose another name, or replace it with --force")
  }
  let part = try ExportPart(of: cache, view: job.view, samples: job.samples)
  let arrays: [ArrayFileWriter.Description]
  let bytes: Int
  if job.format == .jsonl {
    (arrays, bytes) = ([], try writeLines(of: cache, part, to: job.out))
  } else {
    (arrays, bytes) = try writeArrays(of: cache, part, job)
  }
  return ExportReport(
    cacheDigest: cache.cacheDigest, format: job.format, samples: part.samples.count,
    views: part.views.count, records: part.samples.count * part.views.count,
    arrays: arrays.map { .init(name: $0.name, elements: $0.elements.rawValue, shape: $0.shape) }
      .sorted { $0.name < $1.name },
    bytes: bytes)
}

/// The records to export.
struct ExportPart {
  let samples: Range<Int>
  let views: Range<Int>
  /// Whether arrays have an axis of views: all views were asked for.
  let hasViewAxis: Bool
  private let manifest: Manifest

  /// - Throws: `Problem(.usage)` when the cache does not have them.
  init(of cache: CacheReader, view: Int?, samples: Range<Int>?) throws {
    manifest = cache.manifest
    let all = 0..<manifest.dataSet.samples
    self.samples = samples ?? all
    guard !self.samples.isEmpty, all.contains(self.samples) else {
      throw Problem(
        .usage,
        "\(cache.path) has the samples 0:\(all.upperBound); --samples "
          + "\(self.samples.lowerBound):\(self.samples.upperBound) is not a part of them")
    }
    views = view.map { $0..<$0 + 1 } ?? 0..<manifest.views
    hasViewAxis = view == nil
    guard views.lowerBound < manifest.views else {
      throw Problem(
        .usage,
        "\(cache.path) has \(manifest.views) views, numbered from 0: there is no view "
          + "\(views.lowerBound)"
      )
    }
  }

  /// The shape of an array with some numbers for every record.
  func shape(_ row: [Int]) -> [Int] {
    [samples.count] + (hasViewAxis ? [views.count] : []) + row
  }

  /// Visits all records: some samples of a block, and of those every view.
  ///
  /// - Parameters:
  ///   - recordBytes: what a visitor holds of a record: it holds 32 MiB at most, or one sample.
  ///   - coefficients: whether those of a subspace tail are wanted.
  ///   - ranking: whether the order of all classes is wanted.
  ///   - begin: gets the samples, counted from the first exported one as everywhere here.
  ///   - body: gets the decoded block of a view, which of its rows are meant, and the view.
  ///   - end: called after all views of these samples.
  func forEachStrip(
    of cache: CacheReader, recordBytes: Int, coefficients: Bool, ranking: Bool,
    begin: (Range<Int>) -> Void,
    _ body: (TeacherBatch, _ rows: Range<Int>, _ view: Int) throws -> Void,
    end: (Range<Int>) throws -> Void
  ) throws {
    var progress = ProgressLine("export", unit: "samples", total: samples.count)
    defer { progress.clear() }
    let blockRows = manifest.encoding.blockRows
    let most = max(1, (32 << 20) / max(1, recordBytes * views.count))
    var batch = cache.makeBatch(coefficients: coefficients, ranking: ranking)
    var first = samples.lowerBound
    while first < samples.upperBound {
      let block = first / blockRows
      let next = min(first + most, (block + 1) * blockRows, samples.upperBound)
      let strip = first - samples.lowerBound..<next - samples.lowerBound
      begin(strip)
      for view in views {
        if Interruption.isRequested {
          throw Problem(
            .interrupted,
            "interrupted after \(strip.lowerBound) of \(samples.count) samples; no file was written"
          )
        }
        try cache.decode(view: view, block: block, into: &batch)
        let rows = first - block * blockRows..<next - block * blockRows
        try body(batch, rows, view - views.lowerBound)
      }
      try end(strip)
      first = next
      progress.update(done: strip.upperBound)
    }
  }
}

extension Range<Int> {
  fileprivate func contains(_ other: Range<Int>) -> Bool {
    lowerBound <= other.lowerBound && other.upperBound <= upperBound
  }
}
