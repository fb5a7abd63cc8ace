import Basics
import Foundation
import LogitCache
import Losses

/// Writes records as JSON, one a line: members sorted by name, numbers as short as they can be and still the same.
///
/// - Parameter path: the file; `nil` for standard output.
/// - Returns: bytes written.
func writeLines(of cache: CacheReader, _ part: ExportPart, to path: String?) throws -> Int {
  let file = try path.map { try AtomicFile($0) }
  let encoding = cache.manifest.encoding
  let writer = LineWriter(encoding)
  var lines: [String] = []
  var bytes = 0
  try part.forEachStrip(
    of: cache, recordBytes: writer.usualBytes, coefficients: false,
    ranking: encoding.ranking != nil,
    begin: { strip in lines = Array(repeating: "", count: strip.records.count) },
    { batch, records in
      for record in records { lines[record.place] = writer.line(batch, record) }
    },
    end: { _ in
      try write(lines.joined(), to: file, at: &bytes)
    })
  try file?.commit()
  return bytes
}

private func write(_ text: String, to file: AtomicFile?, at offset: inout Int) throws {
  var text = text
  try text.withUTF8 { utf8 in
    if let file {
      try file.write(UnsafeRawBufferPointer(utf8), at: offset)
    } else {
      do {
        try FileHandle.standardOutput.write(contentsOf: Data(utf8))
      } catch {
        throw Problem(.inputOutput, "cannot write standard output: \(error)")
      }
    }
    offset += utf8.count
  }
}

/// Writes records of an encoding as lines of JSON.
private struct LineWriter {
  private let encoding: Encoding
  /// The tail's temperatures and their places, in the order of their names.
  private let tails: [(name: String, place: Int)]

  init(_ encoding: Encoding) {
    self.encoding = encoding
    tails = encoding.tailTemperatures.enumerated().map { (name: $1.description, place: $0) }
      .sorted { $0.name < $1.name }
  }

  /// About the memory of a line.
  var usualBytes: Int {
    256 + 24 * encoding.k + 24 * tails.count + (encoding.ranking == nil ? 0 : 8 * encoding.classes)
  }

  func line(_ batch: TeacherBatch, _ record: ExportRecord) -> String {
    let row = record.row
    let (k, largest) = (batch.k, batch.largestLogits[row])
    let head = row * k..<(row + 1) * k
    var text = "{"
    if batch.hasFeatureNorms { text += "\"featureNorm\":\(batch.featureNorms[row])," }
    text += "\"ids\":" + list(head) { "\(batch.classIDs[$0])" }
    text += ",\"label\":\(batch.labels[row]),\"labelLogit\":\(largest - batch.labelGaps[row])"
    text += ",\"labelRank\":\(batch.labelRanks[row])"
    if encoding.knowsLogSumExp { text += ",\"logSumExp\":\(batch.logSumExp(row))" }
    if !tails.isEmpty {
      let ratios = tails.map {
        "\"\($0.name)\":\(batch.logTailRatios[row * tails.count + $0.place])"
      }
      text += ",\"logTailRatios\":{" + ratios.joined(separator: ",") + "}"
    }
    text += ",\"logits\":" + list(head) { "\(largest - batch.gaps[$0])" }
    if encoding.positions != nil { text += ",\"position\":\(record.position)" }
    if batch.hasRanking {
      let ranking = row * batch.classes..<(row + 1) * batch.classes
      text += ",\"ranking\":" + list(ranking) { "\(batch.ranking[$0])" }
    }
    return text + ",\"sample\":\(record.sample),\"view\":\(record.view)}\n"
  }

  private func list(_ places: Range<Int>, _ text: (Int) -> String) -> String {
    "[" + places.map(text).joined(separator: ",") + "]"
  }
}
