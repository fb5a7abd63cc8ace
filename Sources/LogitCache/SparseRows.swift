import Basics
package import Losses

/// Rows of a block of which somebody kept the best classes and the log-sum-exp of all.
package struct SparseRows: Sendable {
  /// Classes kept of every row, k of the cache or more.
  package let width: Int
  /// Classes in descending order of their logits [rows, width].
  package var ids: [Int]
  /// Their logits [rows, width], in nats.
  package var logits: [Float]
  /// Log-sum-exp of all C logits of a row [rows], in nats.
  package var logSumExps: [Double]
  /// Relative rounding error of the log-sum-exps, such as 2^-20 for float32 numbers.
  package var rounding: Double
  /// The label's logit [rows], read where a row does not name its label; empty when unknown.
  package var labelLogits: [Float]
  /// The label's rank among all C classes [rows], 0 for the best; read likewise.
  package var labelRanks: [Int]

  /// Joins rows.
  package init(
    width: Int, ids: [Int], logits: [Float], logSumExps: [Double], rounding: Double,
    labelLogits: [Float] = [], labelRanks: [Int] = []
  ) {
    self.width = width
    self.ids = ids
    self.logits = logits
    self.logSumExps = logSumExps
    self.rounding = rounding
    self.labelLogits = labelLogits
    self.labelRanks = labelRanks
  }
}

/// Makes records of sparse rows, and bounds their error.
///
/// What a record needs and sparse rows do not say is asked for or refused, never made up: tails at temperatures other
/// than 1 (`temperatures`), and the logit and rank of a label that a row does not name.
package struct SparseMeter {
  private let manifest: Manifest
  private var columns: RecordColumns
  private var bounds: SparseBounds
  private var firstClasses: [UInt32] = []
  /// The row that named each class last, counted over all blocks [C].
  private var namedBy: [Int]
  private var rowsSeen = 0

  /// The planned temperatures of a cache of sparse rows: a tail's mass is known at 1 only.
  package static func temperatures(k: Int, classes: Int) -> [Temperature] {
    k < classes ? [1] : [1, 2, 4]
  }

  /// A meter for blocks of one cache.
  ///
  /// - Precondition: the encoding has these temperatures, no features, subspace tail or ranking.
  package init(_ manifest: Manifest) {
    let encoding = manifest.encoding
    precondition(
      encoding.temperatures
        == SparseMeter.temperatures(k: encoding.k, classes: encoding.classes)
        && encoding.featureWidth == nil && encoding.subspaceTail == nil && encoding.ranking == nil,
      "sparse rows cannot fill \(encoding)")
    self.manifest = manifest
    columns = RecordColumns(encoding)
    bounds = SparseBounds(encoding)
    namedBy = Array(repeating: -1, count: encoding.classes)
  }

  /// Measures a block, to be packed by a `BlockEncoder` of the manifest.
  ///
  /// - Parameters:
  ///   - labels: of every row, in 0..<C.
  ///   - places: as for `BlockEncoder.measure`.
  /// - Throws: `Problem(.corrupt)` naming sample, view and numbers when a row contradicts itself.
  /// - Precondition: without places, as many rows as the block has samples.
  package mutating func measure(
    _ rows: SparseRows, labels: [Int32], places: RowPlaces? = nil, _ key: BlockKey,
    viewDigest: Digest
  ) throws -> MeasuredBlock {
    let samples = manifest.samples(of: key)
    let count = labels.count
    precondition(
      rows.logSumExps.count == count && rows.ids.count == count * rows.width
        && rows.logits.count == rows.ids.count && rows.width >= manifest.encoding.k,
      "\(rows.ids.count) ids of width \(rows.width) for \(count) rows")
    if let positions = manifest.encoding.positions, let places {
      places.demand(samples: samples.count, rows: count, positions)
    } else {
      precondition(
        places == nil && manifest.encoding.positions == nil && count == samples.count,
        "\(count) rows for the \(samples.count) samples of \(key)")
    }
    columns.resize(to: count)
    columns.places = places
    firstClasses.removeAll(keepingCapacity: true)
    var certificate = Certificate(temperatures: manifest.encoding.temperatures)
    for index in 0..<count {
      do throws(RowFault) {
        let row = try row(index, of: rows, label: Int(labels[index]))
        fill(index, with: row, of: rows)
        bounds.measure(row, columns, index, rows, into: &certificate)
      } catch {
        let place = RecordPlace(
          row: index, firstSample: samples.lowerBound, view: key.view, places)
        throw Problem(.corrupt, "\(place): \(error.message)")
      }
    }
    let header = BlockHeader(
      key: key, firstSample: samples.lowerBound, rows: count, viewDigest: viewDigest)
    return MeasuredBlock(
      header: header, columns: columns, certificate: certificate, classSums: [:],
      firstClasses: firstClasses, keptRows: [])
  }

  /// What is wrong with a row.
  private struct RowFault: Error { var message: String }

  /// One row whose numbers agree, relative to its largest logit.
  struct Row {
    /// Where its classes are in `SparseRows`.
    var place: Range<Int>
    var largest: Float
    var label: Int
    var labelRank: Int
    var labelLogit: Float
    /// Mass of all classes that are not in the head, as a multiple of the best one's.
    var tailSum: Double
    /// How far `tailSum` may be off.
    var slack: Double
  }

  private mutating func row(
    _ index: Int, of rows: SparseRows, label: Int
  ) throws(RowFault) -> Row {
    let place = index * rows.width..<(index + 1) * rows.width
    try checkClasses(place, of: rows)
    var row = Row(
      place: place, largest: rows.logits[place.lowerBound], label: label, labelRank: 0,
      labelLogit: 0, tailSum: 0, slack: 0)
    try findMass(&row, index, rows)
    if let rank = rows.ids[place].firstIndex(of: label) {
      row.labelRank = rank - place.lowerBound
      row.labelLogit = rows.logits[rank]
    } else {
      try takeLabel(&row, index, rows)
    }
    return row
  }

  private mutating func checkClasses(
    _ place: Range<Int>, of rows: SparseRows
  ) throws(RowFault) {
    rowsSeen += 1
    let classes = manifest.encoding.classes
    for (rank, entry) in place.enumerated() {
      let (id, logit) = (rows.ids[entry], rows.logits[entry])
      guard (0..<classes).contains(id) else {
        throw RowFault(message: "id \(rank) is \(id), the classes are 0..<\(classes)")
      }
      guard namedBy[id] != rowsSeen else {
        throw RowFault(message: "class \(id) is among its ids twice")
      }
      namedBy[id] = rowsSeen
      guard logit.isFinite, abs(logit) <= Limits.magnitude else {
        throw RowFault(
          message: "the value of class \(id) is \(logit): logits must be finite and within "
            + "±\(Int(Limits.magnitude))")
      }
      guard rank == 0 || rows.logits[entry - 1] >= logit else {
        throw RowFault(
          message:
            "value \(rank) is \(logit), after \(rows.logits[entry - 1]): ids and values must "
            + "be in descending order of the values")
      }
    }
  }

  /// Finds the mass outside the head.
  private func findMass(_ row: inout Row, _ index: Int, _ rows: SparseRows) throws(RowFault) {
    let named = NamedMass(rows.logits[row.place], k: manifest.encoding.k)
    let logSumExp = rows.logSumExps[index]
    guard logSumExp.isFinite, abs(logSumExp) <= 2 * Double(Limits.magnitude) else {
      throw RowFault(message: "the log-sum-exp is \(logSumExp)")
    }
    // The sums of exponentials are exact to 2e-14.
    let error = max(rows.rounding, 0x1p-44) * max(1, abs(logSumExp), abs(Double(row.largest)))
    let unnamed = manifest.encoding.classes - rows.width
    row.slack = 2 * error * named.sum
    try named.check(logSumExp, error: error, slack: row.slack, unnamed: unnamed)
    // e^excess - 1 by its series where the difference would cancel.
    let excess = max(0, logSumExp - named.logSumExp)
    let growth = excess < 1e-5 ? excess * (1 + excess / 2) : 1 / exactExp(-excess) - 1
    let rest = min(2 * named.most(unnamed), growth * named.sum)
    row.tailSum = max(named.sum - named.head + rest, row.slack, .leastNormalMagnitude)
  }

  /// What a row's own values say of its mass, as multiples of the best one's.
  private struct NamedMass {
    let values: ArraySlice<Float>
    /// Of all of them, and of the first k.
    let sum: Double
    let head: Double
    let logSumExp: Double
    private let last: Double

    init(_ values: ArraySlice<Float>, k: Int) {
      self.values = values
      let largest = Double(values[values.startIndex])
      let powers = values.map { exactExp(Double($0) - largest) }
      sum = powers.reduce(0, +)
      head = powers.prefix(k).reduce(0, +)
      last = powers[powers.count - 1]
      logSumExp = largest + exactLog(sum)
    }

    /// The most that so many classes no better than the last value can have.
    func most(_ classes: Int) -> Double { Double(classes) * last }

    /// Demands that a log-sum-exp can be that of a row with these values and so many other classes.
    ///
    /// Rounded values, such as those of another cache, may put a little more outside than fits there.
    func check(
      _ all: Double, error: Double, slack: Double, unnamed: Int
    ) throws(RowFault) {
      guard all >= logSumExp - error else {
        throw RowFault(
          message: "the log-sum-exp is \(all), less than \(logSumExp), that of its own values: it "
            + "must be that of all \(values.count + unnamed) logits")
      }
      let limit = logSumExp + exactLog(1 + (2 * most(unnamed) + slack) / sum)
      guard all <= limit + error else {
        throw RowFault(
          message: "the log-sum-exp is \(all), more than "
            + "\(logSumExp + exactLog(1 + most(unnamed) / sum)): \(unnamed) classes no better than the "
            + "last value \(values[values.endIndex - 1]) cannot have that; ids must be the best classes, "
            + "and the log-sum-exp that of the same row")
      }
    }
  }

  /// Takes in the label that a row does not name.
  private func takeLabel(_ row: inout Row, _ index: Int, _ rows: SparseRows) throws(RowFault) {
    let (label, classes) = (row.label, manifest.encoding.classes)
    guard !rows.labelLogits.isEmpty, !rows.labelRanks.isEmpty else {
      throw RowFault(
        message: "its label \(label) is not among its \(rows.width) ids: give --label-logits and "
          + "--label-ranks, the logits of all labels and their places in the order of all classes")
    }
    let (logit, rank) = (rows.labelLogits[index], rows.labelRanks[index])
    let last = rows.logits[row.place.upperBound - 1]
    guard logit.isFinite, abs(logit) <= Limits.magnitude, logit <= last else {
      throw RowFault(
        message:
          "its label \(label) is not among its ids and has the logit \(logit), the last value is "
          + "\(last): a finite logit no larger is expected")
    }
    guard (rows.width..<classes).contains(rank) else {
      throw RowFault(
        message: "its label \(label) is not among its ids and has the rank \(rank), it must be in "
          + "\(rows.width)..<\(classes)")
    }
    // Rounded values may be off by a factor of 2 as above.
    let power = exactExp(Double(logit) - Double(row.largest))
    let above = Double(rank - rows.width + 1)
    guard power * above <= 2 * row.tailSum + row.slack else {
      throw RowFault(
        message:
          "its label \(label) has the logit \(logit) and the rank \(rank): with the classes before "
          + "it, that is more than the log-sum-exp leaves for classes that are not among its ids")
    }
    (row.labelRank, row.labelLogit) = (rank, logit)
  }

  private mutating func fill(_ index: Int, with row: Row, of rows: SparseRows) {
    let encoding = manifest.encoding
    let quantiser = Quantiser(encoding, largest: row.largest)
    columns.largest[index] = quantiser.largest
    columns.labels[index] = UInt32(row.label)
    columns.labelLevels[index] = quantiser.level(of: row.labelLogit)
    columns.labelRanks[index] = UInt32(row.labelRank)
    for rank in 0..<encoding.k {
      let entry = row.place.lowerBound + rank
      columns.ids[rank * columns.rows + index] = UInt32(rows.ids[entry])
      columns.levels[rank * columns.rows + index] = quantiser.level(of: rows.logits[entry])
    }
    let known = min(rows.width, Calibration.depth(encoding))
    for entry in row.place.prefix(known) { firstClasses.append(UInt32(rows.ids[entry])) }
    guard columns.temperatures == 1 else { return }
    let head = row.place.prefix(encoding.k).reduce(0) {
      $0 + exactExp(Double(rows.logits[$1]) - Double(row.largest))
    }
    let ratio = exactLog(row.tailSum) - exactLog(head)
    let steps = (ratio * Double(encoding.tailStepsPerNat)).rounded(.toNearestOrEven)
    columns.tails[index] = Int32(steps)
  }
}
