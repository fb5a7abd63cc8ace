import Basics
import Losses

/// Codec 1: turns integer columns into a block's canonical bytes and back.
///
/// Ids as digits in learned orders (`IDTransform`), gaps as differences between ranks, tails as differences from
/// what the gaps foretell (`TailModel`); every list in the smallest of a few forms. Keeps its working memory.
struct BlockCodec {
  let manifest: Manifest
  /// The planes of a block, in order.
  let places: [PlanePlace]
  let idGroups: [Range<Int>]
  let gapGroups: [Range<Int>]
  /// Groups of a ranking's ranks, from k on.
  let rankGroups: [Range<Int>]
  /// Groups of a subspace tail's axes.
  let axisGroups: [Range<Int>]
  var ids: IDTransform
  var tails: TailModel
  /// Working memory of a call.
  var scratch: [UInt32] = []

  init(_ manifest: Manifest, _ calibration: Calibration) {
    self.manifest = manifest
    let encoding = manifest.encoding
    ids = IDTransform(calibration.orders)
    tails = TailModel(encoding, calibration.tails)
    idGroups = ColumnGroups.ranges(encoding.k)
    gapGroups = ColumnGroups.ranges(encoding.k - 1)
    rankGroups = ColumnGroups.ranges(encoding.rankedDigits)
    axisGroups = ColumnGroups.ranges(calibration.axes?.count ?? 0)
    func groups(_ plane: UInt8, _ count: Int) -> [PlanePlace] {
      (0..<count).map { PlanePlace(plane: plane, group: UInt8($0)) }
    }
    places =
      (encoding.positions?.labels == .sample
        ? [PlaneID.positionCounts, PlaneID.positionGaps].map { PlanePlace(plane: $0) } : [])
      + groups(PlaneID.ids, idGroups.count) + groups(PlaneID.gaps, gapGroups.count)
      + [PlaneID.largest, PlaneID.labelRanks, PlaneID.labelGaps].map { PlanePlace(plane: $0) }
      + (encoding.featureWidth == nil ? [] : [PlanePlace(plane: PlaneID.featureNorms)])
      + groups(PlaneID.ranking, rankGroups.count)
      + groups(PlaneID.coefficients, axisGroups.count)
      + (calibration.axes == nil ? [] : [PlanePlace(plane: PlaneID.offsets)])
      + encoding.tailTemperatures.indices.map { PlanePlace(plane: PlaneID.firstTail + UInt8($0)) }
  }

  var encoding: Encoding { manifest.encoding }

  /// Reads canonical bytes into columns, checking everything a reader relies on.
  ///
  /// - Parameters:
  ///   - labels: the labels of the block, below C.
  ///   - skippingTail: leave a ranking or a subspace tail unread, for readers of the head alone; the columns'
  ///     own is then arbitrary.
  /// - Throws: `Problem(.corrupt)` whose message continues "the block is damaged: ".
  mutating func decode(
    _ bytes: RawSpan, as key: BlockKey, labels: BlockLabels, into columns: inout RecordColumns,
    skippingTail: Bool = false
  ) throws -> BlockHeader {
    var reader = ByteReader(bytes)
    let header = try BlockHeader.read(
      from: &reader, expecting: key, manifest, planes: places.count)
    try demand(labels, for: header)
    let entries = try PlaneEntry.readDirectory(from: &reader, expecting: places)
    let total = entries.reduce(reader.offset) { $0 + $1.length }
    guard total == bytes.byteCount else {
      throw Problem(.corrupt, "its planes take \(total) bytes, it has \(bytes.byteCount)")
    }
    columns.resize(to: header.rows)
    let start = reader.offset
    try bytes.withUnsafeBytes { all in
      var planes = PlaneCursor(
        entries, UnsafeRawBufferPointer(rebasing: all[start...]))
      try place(labels, &planes, samples: manifest.samples(of: key).count, into: &columns)
      try decodePlanes(&planes, into: &columns, skippingTail)
    }
    return header
  }

  /// Where positions have labels, these say how many records there are.
  private func demand(_ labels: BlockLabels, for header: BlockHeader) throws {
    guard encoding.positions == nil else {
      guard labels.places == nil || labels.values.count == header.rows else {
        throw Problem(
          .corrupt, "its header says rows \(header.rows), its labels \(labels.values.count)")
      }
      return
    }
    precondition(
      labels.values.count == header.rows, "\(labels.values.count) labels for \(header.rows) rows")
  }

  /// Gives every row its label and, with positions, its place.
  private mutating func place(
    _ labels: BlockLabels, _ planes: inout PlaneCursor, samples: Int,
    into columns: inout RecordColumns
  ) throws {
    guard let positions = encoding.positions, positions.labels == .sample else {
      (columns.labels, columns.places) = (labels.values, labels.places)
      return
    }
    var counts = [UInt32](repeating: 0, count: samples)
    try counts.withUnsafeMutableBufferPointer { try planes.decodeNext(into: $0) }
    let total = try PlaceLists.total(of: counts, positions)
    guard total == columns.rows else {
      throw Problem(.corrupt, "its samples have \(total) records, its header \(columns.rows)")
    }
    scratch.setCount(total, filler: 0)
    let places = try scratch.withUnsafeMutableBufferPointer { gaps in
      try planes.decodeNext(into: gaps)
      return try PlaceLists.places(
        counts: counts, gaps: UnsafeBufferPointer(gaps), positions)
    }
    columns.labels = places.forEachRow(labels.values)
    columns.places = places
  }

  private mutating func decodePlanes(
    _ planes: inout PlaneCursor, into columns: inout RecordColumns, _ skippingTail: Bool
  ) throws {
    try decodeIDs(&planes, into: &columns)
    try decodeGaps(&planes, into: &columns)
    try decodeFromSmallest(&planes, columns.rows, Limits.signed) { columns.largest[$0] = $1 }
    try decodeLabels(&planes, into: &columns)
    if columns.hasFeatureNorms {
      try decodeFromSmallest(&planes, columns.rows, Limits.signed) {
        columns.featureNorms[$0] = UInt32(bitPattern: $1)
      }
      try demand(
        columns.featureNorms.allSatisfyFast { $0 == 0 || FeatureNorm.codes.contains($0) },
        "a feature norm")
    }
    if columns.hasRanking {
      if skippingTail {
        planes.skip(rankGroups.count)
      } else {
        try decodeRanking(&planes, into: &columns)
      }
    }
    if columns.tail != nil {
      if skippingTail {
        planes.skip(axisGroups.count + 1)
      } else {
        try decodeSubspace(&planes, into: &columns)
      }
    }
    try decodeTails(&planes, into: &columns)
  }

  private func demand(_ fine: Bool, _ what: String) throws {
    if !fine { throw Problem(.corrupt, "\(what) is out of range") }
  }

  /// Decodes the groups of a plane, one after the other, into `scratch`.
  private mutating func decode(
    _ planes: inout PlaneCursor, _ groups: [Range<Int>], _ rows: Int
  ) throws {
    scratch.setCount((groups.last?.upperBound ?? 0) * rows, filler: 0)
    try scratch.withUnsafeMutableBufferPointer { values in
      for ranks in groups {
        let part = values[ranks.lowerBound * rows..<ranks.upperBound * rows]
        try planes.decodeNext(into: UnsafeMutableBufferPointer(rebasing: part))
      }
    }
  }

  private mutating func decodeIDs(
    _ planes: inout PlaneCursor, into columns: inout RecordColumns
  ) throws {
    let rows = columns.rows
    try decode(&planes, idGroups, rows)
    try checkDigits(ofRanksFrom: 0, rows)
    ids.decode(&scratch, labels: columns.labels, k: encoding.k, into: &columns.ids)
  }

  /// Every digit in `scratch` is below the number of classes left at its rank.
  private func checkDigits(ofRanksFrom first: Int, _ rows: Int) throws {
    for rank in 0..<scratch.count / max(rows, 1) {
      let limit = UInt32(encoding.classes - first - rank)
      let largest = scratch.withUnsafeBufferPointer { digits in
        var largest: UInt32 = 0
        for index in rank * rows..<(rank + 1) * rows { largest = max(largest, digits[index]) }
        return largest
      }
      try demand(largest < limit, "a class")
    }
  }

  /// The ranks behind the head: their digits go on where the head's end, and the last is 0.
  private mutating func decodeRanking(
    _ planes: inout PlaneCursor, into columns: inout RecordColumns
  ) throws {
    let rows = columns.rows
    try decode(&planes, rankGroups, rows)
    try checkDigits(ofRanksFrom: encoding.k, rows)
    let head = ids.encode(columns.ids, labels: columns.labels, k: encoding.k)
    var digits = head + scratch + Array(repeating: 0, count: rows)
    var order = [UInt32](repeating: 0, count: encoding.classes * rows)
    ids.decode(&digits, labels: columns.labels, k: encoding.classes, into: &order)
    columns.ranking = Array(order[(encoding.k * rows)...])
    guard columns.ranksLabelsRightly else {
      throw Problem(.corrupt, "the ranking and the rank of a label contradict each other")
    }
  }

  private mutating func decodeGaps(
    _ planes: inout PlaneCursor, into columns: inout RecordColumns
  ) throws {
    let rows = columns.rows
    try decode(&planes, gapGroups, rows)
    let wrapped = columns.levels.withUnsafeMutableBufferPointer { levels in
      scratch.withUnsafeBufferPointer { deltas in
        var wrapped = false
        for row in 0..<rows { levels[row] = 0 }
        // A column at a time: what is read and what is written do not overlap, so it is vectorised.
        for start in stride(from: 0, to: deltas.count, by: max(rows, 1)) {
          for index in start..<start &+ rows {
            let level = levels[index] &+ deltas[index]
            let isWrong = level > Limits.level || deltas[index] > Limits.level
            wrapped = wrapped || isWrong
            levels[index &+ rows] = level
          }
        }
        return wrapped
      }
    }
    try demand(!wrapped, "a gap")
  }

  private mutating func decodeFromSmallest(
    _ planes: inout PlaneCursor, _ rows: Int, _ limit: Int32, _ store: (Int, Int32) -> Void
  ) throws {
    scratch.setCount(rows, filler: 0)
    let smallest = try scratch.withUnsafeMutableBufferPointer {
      try planes.decodeNextFromSmallest(into: $0)
    }
    var fine = true
    for row in 0..<rows {
      let value = Int64(smallest) + Int64(scratch[row])
      fine = fine && value.magnitude <= UInt64(limit)
      store(row, Int32(truncatingIfNeeded: value))
    }
    try demand(fine, "a value")
  }

  /// Labels inside the head have its rank and gap; the others have theirs stored.
  private mutating func decodeLabels(
    _ planes: inout PlaneCursor, into columns: inout RecordColumns
  ) throws {
    let (rows, k) = (columns.rows, encoding.k)
    scratch.setCount(rows, filler: 0)
    try scratch.withUnsafeMutableBufferPointer { try planes.decodeNext(into: $0) }
    columns.findLabels()
    var outside: [Int] = []
    for row in 0..<rows {
      let isInside = columns.labelRanks[row] < UInt32(k)
      guard isInside == (scratch[row] == 0) else {
        throw Problem(.corrupt, "the head and the rank of a label contradict each other")
      }
      if isInside { continue }
      try demand(scratch[row] <= UInt32(encoding.classes - k), "a label rank")
      columns.labelRanks[row] = scratch[row] - 1 + UInt32(k)
      outside.append(row)
    }
    scratch.setCount(outside.count, filler: 0)
    try scratch.withUnsafeMutableBufferPointer { try planes.decodeNext(into: $0) }
    let last = (k - 1) * rows
    for (index, row) in outside.enumerated() {
      let level = UInt64(columns.levels[last + row]) + UInt64(scratch[index])
      try demand(level <= UInt64(Limits.level), "a label's gap")
      columns.labelLevels[row] = UInt32(level)
    }
  }

  private mutating func decodeSubspace(
    _ planes: inout PlaneCursor, into columns: inout RecordColumns
  ) throws {
    let rows = columns.rows
    for axes in axisGroups {
      scratch.setCount(axes.count * rows, filler: 0)
      try scratch.withUnsafeMutableBufferPointer { try planes.decodeNext(into: $0) }
      let fine = scratch.withUnsafeBufferPointer { columns.tail?.unfold($0, axes) }
      try demand(fine == true, "a coefficient")
    }
    try decodeFromSmallest(&planes, rows, Limits.signed) { columns.tail?.offsets[$0] = $1 }
  }

  private mutating func decodeTails(
    _ planes: inout PlaneCursor, into columns: inout RecordColumns
  ) throws {
    let rows = columns.rows
    scratch.setCount(columns.temperatures * rows, filler: 0)
    try scratch.withUnsafeMutableBufferPointer { values in
      for index in 0..<columns.temperatures {
        let part = values[index * rows..<(index + 1) * rows]
        try planes.decodeNext(into: UnsafeMutableBufferPointer(rebasing: part))
      }
    }
    var ratios = columns.tails
    columns.tails = []
    var fine = true
    tails.predict(columns) { index, values in
      for row in 0..<rows {
        let ratio = values[row] &+ unzigzag(scratch[index * rows + row])
        fine = fine && ratio.magnitude <= Limits.signed.magnitude
        ratios[index * rows + row] = ratio
        values[row] = ratio
      }
    }
    columns.tails = ratios
    try demand(fine, "a tail ratio")
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
