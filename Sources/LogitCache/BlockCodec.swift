import Basics

/// Codec 1: turns integer columns into a block's canonical bytes and back.
///
/// Gaps are stored as differences between ranks; the tail at the first temperature relative to the
/// last gap, at others relative to the temperature before; everything else as it is.
struct BlockCodec {
  let manifest: Manifest
  private let planes: [UInt8]
  private var scratch: [UInt32] = []

  init(_ manifest: Manifest) {
    self.manifest = manifest
    let tails = manifest.encoding.tailTemperatures.indices.map {
      PlaneID.firstTail + UInt8($0)
    }
    planes =
      [
        PlaneID.ids, PlaneID.gaps, PlaneID.largest, PlaneID.labelRanks, PlaneID.labelIDs,
        PlaneID.labelGaps,
      ] + (manifest.encoding.featureWidth == nil ? [] : [PlaneID.featureNorms]) + tails
  }

  private var encoding: Encoding { manifest.encoding }
  private var idWidth: Int { PlaneForm.width(for: UInt32(encoding.classes - 1)) }

  /// The canonical bytes of a block, and their pieces: (plane, length) in order.
  func encode(
    _ columns: RecordColumns, _ header: BlockHeader
  ) -> (bytes: [UInt8], pieces: [(plane: UInt8, length: Int)]) {
    var writer = PlaneWriter()
    writer.appendSplit(PlaneID.ids, columns.ids, width: idWidth)
    writer.appendEscaped(PlaneID.gaps, gapDeltas(columns))
    appendSigned(PlaneID.largest, columns.largest, to: &writer)
    writer.appendEscaped(PlaneID.labelRanks, columns.labelRanks)
    let outside = (0..<columns.rows).filter { columns.labelRanks[$0] >= UInt32(encoding.k) }
    writer.appendSplit(PlaneID.labelIDs, outside.map { columns.labels[$0] }, width: idWidth)
    let last = (encoding.k - 1) * columns.rows
    writer.appendEscaped(
      PlaneID.labelGaps, outside.map { columns.labelLevels[$0] - columns.levels[last + $0] })
    if columns.hasFeatureNorms {
      writer.appendSplit(PlaneID.featureNorms, columns.featureNorms, width: 2)
    }
    for index in 0..<columns.temperatures {
      let residuals = (0..<columns.rows).map { row in
        columns.tails[index * columns.rows + row] - predictedTail(columns, index, row)
      }
      appendSigned(PlaneID.firstTail + UInt8(index), residuals, to: &writer)
    }
    var head = ByteWriter()
    header.append(to: &head, encoding, planes: planes.count)
    head.append(writer.directory.bytes)
    return (head.bytes + writer.bytes, [(PlaneID.header, head.bytes.count)] + writer.pieces)
  }

  private func appendSigned(_ plane: UInt8, _ values: [Int32], to writer: inout PlaneWriter) {
    let mapped = values.map(zigzag)
    let width = PlaneForm.width(for: mapped.max() ?? 0)
    writer.appendSplit(plane, mapped, width: width)
  }

  /// Differences to the previous rank; rank 0 has none, its gap is 0.
  private func gapDeltas(_ columns: RecordColumns) -> [UInt32] {
    let rows = columns.rows
    return columns.levels.withUnsafeBufferPointer { levels in
      (rows..<max(levels.count, rows)).map { levels[$0] &- levels[$0 &- rows] }
    }
  }

  /// What a tail ratio is expected to be: at the first temperature, as if the tail's mass were that
  /// of the last head class; at others, shifted from the temperature before by the same rule.
  @inline(__always)
  private func predictedTail(_ columns: RecordColumns, _ index: Int, _ row: Int) -> Int32 {
    let gap = Int64(columns.levels[(encoding.k - 1) * columns.rows + row])
    let own = lastGap(gap, encoding.temperatures[index])
    if index == 0 { return Int32(truncatingIfNeeded: -own) }
    let before = lastGap(gap, encoding.temperatures[index - 1])
    let previous = Int64(columns.tails[(index - 1) * columns.rows + row])
    return Int32(truncatingIfNeeded: previous + before - own)
  }

  /// The last head class's gap at a temperature, in tail steps, rounded down.
  @inline(__always)
  private func lastGap(_ gap: Int64, _ temperature: Temperature) -> Int64 {
    gap * Int64(encoding.tailStepsPerNat * temperature.denominator)
      / Int64(encoding.stepsPerNat * temperature.numerator)
  }

  /// Reads canonical bytes into columns, checking everything a reader relies on.
  ///
  /// - Throws: `Problem(.corrupt)` whose message continues "the block is damaged: ".
  mutating func decode(
    _ bytes: RawSpan, as key: BlockKey, into columns: inout RecordColumns
  ) throws -> BlockHeader {
    var reader = ByteReader(bytes)
    let header = try BlockHeader.read(
      from: &reader, expecting: key, manifest, planes: planes.count)
    let entries = try PlaneEntry.readDirectory(from: &reader, expecting: planes)
    let total = entries.reduce(reader.offset) { $0 + $1.length }
    guard total == bytes.byteCount else {
      throw Problem(.corrupt, "its planes take \(total) bytes, it has \(bytes.byteCount)")
    }
    columns.resize(to: header.rows)
    let start = reader.offset
    try bytes.withUnsafeBytes { all in
      try decodePlanes(entries, UnsafeRawBufferPointer(rebasing: all[start...]), into: &columns)
    }
    return header
  }

  private mutating func decodePlanes(
    _ entries: [PlaneEntry], _ bytes: UnsafeRawBufferPointer, into columns: inout RecordColumns
  ) throws {
    var offset = 0
    func next(_ index: Int) -> UnsafeRawBufferPointer {
      defer { offset += entries[index].length }
      return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + entries[index].length])
    }
    try demandWidth(entries[0])
    try entries[0].decode(next(0), into: &columns.ids)
    try demand(columns.ids.allSatisfyFast { $0 < UInt32(encoding.classes) }, "a class id")
    try decodeGaps(entries[1], next(1), into: &columns)
    try decodeSigned(entries[2], next(2), into: &columns.largest, at: 0, rows: columns.rows)
    try demandEscaped(entries[3])
    try entries[3].decode(next(3), into: &columns.labelRanks)
    try decodeLabels(entries[4], next(4), entries[5], next(5), into: &columns)
    if columns.hasFeatureNorms { try decodeNorms(entries[6], next(6), into: &columns) }
    for index in 0..<columns.temperatures {
      let start = index * columns.rows
      let entry = entries.count - columns.temperatures + index
      try decodeSigned(
        entries[entry], next(entry), into: &columns.tails, at: start, rows: columns.rows)
      for row in 0..<columns.rows {
        let sum = Int64(columns.tails[start + row]) + Int64(predictedTail(columns, index, row))
        columns.tails[start + row] = Int32(truncatingIfNeeded: sum)
        try demand(sum.magnitude <= UInt64(Limits.signed), "a tail ratio")
      }
    }
  }

  private func demand(_ fine: Bool, _ what: String) throws {
    if !fine { throw Problem(.corrupt, "\(what) is out of range") }
  }

  private func demandEscaped(_ entry: PlaneEntry) throws {
    try demand(
      entry.form == PlaneForm.escaped, "the form of plane \(PlaneID.name(entry.plane))")
  }

  private func demandWidth(_ entry: PlaneEntry) throws {
    try demand(entry.form == PlaneForm.split(width: idWidth), "the width of class ids")
  }

  private mutating func decodeGaps(
    _ entry: PlaneEntry, _ bytes: UnsafeRawBufferPointer, into columns: inout RecordColumns
  ) throws {
    try demandEscaped(entry)
    let rows = columns.rows
    scratch.setCount((columns.k - 1) * rows, filler: 0)
    try entry.decode(bytes, into: &scratch)
    let wrapped = columns.levels.withUnsafeMutableBufferPointer { levels in
      scratch.withUnsafeBufferPointer { deltas in
        var wrapped = false
        for row in 0..<rows { levels[row] = 0 }
        for index in 0..<deltas.count {
          let level = levels[index] &+ deltas[index]
          wrapped = wrapped || level > Limits.level || deltas[index] > Limits.level
          levels[index &+ rows] = level
        }
        return wrapped
      }
    }
    try demand(!wrapped, "a gap")
  }

  private func decodeNorms(
    _ entry: PlaneEntry, _ bytes: UnsafeRawBufferPointer, into columns: inout RecordColumns
  ) throws {
    try demand(entry.form == PlaneForm.split(width: 2), "the width of feature norms")
    try entry.decode(bytes, into: &columns.featureNorms)
    try demand(
      columns.featureNorms.allSatisfyFast { $0 == 0 || FeatureNorm.codes.contains($0) },
      "a feature norm")
  }

  private mutating func decodeSigned(
    _ entry: PlaneEntry, _ bytes: UnsafeRawBufferPointer, into values: inout [Int32], at start: Int,
    rows: Int
  ) throws {
    guard entry.form != PlaneForm.escaped else {
      throw Problem(.corrupt, "plane \(PlaneID.name(entry.plane)) is escaped")
    }
    scratch.setCount(rows, filler: 0)
    try entry.decode(bytes, into: &scratch)
    for row in 0..<rows { values[start + row] = unzigzag(scratch[row]) }
    try demand(
      values[start..<start + rows].allSatisfy { $0 >= -Limits.signed && $0 <= Limits.signed },
      PlaneID.name(entry.plane))
  }

  /// Labels inside the head are read from it; the others have planes of their own.
  private mutating func decodeLabels(
    _ idEntry: PlaneEntry, _ ids: UnsafeRawBufferPointer, _ gapEntry: PlaneEntry,
    _ gaps: UnsafeRawBufferPointer, into columns: inout RecordColumns
  ) throws {
    let k = UInt32(columns.k)
    let rows = columns.rows
    try demand(
      columns.labelRanks.allSatisfyFast { $0 < UInt32(encoding.classes) }, "a label rank")
    var outside: [Int] = []
    for row in 0..<rows {
      let rank = columns.labelRanks[row]
      guard rank < k else {
        outside.append(row)
        continue
      }
      columns.labels[row] = columns.ids[Int(rank) * rows + row]
      columns.labelLevels[row] = columns.levels[Int(rank) * rows + row]
    }
    try demandWidth(idEntry)
    scratch.setCount(outside.count, filler: 0)
    try idEntry.decode(ids, into: &scratch)
    for (index, row) in outside.enumerated() { columns.labels[row] = scratch[index] }
    try demand(scratch.allSatisfyFast { $0 < UInt32(encoding.classes) }, "a label")
    try demandEscaped(gapEntry)
    try gapEntry.decode(gaps, into: &scratch)
    let last = (columns.k - 1) * rows
    for (index, row) in outside.enumerated() {
      let level = UInt64(columns.levels[last + row]) + UInt64(scratch[index])
      try demand(level <= UInt64(Limits.level), "a label's gap")
      columns.labelLevels[row] = UInt32(level)
    }
  }
}

extension [UInt32] {
  /// `allSatisfy` without an early exit, so that it is vectorised.
  @inline(__always)
  fileprivate func allSatisfyFast(_ test: (UInt32) -> Bool) -> Bool {
    withUnsafeBufferPointer { values in
      var fine = true
      for index in 0..<values.count {
        let one = test(values[index])
        fine = fine && one
      }
      return fine
    }
  }
}
