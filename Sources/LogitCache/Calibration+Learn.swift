import Losses

extension Calibration {
  /// Learns from measured calibration blocks.
  ///
  /// - Parameters:
  ///   - blocks: blocks measured for calibration (`BlockEncoder.measure`), at least one; for a subspace
  ///     tail with full rows (`keptRows`), at least two in all. For a cache that is the same however it
  ///     is made, those of `calibrationBlocks`.
  ///   - manifest: the cache's manifest; only its shape matters.
  ///   - records: how many records share the calibration's own bytes; when left out those of the manifest or,
  ///     with positions, as many for each sample as the blocks have.
  /// - Throws: `Problem(.configuration)` when there are too few full rows to learn axes from.
  public static func learn(
    _ blocks: [MeasuredBlock], _ manifest: Manifest, records: Int? = nil
  ) throws -> Calibration {
    let encoding = manifest.encoding
    let axes = try encoding.subspaceTail.map { tail in
      let rows = blocks.flatMap(\.keptRows)
      return try SubspaceAxes(learning: rows.span, classes: encoding.classes, tail: tail)
    }
    return Calibration(
      orders: OrderTable.learn(
        blocks, encoding, records: records ?? manifest.records(like: blocks)),
      tails: TailPredictor.learn(blocks.map(\.columns), encoding), axes: axes)
  }

  /// How many full rows calibration block number `index` of `count` keeps, for axes to be learned from.
  ///
  /// At most 4,096 rows and 256 MiB in all; 0 without a subspace tail.
  public static func keptRows(_ encoding: Encoding, block index: Int, of count: Int) -> Int {
    if encoding.subspaceTail == nil { return 0 }
    let all = min(4096, (1 << 26) / encoding.classes)
    return (index + 1) * all / count - index * all / count
  }

  /// How many first classes of each calibration row tables are learned from, where as many are known.
  static func depth(_ encoding: Encoding) -> Int {
    min(encoding.classes, max(encoding.k, 100))
  }
}

extension Manifest {
  /// The records of a complete cache whose samples have as many as those of some blocks.
  fileprivate func records(like blocks: [MeasuredBlock]) -> Int {
    if encoding.positions == nil { return records }
    let samples = blocks.reduce(0) { $0 + ($1.columns.places?.samples ?? 0) }
    let rows = blocks.reduce(0) { $0 + $1.columns.rows }
    return Int(Double(viewedSamples) * Double(rows) / Double(max(samples, 1)))
  }

  /// The blocks that a cache learns from, in key order: a tenth of all, at most 32.
  ///
  /// Spread evenly over the samples, from each view in turn: even steps through the key order could meet the
  /// same samples in every view, and so only a few of the labels.
  public var calibrationBlocks: [BlockKey] {
    let count = min(32, max(1, blockCount / 10))
    return (0..<count).map { BlockKey(view: $0 % views, block: $0 * blocksPerView / count) }
      .sorted { position(of: $0) < position(of: $1) }
  }
}

/// The calibration rows of one half: labels, and first classes [rows, depth].
private struct TopLists {
  var labels: [UInt32] = []
  var ids: [UInt32] = []
  let depth: Int

  var rows: Int { labels.count }

  func row(_ row: Int) -> ArraySlice<UInt32> { ids[row * depth..<(row + 1) * depth] }

  /// The class that chooses the list of a row.
  func key(_ row: Int, _ key: OrderTable.Key) -> UInt32 {
    key == .label ? labels[row] : ids[row * depth]
  }
}

/// The classes by their points in all rows.
private struct Popularity {
  /// Points of each class [C].
  let totals: [UInt64]
  /// The classes in descending order of points, ties lower class first [C].
  let order: [UInt32]

  init(_ rows: TopLists, classes: Int) {
    var totals = [UInt64](repeating: 0, count: classes)
    for row in 0..<rows.rows {
      for (rank, id) in rows.row(row).enumerated() { totals[Int(id)] += points(rank) }
    }
    order = (0..<UInt32(classes)).sorted { (totals[Int($1)], $0) < (totals[Int($0)], $1) }
    self.totals = totals
  }
}

/// Points of a class for its rank in one row: 1 / (1 + rank) + 1/50, in units of 2^-16.
private func points(_ rank: Int) -> UInt64 { UInt64(65_536 / (1 + rank) + 1311) }

extension OrderTable {
  /// The table that makes the whole cache smallest, its own bytes included.
  ///
  /// Every kind is learned from even rows and measured on odd ones; the best is then learned from all.
  static func learn(
    _ blocks: [MeasuredBlock], _ encoding: Encoding, records: Int
  ) -> OrderTable {
    let depth = depth(of: blocks, k: encoding.k)
    let all = topLists(blocks, depth) { _ in true }
    let (even, odd) = (
      topLists(blocks, depth) { $0 % 2 == 0 }, topLists(blocks, depth) { $0 % 2 == 1 }
    )
    var best = identity(classes: encoding.classes)
    guard odd.rows > 0 else { return best }
    /// Bytes of the whole cache's ids and of a table with so many lists.
    func cost(_ table: OrderTable, lists: Int) -> Int {
      let perRow = Double(digitBits(odd, table, k: encoding.k)) / Double(odd.rows)
      let ids = table.prefix.count + lists * (1 + table.length)
      return Int(perRow * Double(records) / 8)
        + ids * Int(Calibration.idWidth(encoding.classes)) / 8
    }
    var bestCost = cost(best, lists: 0)
    let popularity = Popularity(even, classes: encoding.classes)
    for key in Key.allCases {
      let lengths = key == .none ? [0] : lengths(encoding)
      let longest = learn(even, popularity, key, length: lengths.last!)
      let lists = key == .none ? 0 : Set((0..<all.rows).map { all.key($0, key) }).count
      for length in lengths {
        let table = longest.shortened(to: length)
        let cost = cost(table, lists: lists)
        if cost < bestCost { (best, bestCost) = (table, cost) }
      }
    }
    if best.prefix.isEmpty { return best }
    return learn(
      all, Popularity(all, classes: encoding.classes), best.key, length: best.length)
  }

  /// Classes in each row's list, the same in all blocks.
  private static func depth(of blocks: [MeasuredBlock], k: Int) -> Int {
    // With positions a block may have no records.
    guard let first = blocks.first(where: { $0.columns.rows > 0 }) else { return k }
    let depth = first.firstClasses.count / first.columns.rows
    for block in blocks {
      precondition(
        depth >= k && block.firstClasses.count == block.columns.rows * depth,
        "\(block.key) has lists of \(block.firstClasses.count) classes for \(block.columns.rows) rows"
      )
    }
    return depth
  }

  /// The lengths of lists to try: 32 and its doubles up to eight times k, at least 128.
  private static func lengths(_ encoding: Encoding) -> [Int] {
    let longest = min(encoding.classes, max(128, 8 * encoding.k))
    var lengths = [min(32, longest)]
    while let last = lengths.last, last < longest { lengths.append(min(2 * last, longest)) }
    return lengths
  }

  private static func topLists(
    _ blocks: [MeasuredBlock], _ depth: Int, _ isWanted: (Int) -> Bool
  ) -> TopLists {
    var lists = TopLists(depth: depth)
    var row = 0
    for block in blocks {
      for index in 0..<block.columns.rows {
        if isWanted(row) {
          lists.labels.append(block.columns.labels[index])
          lists.ids += block.firstClasses[index * depth..<(index + 1) * depth]
        }
        row += 1
      }
    }
    return lists
  }

  private static func learn(
    _ rows: TopLists, _ popularity: Popularity, _ key: Key, length: Int
  ) -> OrderTable {
    let classes = popularity.order.count
    let prefix = Array(popularity.order.prefix(4096))
    guard key != .none else {
      return OrderTable(
        classes: classes, key: .none, prefix: prefix, keys: [], length: 0, lists: [])
    }
    // Rows by key; within a key by row.
    let byKey = (0..<rows.rows).sorted { (rows.key($0, key), $0) < (rows.key($1, key), $1) }
    var keys: [UInt32] = []
    var lists: [UInt32] = []
    var scores = [UInt64](repeating: 0, count: classes)
    var start = 0
    while start < byKey.count {
      let id = rows.key(byKey[start], key)
      var end = start
      var touched: [UInt32] = []
      while end < byKey.count, rows.key(byKey[end], key) == id {
        for (rank, id) in rows.row(byKey[end]).enumerated() {
          if scores[Int(id)] == 0 { touched.append(id) }
          scores[Int(id)] += 2 * UInt64(rows.rows) * points(rank)
        }
        end += 1
      }
      keys.append(id)
      lists += list(touched, &scores, popularity, length: length)
      start = end
    }
    return OrderTable(
      classes: classes, key: key, prefix: prefix, keys: keys, length: length, lists: lists)
  }

  /// The best classes of one key: its own points, and half a row of the average of all rows.
  private static func list(
    _ touched: [UInt32], _ scores: inout [UInt64], _ popularity: Popularity, length: Int
  ) -> [UInt32] {
    var candidates = touched
    for id in popularity.order.prefix(length) where scores[Int(id)] == 0 { candidates.append(id) }
    for id in candidates { scores[Int(id)] += popularity.totals[Int(id)] }
    candidates.sort { (scores[Int($1)], $0) < (scores[Int($0)], $1) }
    for id in candidates { scores[Int(id)] = 0 }
    return Array(candidates.prefix(length))
  }

  /// The same table with lists of their first classes: those it would have learned at that length.
  private func shortened(to length: Int) -> OrderTable {
    if length == self.length { return self }
    return OrderTable(
      classes: classes, key: key, prefix: prefix, keys: keys, length: length,
      lists: keys.indices.flatMap { lists[$0 * self.length..<$0 * self.length + length] })
  }

  /// Bits of the ids of rows, each group of ranks with a prefix code of its own.
  private static func digitBits(_ rows: TopLists, _ table: OrderTable, k: Int) -> Int {
    var ids = [UInt32](repeating: 0, count: k * rows.rows)
    for row in 0..<rows.rows {
      for (rank, id) in rows.row(row).prefix(k).enumerated() { ids[rank * rows.rows + row] = id }
    }
    var transform = IDTransform(table)
    let digits = transform.encode(ids, labels: rows.labels, k: k)
    return ColumnGroups.ranges(k).reduce(0) { bits, ranks in
      let part = ranks.lowerBound * rows.rows..<ranks.upperBound * rows.rows
      return bits + digits[part].withUnsafeBufferPointer { WrittenPlane.smallest($0).bits }
    }
  }
}
