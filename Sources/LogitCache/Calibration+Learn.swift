extension Calibration {
  /// Learns from measured calibration blocks.
  ///
  /// - Parameters:
  ///   - blocks: blocks measured for calibration (`BlockEncoder.measure`), at least one; for a subspace
  ///     tail with full rows (`keptRows`), at least two in all. For a cache that is the same however it
  ///     is made, those of `calibrationBlocks`.
  ///   - manifest: the cache's manifest; only its shape matters.
  /// - Throws: `Problem(.configuration)` when there are too few full rows to learn axes from.
  public static func learn(_ blocks: [MeasuredBlock], _ manifest: Manifest) throws -> Calibration {
    let encoding = manifest.encoding
    let axes = try encoding.subspaceTail.map { tail in
      let rows = blocks.flatMap(\.keptRows)
      return try SubspaceAxes(learning: rows.span, classes: encoding.classes, tail: tail)
    }
    return Calibration(
      orders: OrderTable.learn(blocks, encoding, records: manifest.records),
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

/// A kind of table to try.
private struct OrderChoice {
  var key: OrderTable.Key
  var prefix: Int
  var length: Int
}

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
    let classes = encoding.classes
    var best = OrderChoice(key: .none, prefix: 0, length: 0)
    guard odd.rows > 0 else { return identity(classes: classes) }
    var bestCost = Int.max
    for choice in choices(encoding) {
      let table = learn(even, choice, classes: classes)
      let whole = learnedSize(all, choice, classes: classes)
      let perRow = digitBits(odd, table, k: encoding.k)
      let cost = Int(Double(perRow) / Double(odd.rows) * Double(records) / 8) + whole
      if cost < bestCost { (best, bestCost) = (choice, cost) }
    }
    return learn(all, best, classes: classes)
  }

  /// Classes in each row's list, the same in all blocks.
  private static func depth(of blocks: [MeasuredBlock], k: Int) -> Int {
    let depth = blocks[0].firstClasses.count / blocks[0].columns.rows
    for block in blocks {
      precondition(
        depth >= k && block.firstClasses.count == block.columns.rows * depth,
        "\(block.key) has lists of \(block.firstClasses.count) classes for \(block.columns.rows) rows"
      )
    }
    return depth
  }

  private static func choices(_ encoding: Encoding) -> [OrderChoice] {
    let prefix = min(encoding.classes, 4096)
    var choices = [
      OrderChoice(key: .none, prefix: 0, length: 0),
      OrderChoice(key: .none, prefix: prefix, length: 0),
    ]
    var lengths = [max(32, encoding.k), max(128, 2 * encoding.k)].map { min(encoding.classes, $0) }
    if lengths[0] == lengths[1] { lengths.removeLast() }
    for key in [Key.label, .first] {
      for length in lengths {
        choices.append(OrderChoice(key: key, prefix: prefix, length: length))
      }
    }
    return choices
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

  /// Points of a class for its rank in one row: 1 / (1 + rank) + 1/50, in units of 2^-16.
  private static func points(_ rank: Int) -> UInt64 { UInt64(65_536 / (1 + rank) + 1311) }

  private static func learn(_ rows: TopLists, _ choice: OrderChoice, classes: Int) -> OrderTable {
    var totals = [UInt64](repeating: 0, count: classes)
    for row in 0..<rows.rows {
      for (rank, id) in rows.row(row).enumerated() { totals[Int(id)] += points(rank) }
    }
    let order = (0..<UInt32(classes)).sorted {
      (totals[Int($1)], $0) < (totals[Int($0)], $1)
    }
    let prefix = Array(order[..<choice.prefix])
    guard choice.key != .none else {
      return OrderTable(
        classes: classes, key: .none, prefix: prefix, keys: [], length: 0, lists: [])
    }
    // Rows by key; within a key by row.
    let byKey = (0..<rows.rows).sorted {
      (rows.key($0, choice.key), $0) < (rows.key($1, choice.key), $1)
    }
    var keys: [UInt32] = []
    var lists: [UInt32] = []
    var scores = [UInt64](repeating: 0, count: classes)
    var start = 0
    while start < byKey.count {
      let key = rows.key(byKey[start], choice.key)
      var end = start
      var touched: [UInt32] = []
      while end < byKey.count, rows.key(byKey[end], choice.key) == key {
        for (rank, id) in rows.row(byKey[end]).enumerated() {
          if scores[Int(id)] == 0 { touched.append(id) }
          scores[Int(id)] += 2 * UInt64(rows.rows) * points(rank)
        }
        end += 1
      }
      keys.append(key)
      lists += list(touched, &scores, order, totals, length: choice.length)
      start = end
    }
    return OrderTable(
      classes: classes, key: choice.key, prefix: prefix, keys: keys, length: choice.length,
      lists: lists)
  }

  /// The best classes of one key: its own points, and half a row of the average of all rows.
  private static func list(
    _ touched: [UInt32], _ scores: inout [UInt64], _ order: [UInt32], _ totals: [UInt64],
    length: Int
  ) -> [UInt32] {
    var candidates = touched
    for id in order.prefix(length) where scores[Int(id)] == 0 { candidates.append(id) }
    for id in candidates { scores[Int(id)] += totals[Int(id)] }
    candidates.sort { (scores[Int($1)], $0) < (scores[Int($0)], $1) }
    for id in candidates { scores[Int(id)] = 0 }
    return Array(candidates.prefix(length))
  }

  /// Bytes of the table that `learn` would make.
  private static func learnedSize(_ rows: TopLists, _ choice: OrderChoice, classes: Int) -> Int {
    let keys =
      choice.key == .none
      ? 0 : Set((0..<rows.rows).map { rows.key($0, choice.key) }).count
    let ids = choice.prefix + keys + keys * choice.length
    return ids * Int(Calibration.idWidth(classes)) / 8
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
