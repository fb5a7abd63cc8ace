import Basics
import Foundation
import LogitCache

extension PaperPlan {
  /// Caches that keep full rows as coefficients on axes beside a head of 10.
  public struct Tail: Codable, Sendable {
    /// Classes kept exactly.
    public var k: Int
    /// The step of every coefficient, in nats.
    public var step: Double
    /// How many axes.
    public var axes: Int
    /// Bytes of the axes, which are stored once: about C x axes x bytes of a number.
    public var axesBytes: Int
    /// Samples in a block.
    public var blockRows: Int
    /// As with a sharp teacher, every axis as its own: PP-OCRv6 characters, 120 axes
    /// (`Benchmarks/runs/rate-ocr-tail-8.json`, `rate-ocr-tail-4.json`).
    public var sharp: Size
    /// As with a soft teacher, every axis as its own: EfficientNet-Lite0, 193 axes at step 8 and 365 at 4
    /// (`Benchmarks/runs/rate-soft1000-tail-8.json`, `rate-soft1000-tail-4.json`).
    public var soft: Size
    /// No cache is larger.
    public var bound: Size
    /// The head that it is compared with: 100, or one class less than all.
    public var comparedK: Int
    /// From how many records on the sharp teacher's cache is smaller than with that head; absent when it never is.
    public var sharpPaysFromRecords: Int?
    /// From how many records on the soft teacher's cache is; absent when it never is.
    public var softPaysFromRecords: Int?
  }

  static let headOfTails = 10

  /// Works out the tails whose steps were measured.
  ///
  /// - Throws: `Problem(.usage)` when so many axes are not stored.
  static func tails(
    axes: Int, axisBytes: Int, classes: Int, records: Int, views: Int, positions: Int,
    labelBytes: Double, logitRange: Double
  ) throws -> [Tail] {
    let most = min(classes, 4096, (1 << 28) / classes)
    guard headOfTails < classes, (1...most).contains(axes) else {
      throw Problem(
        .usage,
        "--axes is \(axes), it must be in 1...\(most) for \(counted(classes, "class", "classes")), which must be more than "
          + "\(headOfTails), the head beside them")
    }
    let axesBytes = SubspaceAxes.byteCount(classes: classes, axes: axes, width: axisBytes)
    let comparedK = min(100, classes - 1)
    return zip(MeasuredTeacher.sharp.tails, MeasuredTeacher.soft.tails).map { sharp, soft in
      let encoding = Encoding(
        classes: classes, k: headOfTails,
        subspaceTail: SubspaceTail(
          stepSixteenths: 16 * sharp.step, maximumAxes: axes, axisBytes: axisBytes),
        positions: positions > 1 ? Positions(maximum: positions, labels: .sample) : nil)
      let bound = encoding.largestRecord(logitRange: logitRange)
      let fixed =
        labelBytes + Double(axesBytes)
        + Double(records / encoding.blockRecords + views) * PaperPlan.blockBytes
      func size(_ bytesPerRecord: Double) -> Size {
        let bytes = min(bytesPerRecord, bound)
        return Size(bytesPerRecord: bytes, bytes: bytes * Double(records) + fixed)
      }
      func pays(_ teacher: MeasuredTeacher, _ size: Size) -> Int? {
        CacheSize.recordsToSave(
          Double(axesBytes), each: teacher.bytesPerRecord(k: comparedK) - size.bytesPerRecord)
      }
      let sizes = (size(sharp.bytesPerRecord(axes: axes)), size(soft.bytesPerRecord(axes: axes)))
      return Tail(
        k: headOfTails, step: Double(sharp.step), axes: axes, axesBytes: axesBytes,
        blockRows: encoding.blockRows, sharp: sizes.0, soft: sizes.1, bound: size(bound),
        comparedK: comparedK, sharpPaysFromRecords: pays(.sharp, sizes.0),
        softPaysFromRecords: pays(.soft, sizes.1))
    }
  }

  /// The tails for people; empty without any.
  var tailsText: String {
    guard let tails, let first = tails.first else { return "" }
    func pays(_ records: Int?) -> String { records.map { "\($0)" } ?? "never" }
    let heading = [
      "k, step", "sharp", "soft", "at most", "sharp", "soft", "at most", "pays: sharp", "soft",
    ]
    let table = tails.map { tail in
      let sizes = [tail.sharp, tail.soft, tail.bound]
      return [String(format: "%d S=%g", tail.k, tail.step)]
        + sizes.map { String(format: "%.1f B", $0.bytesPerRecord) }
        + sizes.map { ByteCount.text($0.bytes) }
        + [pays(tail.sharpPaysFromRecords), pays(tail.softPaysFromRecords)]
    }
    return """

      full rows on \(counted(first.axes, "axis", "axes")), \(ByteCount.text(Double(first.axesBytes))) once

      \(TextTable.lines([heading] + table))
      sharp, soft: bytes an axis as measured with 120 axes, and with 193 (S=8) and 365 (S=4); \
      Benchmarks/runs/rate-ocr-tail-*.json,
      rate-soft1000-tail-*.json; further axes are mostly weaker, and take less. pays: the number of records from which
      on it is smaller than k = \(first.comparedK).

      """
  }
}
