import Basics
import LogitCache
import Teachers

/// What `import` was asked to do.
package struct ImportJob: Sendable {
  /// What somebody has of a teacher's rows; files are named as `ArrayFile` opens them.
  package enum Rows: Sendable {
    /// All C values of every row, and perhaps the teacher's features; a `kind` of `nil` is logits that do not
    /// look like probabilities.
    case full(values: String, kind: OutputKind?, features: String?)
    /// The best classes of every row and the log-sum-exp of all.
    case sparse(SparseFiles)
  }

  /// Files of sparse rows.
  package struct SparseFiles: Sendable {
    /// Classes, best first.
    package var ids: String
    /// Their logits.
    package var values: String
    /// Log-sum-exp of all C logits.
    package var logSumExp: String
    /// The labels' logits, and their places in the order of all classes, for rows that do not name their label.
    package var labelLogits: String?
    package var labelRanks: String?
    /// C, where no names say it.
    package var classes: Int?

    /// All files.
    package init(
      ids: String, values: String, logSumExp: String, labelLogits: String? = nil,
      labelRanks: String? = nil, classes: Int? = nil
    ) {
      self.ids = ids
      self.values = values
      self.logSumExp = logSumExp
      self.labelLogits = labelLogits
      self.labelRanks = labelRanks
      self.classes = classes
    }
  }

  /// Rows at several positions of a view: time steps, tokens, proposals.
  package struct Positions: Sendable {
    /// The file that says how many rows each view has; `nil` where the arrays have an axis of positions, of which all
    /// count.
    package var counts: String?
    /// The file with the position of each row; `nil` where a view has its first ones.
    package var places: String?
    /// M, where labels and axes do not say it; `nil` for the most that occur.
    package var maximum: Int?

    /// All settings.
    package init(counts: String? = nil, places: String? = nil, maximum: Int? = nil) {
      (self.counts, self.places, self.maximum) = (counts, places, maximum)
    }
  }

  /// The rows.
  package var rows: Rows
  /// Where they are at several positions of a view; `nil` for one row a view.
  package var positions: Positions?
  /// Whether views are the first axis and samples the second.
  package var viewsFirst: Bool
  /// The labels' file; `nil` for those of the data set.
  package var labels: String?
  /// The data set and the views that the rows belong to; `nil` when they are not known.
  package var views: Views?
  /// A file with a class name a line; `nil` for the data set's, or "class 0" and so on.
  package var classNames: String?
  /// What people call rows without a data set.
  package var name: String?
  /// What people call the teacher.
  package var teacherName: String?
  /// What is kept of a row.
  package var kept: KeptRecord
  /// How the cache is made.
  package var making: CacheMaking

  /// What decides views.
  package struct Views: Sendable {
    /// A preset or a data set file.
    package var data: String
    /// The recipe file; `nil` for samples as they are.
    package var recipe: String?
    /// The seed of the views.
    package var seed: UInt64

    /// All settings.
    package init(data: String, recipe: String?, seed: UInt64) {
      (self.data, self.recipe, self.seed) = (data, recipe, seed)
    }
  }

  /// A job with plain settings, to be changed.
  package init(_ rows: Rows, kept: KeptRecord = KeptRecord(), making: CacheMaking) {
    self.rows = rows
    self.kept = kept
    self.making = making
    viewsFirst = false
  }
}

/// What `import` did: one JSON object of what it took in and what it made.
package struct ImportReport: Encodable, Sendable {
  /// What it took in.
  package struct Input: Encodable, Sendable {
    /// n.
    package var samples: Int
    /// V.
    package var views: Int
    /// C.
    package var classes: Int
    /// Classes kept of every record.
    package var k: Int
    /// Whether the certificate holds upper bounds: the rows were sparse.
    package var isBound: Bool
  }

  /// The rows.
  package var input: Input
  /// The cache.
  package var made: PrecomputeResult

  package func encode(to encoder: any Encoder) throws {
    try input.encode(to: encoder)
    try made.encode(to: encoder)
  }
}

/// Makes a cache of rows that somebody already has, as `precompute` makes one of a teacher's.
///
/// Rows are read a block at a time, so memory does not grow with them. The same command goes on after a kill.
/// - Throws: `Problem`: files that are missing or do not fit together, a row that cannot be recorded (with sample
///   and view), a cache of other settings (untouched), a full disk, or interruption.
@discardableResult
package func importRows(_ job: ImportJob) throws -> ImportReport {
  let clock = ContinuousClock()
  let start = clock.now
  let input = try ImportInput(job)
  let work = try input.work(job)
  let made = try makeCache(work, job.making, since: start) { try input.demandUnchanged() }
  let encoding = work.manifest.encoding
  return ImportReport(
    input: .init(
      samples: input.layout.samples, views: input.layout.views, classes: encoding.classes,
      k: encoding.k, isBound: input.isSparse),
    made: made)
}
