import Basics
import Foundation
import LogitCache

/// How large caches of a job would be, worked out on paper: no data, no teacher
/// (`plan --paper --json`, `schemas/plan.schema.json`).
///
/// Bounds follow from the format. Typical sizes are those of two teachers that were measured, a sharp one and a soft one,
/// between whose k they are interpolated; `tools/bench rate` repeats the measurement.
public struct PaperPlan: Codable, Sendable {
  /// Bytes of one layout.
  public struct Size: Codable, Sendable {
    /// Of one record.
    public var bytesPerRecord: Double
    /// Of all records, with labels and index.
    public var bytes: Double
  }

  /// Caches that keep k classes.
  public struct Row: Codable, Sendable {
    /// Classes kept of every record.
    public var k: Int
    /// Samples in a block.
    public var blockRows: Int
    /// As with a sharp teacher: PP-OCRv6 characters, 18,709 classes, mean p1 0.98 (`Benchmarks/runs/rate-ocr-large-job.json`).
    public var sharp: Size
    /// As with a soft teacher: EfficientNet-Lite0, 1,000 classes, mean p1 0.65 (`Benchmarks/runs/rate-soft1000-large-job.json`).
    public var soft: Size
    /// No cache is larger.
    public var bound: Size
    /// Class numbers of 16 bits (32 above 65,536 classes), values of 16 bits, and a seed of 4 bytes.
    public var sparse: Size
  }

  /// n.
  public var samples: Int
  /// V.
  public var views: Int
  /// C.
  public var classes: Int
  /// T, records of a view; absent when it has one.
  public var positions: Int?
  /// n x V x T.
  public var records: Int
  /// The logits of the bound lie within so many nats.
  public var logitRange: Double
  /// One for each k.
  public var rows: [Row]
  /// One for each step of a subspace tail that was measured; absent unless its axes were given.
  public var tails: [Tail]?
  /// All C logits in 4 bytes each.
  public var denseFloat32: Size
  /// All C logits in 2 bytes each.
  public var denseFloat16: Size

  /// Works out a job.
  ///
  /// - Parameters:
  ///   - positions: records of a view.
  ///   - axes: of subspace tails, as many as the teacher's last layer is wide or fewer; `nil` for no tails.
  ///   - axisBytes: of a number of an axis.
  /// - Throws: `Problem(.usage)` when a number is out of range.
  public init(
    samples: Int, views: Int, positions: Int = 1, classes: Int, heads: [Int], axes: Int? = nil,
    axisBytes: Int = 1, logitRange: Double = 128
  ) throws {
    func demand(_ value: Int, _ name: String, atMost limit: Int) throws {
      guard (1...limit).contains(value) else {
        throw Problem(.usage, "\(name) is \(value), it must be in 1...\(limit)")
      }
    }
    try demand(samples, "--samples", atMost: 1 << 40)
    try demand(views, "--views", atMost: 1 << 20)
    try demand(positions, "--positions", atMost: 4096)
    try demand(classes, "--classes", atMost: 1 << 24)
    guard samples <= Int.max / (views * positions) else {
      throw Problem(
        .usage,
        "\(samples) samples x \(views) views x \(positions) positions are too many to be counted")
    }
    for k in heads { try demand(k, "--k", atMost: classes) }
    self.samples = samples
    self.views = views
    self.classes = classes
    self.logitRange = logitRange
    self.positions = positions > 1 ? positions : nil
    let records = samples * views * positions
    self.records = records
    func size(_ bytesPerRecord: Double, fixed: Double = 0) -> Size {
      Size(bytesPerRecord: bytesPerRecord, bytes: bytesPerRecord * Double(records) + fixed)
    }
    denseFloat32 = size(4 * Double(classes))
    denseFloat16 = size(2 * Double(classes))
    let idBytes = classes <= 1 << 16 ? 2.0 : 4.0
    let labelBytes = Double(samples) * log2(Double(max(classes, 2))).rounded(.up) / 8
    rows = heads.map { k in
      let encoding = Encoding(
        classes: classes, k: k,
        positions: positions > 1 ? Positions(maximum: positions, labels: .sample) : nil)
      let fixed =
        labelBytes + Double(records / encoding.blockRecords + views) * PaperPlan.blockBytes
      let bound = encoding.largestRecord(logitRange: logitRange)
      func typical(_ teacher: MeasuredTeacher) -> Size {
        size(min(teacher.bytesPerRecord(k: k), bound), fixed: fixed)
      }
      return Row(
        k: k, blockRows: encoding.blockRows, sharp: typical(.sharp), soft: typical(.soft),
        bound: size(bound, fixed: fixed), sparse: size((idBytes + 2) * Double(k) + 4))
    }
    tails = try axes.map {
      try PaperPlan.tails(
        axes: $0, axisBytes: axisBytes, classes: classes, records: records, views: views,
        positions: positions, labelBytes: labelBytes, logitRange: logitRange)
    }
  }

  /// An index entry of about 1 kB, and half of a block's last page.
  static let blockBytes = 3072.0
}

extension PaperPlan {
  private var positionsText: String { positions.map { " x \($0) positions" } ?? "" }

  /// The report for people.
  public var text: String {
    let heading = [
      "k", "sharp", "soft", "at most", "id + fp16", "sharp", "soft", "at most", "id + fp16",
    ]
    let table = rows.map { row in
      let sizes = [row.sharp, row.soft, row.bound, row.sparse]
      return ["\(row.k)"] + sizes.map { String(format: "%.1f B", $0.bytesPerRecord) }
        + sizes.map { ByteCount.text($0.bytes) }
    }
    return """
      \(counted(samples, "sample")) x \(counted(views, "view"))\(positionsText) = \
      \(counted(records, "record")) of \(counted(classes, "class", "classes")), on paper
      all logits: \(ByteCount.text(denseFloat32.bytes)) as float32, \(ByteCount.text(denseFloat16.bytes)) as float16

      \(TextTable.lines([heading] + table))
      A record, then the whole cache. sharp, soft: as measured on a character reader of 18,709 classes (mean p1 0.98) and
      on a picture classifier of 1,000 (mean p1 0.65), in between by k; Benchmarks/runs/rate-ocr-large-job.json and
      rate-soft1000-large-job.json.
      at most: the format's worst case with logits within \(Int(logitRange)) nats. id + fp16: class number and value, 4-byte seed.

      """ + tailsText
  }
}
