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

/// Writes records of a cache to a file that others read, samples first, then views, then positions.
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
    views: part.views.count, records: part.records,
    arrays: arrays.map { .init(name: $0.name, elements: $0.elements.rawValue, shape: $0.shape) }
      .sorted { $0.name < $1.name },
    bytes: bytes)
}
