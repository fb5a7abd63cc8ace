import Basics
import DataSets
import Foundation
import LogitCache
import Losses
import Views

/// One record for people: the classes the teacher named and, when the data set is there, the picture.
///
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
  if let augmenter { text += picture(of: sample, view: view, augmenter) }
  return text + table(of: batch, row: sample % blockRows, names: manifest.dataSet.classNames)
}

private func table(of batch: TeacherBatch, row: Int, names: [String]) -> String {
  let k = batch.k
  let label = Int(batch.labels[row])
  var head = 0.0
  for j in 0..<k { head += exp(-Double(batch.gaps[row * k + j])) }
  let ratio = k < batch.classes ? exp(batch.logTailRatio(row: row, temperature: 1)) : 0
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
      exp(-gap) / (head * (1 + ratio)))
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

/// The picture as rows of blocks, two columns to a pixel; colours as their mean.
private func picture(of sample: Int, view: Int, _ augmenter: Augmenter) -> String {
  guard case .image(let height, let width, let channels) = augmenter.dataSet.shape else {
    return ""
  }
  var batch = augmenter.makeBatch()
  augmenter.render(samples: sample..<sample + 1, view: view, into: &batch)
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
