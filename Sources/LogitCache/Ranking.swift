/// What a cache keeps of the order of the classes behind the head (docs/FORMAT.md, "Ranking").
public enum Ranking: String, Codable, Hashable, Sendable {
  /// The whole order, exact: ids without logits.
  case full

  /// A ranking of more classes is refused: a record would take more than 100 kB.
  static let classes = 1 << 16
  /// Ids of a block at most, 256 MiB decoded.
  static let ids = 1 << 26
  /// Ids of a block unless another size is asked for, 4 MiB decoded.
  ///
  /// So the 32 blocks that wait for a calibration take 128 MiB.
  static let usualIDs = 1 << 20
}

extension RecordColumns {
  /// Gives `write` the whole order of a row, head and all: the batch's ranking [rows, C].
  func writeRanking(to target: inout [Int32]) {
    let (rows, k, classes) = (rows, k, classes)
    precondition(
      target.count == rows * classes && ranking.count == rows * (classes - k),
      "\(target.count) ranks for \(rows) rows of \(classes) classes, k = \(k)")
    target.withUnsafeMutableBufferPointer { target in
      for (ids, first, count) in [(ids, 0, k), (ranking, k, classes - k)] {
        ids.withUnsafeBufferPointer { ids in
          // Tiles of rows and ranks: both sides of a tile stay in the first cache.
          for start in stride(from: 0, to: rows, by: 64) {
            for rank in 0..<count {
              for row in start..<min(start + 64, rows) {
                target[row &* classes &+ first &+ rank] =
                  Int32(truncatingIfNeeded: ids[rank &* rows &+ row])
              }
            }
          }
        }
      }
    }
  }

  /// Whether every label that the head does not have stands in the ranking where its rank says.
  var ranksLabelsRightly: Bool {
    (0..<rows).allSatisfy { row in
      let rank = Int(labelRanks[row])
      return rank < k || ranking[(rank - k) * rows + row] == labels[row]
    }
  }
}
