public import Basics
public import LogitCache

/// What caches of a job would be, one for each choice of what a record keeps: the content of `plan --json`
/// (`schemas/plan.schema.json`).
public struct PlanReport: Codable, Sendable {
  /// The job.
  public struct Job: Codable, Sendable {
    /// The data set's name.
    public var dataSet: String
    /// n.
    public var samples: Int
    /// V.
    public var views: Int
    /// n x V; with positions about as many as the sample promises.
    public var records: Int
    /// C.
    public var classes: Int
    /// Of a view; absent when it has one.
    public var positions: Positions?

    /// At how many positions a view has records.
    public struct Positions: Codable, Sendable {
      /// M.
      public var maximum: Int
      /// "sample" or "position": whose labels records have.
      public var labels: String
      /// Records of a view, as the sample has them.
      public var mean: Double

      /// Records at up to `maximum` positions.
      public init(maximum: Int, labels: String, mean: Double) {
        self.maximum = maximum
        self.labels = labels
        self.mean = mean
      }
    }

    /// A job of `samples` x `views` views.
    public init(
      dataSet: String, samples: Int, views: Int, classes: Int, records: Int,
      positions: Positions? = nil
    ) {
      self.dataSet = dataSet
      self.samples = samples
      self.views = views
      self.classes = classes
      self.records = records
      self.positions = positions
    }
  }

  /// What was run to know it.
  public struct Sample: Codable, Sendable {
    /// Records that the teacher gave.
    public var records: Int
    /// Threads that ran it at once.
    public var threads: Int
    /// Seconds of one thread for a view and the teacher's answer to it.
    public var teacherSecondsPerRecord: Double

    /// A run of the teacher.
    public init(records: Int, threads: Int, teacherSecondsPerRecord: Double) {
      self.records = records
      self.threads = threads
      self.teacherSecondsPerRecord = teacherSecondsPerRecord
    }
  }

  /// A bound on an error that was asked for.
  public struct Bound: Codable, Sendable {
    /// The term of a loss.
    public var loss: String
    /// The measure of the certificate, "kdGradientError@4".
    public var measure: String
    /// No mean may be larger.
    public var limit: Double

    /// The bound `limit` of a measure.
    public init(loss: String, measure: String, limit: Double) {
      self.loss = loss
      self.measure = measure
      self.limit = limit
    }
  }

  /// The cache that a choice makes.
  public struct Row: Codable, Sendable {
    /// The axes of a subspace tail and what they cost.
    public struct Subspace: Codable, Sendable {
      /// The step of every coefficient, in nats.
      public var step: Double
      /// How many axes were learned from the sample.
      public var axes: Int
      /// Bytes of the axes, which are stored once; part of `calibrationBytes`.
      public var axesBytes: Int
      /// The widest head among the rows that leaves classes out; absent when there is none.
      public var comparedK: Int?
      /// From how many records on the cache is smaller than with that head; absent when it never is.
      public var paysFromRecords: Int?

      /// Axes that are compared with nothing.
      public init(step: Double, axes: Int, axesBytes: Int) {
        self.step = step
        self.axes = axes
        self.axesBytes = axesBytes
      }
    }

    /// Classes kept of every record.
    public var k: Int
    /// What is kept of the others: "ratios", "subspace", or "none" when there are no others.
    public var tail: String
    /// How full rows are kept; absent without a subspace tail.
    public var subspaceTail: Subspace?
    /// What is kept of the order of the others: "full"; absent without a ranking.
    public var ranking: String?
    /// The options of `precompute` that make it.
    public var options: [String]
    /// Samples in a block.
    public var blockRows: Int
    /// Sample records whose error was measured.
    public var measuredRecords: Int
    /// Sample records whose bytes were counted; the cache learned nothing from them.
    public var packedRecords: Int
    /// Stored bytes of all fields and checksums, per record.
    public var bytesPerRecord: Double
    /// Index, calibration, labels and names, spread over all records.
    public var fixedBytesPerRecord: Double
    /// Bytes of what is learned before the first block.
    public var calibrationBytes: Int
    /// Bytes of the labels.
    public var labelBytes: Int
    /// Bytes of the whole cache on disk.
    public var cacheBytes: Int
    /// Hours of `precompute`: views, teacher and records.
    public var hours: Double
    /// Error of the sample's records against full teacher rows.
    public var certificate: Inspection.CertificateReport

    /// Describes a cache.
    ///
    /// - Parameter records: n x V, over which fixed bytes are spread.
    public init(
      _ encoding: Encoding, tail: String, subspaceTail: Subspace? = nil, options: [String],
      size: CacheSize, records: Int, packedRecords: Int, hours: Double, certificate: Certificate
    ) {
      k = encoding.k
      self.tail = tail
      self.subspaceTail = subspaceTail
      ranking = encoding.ranking?.rawValue
      self.options = options
      blockRows = encoding.blockRows
      measuredRecords = certificate.records
      self.packedRecords = packedRecords
      bytesPerRecord = size.bytesPerRecord
      fixedBytesPerRecord = size.indexBytesPerRecord + Double(size.fixedBytes) / Double(records)
      calibrationBytes = size.calibrationBytes
      labelBytes = size.labelBytes
      cacheBytes = size.fileBytes
      self.hours = hours
      self.certificate = Inspection.CertificateReport(certificate)
    }
  }

  /// The job.
  public var job: Job
  /// What was run to know it.
  public var sample: Sample
  /// One for each choice: heads by k, the same with rankings, then subspace tails, the coarsest step first.
  public var rows: [Row]
  /// What was left out, and why, in sentences.
  public var notes: [String]
  /// Terms of losses whose errors decide; empty when nothing was asked for.
  public var losses: [String]
  /// Bounds on errors that a choice must keep; empty when none was asked for.
  public var bounds: [Bound]
  /// The largest cache that was asked for, in bytes.
  public var budget: Int?
  /// The row that was chosen, an index of `rows`; absent when nothing was asked for, or nothing fits.
  public var chosen: Int?
  /// The command that makes the chosen cache, in words.
  public var command: [String]?

  /// A report in which nothing was asked for and chosen.
  public init(job: Job, sample: Sample, rows: [Row], notes: [String] = []) {
    self.notes = notes
    self.job = job
    self.sample = sample
    self.rows = rows
    losses = []
    bounds = []
  }
}

extension PlanReport {
  /// What to say when something was asked for and nothing fits; `nil` otherwise.
  public var problem: Problem? {
    guard chosen == nil, !losses.isEmpty else { return nil }
    let wanted =
      bounds.map { "\($0.measure) of at most \($0.limit)" }
      + (budget.map { ["at most \(ByteCount.text(Double($0)))"] } ?? [])
    let temperatures = rows.first?.certificate.atTemperature.map(\.temperature) ?? []
    return Problem(
      .unavailable,
      "for \(losses.joined(separator: ", ")), none of k = "
        + rows.map(\.name).joined(separator: ", ") + " has "
        + wanted.joined(separator: " and ") + " (errors are measured at T = "
        + temperatures.joined(separator: ", ")
        + "): try other --k or --tail-steps, a larger --max-error or --budget, or other losses")
  }
}
