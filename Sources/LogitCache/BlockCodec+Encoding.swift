import Basics

extension BlockCodec {
  /// The canonical bytes of a block, and their pieces: (plane, length) in order.
  mutating func encode(
    _ columns: RecordColumns, _ header: BlockHeader
  ) -> (bytes: [UInt8], pieces: [(plane: UInt8, length: Int)]) {
    var writer = PlaneWriter()
    if encoding.positions?.labels == .sample, let places = columns.places {
      writer.append(PlaneID.positionCounts, PlaceLists.counts(places))
      writer.append(PlaneID.positionGaps, PlaceLists.gaps(places))
    }
    let rows = columns.rows
    let ranked = encoding.k + encoding.rankedDigits
    let order = ranked == encoding.k ? columns.ids : columns.ids + columns.ranking.dropLast(rows)
    let digits = ids.encode(order, labels: columns.labels, k: ranked)
    append(digits, PlaneID.ids, idGroups, rows, to: &writer)
    append(gapDeltas(columns), PlaneID.gaps, gapGroups, rows, to: &writer)
    writer.appendFromSmallest(PlaneID.largest, columns.largest)
    let k = UInt32(encoding.k)
    let outside = (0..<rows).filter { columns.labelRanks[$0] >= k }
    // 0 for a label that the head has: its rank is then known.
    writer.append(PlaneID.labelRanks, columns.labelRanks.map { $0 < k ? 0 : $0 - k + 1 })
    let last = (encoding.k - 1) * rows
    writer.append(
      PlaneID.labelGaps, outside.map { columns.labelLevels[$0] - columns.levels[last + $0] })
    if columns.hasFeatureNorms {
      writer.appendFromSmallest(
        PlaneID.featureNorms, columns.featureNorms.map { Int32(bitPattern: $0) })
    }
    digits.withUnsafeBufferPointer { digits in
      let behind = UnsafeBufferPointer(rebasing: digits[(encoding.k * rows)...])
      append(behind, PlaneID.ranking, rankGroups, rows, to: &writer)
    }
    if let tail = columns.tail {
      for (index, axes) in axisGroups.enumerated() {
        writer.append(PlaneID.coefficients, group: index, tail.folded(axes))
      }
      writer.appendFromSmallest(PlaneID.offsets, tail.offsets)
    }
    scratch.setCount(columns.temperatures * rows, filler: 0)
    tails.predict(columns) { index, values in
      for row in 0..<rows {
        let ratio = columns.tails[index * rows + row]
        scratch[index * rows + row] = zigzag(ratio &- values[row])
        values[row] = ratio
      }
    }
    for index in 0..<columns.temperatures {
      writer.append(
        PlaneID.firstTail + UInt8(index), Array(scratch[index * rows..<(index + 1) * rows]))
    }
    var head = ByteWriter()
    header.append(to: &head, encoding, planes: places.count)
    head.append(writer.directory.bytes)
    return (head.bytes + writer.bytes, [(PlaneID.header, head.bytes.count)] + writer.pieces)
  }

  private func append(
    _ values: [UInt32], _ plane: UInt8, _ groups: [Range<Int>], _ rows: Int,
    to writer: inout PlaneWriter
  ) {
    values.withUnsafeBufferPointer { append($0, plane, groups, rows, to: &writer) }
  }

  private func append(
    _ values: UnsafeBufferPointer<UInt32>, _ plane: UInt8, _ groups: [Range<Int>], _ rows: Int,
    to writer: inout PlaneWriter
  ) {
    for (index, ranks) in groups.enumerated() {
      let part = values[ranks.lowerBound * rows..<ranks.upperBound * rows]
      writer.append(plane, group: index, UnsafeBufferPointer(rebasing: part))
    }
  }

  /// Differences to the previous rank; rank 0 has none, its gap is 0.
  private func gapDeltas(_ columns: RecordColumns) -> [UInt32] {
    let rows = columns.rows
    return columns.levels.withUnsafeBufferPointer { levels in
      (rows..<max(levels.count, rows)).map { levels[$0] &- levels[$0 &- rows] }
    }
  }
}
