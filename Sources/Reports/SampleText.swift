import Basics
import DataSets
import Foundation
import LogitCache
import Losses
import Views

/// One record for people: the classes the teacher named and, when the data set is there, the picture or text.
///
/// Of a cache with positions the records of a view, a line each.
/// - Parameters:
///   - augmenter: renders the view; `nil` leaves the picture out.
/// - Throws: `Problem(.usage)` when there is no such record.
public func describeRecord(
  of cache: CacheReader, sample: Int, view: Int, augmenter: Augmenter?
) throws -> String {
  let manifest = cache.manifest
  guard (0..<manifest.dataSet.samples).contains(sample), (0..<manifest.views).contains(view) else {
    throw Problem(
      .usage,
      "there is no sample \(sample), view \(view): the cache has samples 0..<\(manifest.dataSet.samples) and views 0..<\(manifest.views)"
    )
  }
  var batch = cache.makeBatch(ranking: true)
  let blockRows = manifest.encoding.blockRows
  try cache.decode(view: view, block: sample / blockRows, into: &batch)
  var text = "sample \(sample), view \(view)\n"
  if let augmenter { text += try content(of: sample, view: view, augmenter) }
  let names = manifest.dataSet.classNames
  guard let places = batch.places else {
    return text + table(of: batch, row: sample % blockRows, names: names)
  }
  return text + lines(of: batch, places, sample % blockRows, manifest, names: names)
}

/// A line for each position: its label, and the first three classes.
private func lines(
  of batch: TeacherBatch, _ places: RowPlaces, _ sample: Int, _ manifest: Manifest, names: [String]
) -> String {
  let rows = places.rows(of: sample)
  let maximum = manifest.encoding.positions?.maximum ?? 1
  var text = "records at \(rows.count) of \(maximum) positions\n"
  if rows.isEmpty { return text }
  text += "position  rank of the label  label: first classes\n"
  for row in rows {
    let label = Int(batch.labels[row])
    let total = batch.headSum(row) * (1 + batch.tailRatio(row))
    let first = (0..<min(3, batch.k)).map { j in
      let place = row * batch.k + j
      return names[Int(batch.classIDs[place])]
        + String(format: " %.6f", exactExp(-Double(batch.gaps[place])) / total)
    }
    text +=
      String(format: "%8d %18d  ", Int(places.positions[row]), Int(batch.labelRanks[row]) + 1)
      + "\(names[label]): \(first.joined(separator: ", "))\n"
  }
  return text
}

private func table(of batch: TeacherBatch, row: Int, names: [String]) -> String {
  let k = batch.k
  let label = Int(batch.labels[row])
  let (head, ratio) = (batch.headSum(row), batch.tailRatio(row))
  var text =
    "label \(names[label]) (\(label)), rank \(batch.labelRanks[row] + 1) of \(batch.classes)\n"
  if batch.hasFeatureNorms {
    text += String(format: "norm of the feature %.4f\n", batch.featureNorms[row])
  }
  text += "rank      logit  probability  class\n"
  for j in 0..<k {
    let gap = Double(batch.gaps[row * k + j])
    let id = Int(batch.classIDs[row * k + j])
    text += String(
      format: "%4d %10.4f %12.6f  ", j + 1, Double(batch.largestLogits[row]) - gap,
      exactExp(-gap) / (head * (1 + ratio)))
    text += names[id] + (id == label ? "  <- label" : "") + "\n"
  }
  if k < batch.classes {
    text += String(
      format: "the other %d classes together: probability %.6f\n", batch.classes - k,
      ratio / (1 + ratio))
  }
  if batch.hasRanking { text += order(of: batch, row: row, names: names) }
  return text
}

/// The first classes behind the head.
private func order(of batch: TeacherBatch, row: Int, names: [String]) -> String {
  let order = batch.ranking[row * batch.classes..<(row + 1) * batch.classes].dropFirst(batch.k)
  let shown = order.prefix(20).map { names[Int($0)] }.joined(separator: ", ")
  return "in order: \(shown)\(order.count > 20 ? ", ..." : "")\n"
}

/// What can be shown of a view: a picture or a text.
private func content(of sample: Int, view: Int, _ augmenter: Augmenter) throws -> String {
  var batch = augmenter.makeBatch()
  try augmenter.render(samples: sample..<sample + 1, view: view, into: &batch)
  switch augmenter.dataSet.shape {
  case .image(let height, let width, let channels):
    return picture(batch, height: height, width: width, channels: channels)
  case .text: return String(decoding: batch.pixels.prefix { $0 != 0 }, as: UTF8.self) + "\n"
  case .features: return ""
  }
}

/// A picture as rows of blocks, two columns to a pixel; colours as their mean.
private func picture(
  _ batch: borrowing ViewBatch, height: Int, width: Int, channels: Int
) -> String {
  let shades = Array(" ░▒▓█")
  var text = ""
  for y in 0..<height {
    for x in 0..<width {
      let start = (y * width + x) * channels
      let sum = (0..<channels).reduce(0) { $0 + Int(batch.pixels[start + $1]) }
      text += String(repeating: shades[sum * shades.count / (256 * channels)], count: 2)
    }
    text += "\n"
  }
  return text
}
