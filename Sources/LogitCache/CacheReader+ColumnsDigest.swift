package import Basics
import Losses

extension CacheReader {
  /// SHA-256 of all decoded integers, block by block (Tests/Golden/README.md).
  ///
  /// By this, readers in different languages compare themselves.
  /// - Throws: `Problem(.corrupt)` naming the block that is damaged.
  package func columnsDigest() throws -> Digest {
    let decoder = try BlockDecoder(manifest, calibration)
    var builder = DigestBuilder()
    for key in try storedBlocks() {
      try withValues(of: key) { value, _, labels, _ in
        _ = try decoder.decode(value, as: key, labels: labels)
      }
      decoder.columns.append(to: &builder)
    }
    return builder.finish()
  }
}

extension RecordColumns {
  fileprivate func append(to builder: inout DigestBuilder) {
    append(ids, columns: k, to: &builder)
    append(levels, columns: k, to: &builder)
    append(largest, columns: 1, to: &builder)
    append(labels, columns: 1, to: &builder)
    append(labelRanks, columns: 1, to: &builder)
    append(labelLevels, columns: 1, to: &builder)
    append(tails, columns: temperatures, to: &builder)
    if hasFeatureNorms { append(featureNorms, columns: 1, to: &builder) }
    if hasRanking { append(ranking, columns: classes - k, to: &builder) }
    if let tail {
      append(tail.coefficients, columns: tail.axes, to: &builder)
      append(tail.offsets, columns: 1, to: &builder)
    }
    if let places {
      builder.append(PlaceLists.counts(places).map { Int64($0) })
      builder.append(places.positions.map { Int64($0) })
    }
  }

  /// Numbers of rank-major columns as Int64, row-major.
  private func append(
    _ values: [some FixedWidthInteger], columns: Int, to builder: inout DigestBuilder
  ) {
    var ordered: [Int64] = []
    for row in 0..<rows {
      for column in 0..<columns {
        ordered.append(Int64(values[column * rows + row]))
      }
    }
    builder.append(ordered)
  }
}
