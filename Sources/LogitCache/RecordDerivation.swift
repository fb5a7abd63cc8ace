/// Turns decoded records into those of a smaller encoding, and bounds their error.
///
/// Works on the stored integers. Classes that leave the head join the tail: log(tail / head) is computed
/// again from the stored gaps and ratio. A subset of classes is taken of full rows.
struct RecordDerivation {
  private let source: Encoding
  private let target: Encoding
  /// The new number of each class, -1 for those left out; `nil` when all stay.
  private let classNumbers: [Int32]?
  private var errors: InheritedErrors
  /// The derived records.
  private(set) var columns: RecordColumns
  /// First classes of each record, as many as the source names and calibration can use.
  private(set) var firstClasses: [UInt32] = []

  /// One record, restricted to the classes that remain.
  struct Row {
    /// Head classes, best first, under their new numbers.
    var ids: [UInt32] = []
    /// Their gaps to the first of them, in the source's steps.
    var levels: [UInt32] = []
    /// log(tail / head) at each temperature in nats; empty without a tail.
    var logTailRatios: [Double] = []
    /// The label under its new number.
    var label: UInt32 = 0
  }
  private var row = Row()

  init(from manifest: Manifest, to target: Encoding, classes: [Int]?) {
    source = manifest.encoding
    self.target = target
    if let classes {
      var numbers = [Int32](repeating: -1, count: manifest.encoding.classes)
      for (number, id) in classes.sorted().enumerated() { numbers[id] = Int32(number) }
      classNumbers = numbers
    } else {
      classNumbers = nil
    }
    errors = InheritedErrors(
      from: manifest.encoding, to: target, isDerived: manifest.derivedFrom != nil,
      isSubset: classes != nil)
    columns = RecordColumns(target)
  }

  /// Derives the records of a block into `columns` and `firstClasses`.
  ///
  /// - Parameter certificate: the errors of the source's records.
  /// - Returns: an upper bound of the errors of the derived ones.
  mutating func derive(_ records: RecordColumns, _ certificate: Certificate) -> Certificate {
    columns.resize(to: records.rows)
    columns.places = records.places
    firstClasses.removeAll(keepingCapacity: true)
    errors.begin(certificate)
    for index in 0..<records.rows {
      let first = load(records, index)
      let factor = Int32(source.largestStepsPerNat / source.stepsPerNat)
      columns.largest[index] =
        records.largest[index] - (first == 0 ? 0 : Int32(first) * factor)
      columns.labels[index] = row.label
      columns.labelLevels[index] = coarser(records.labelLevels[index] - first)
      columns.labelRanks[index] =
        classNumbers == nil
        ? records.labelRanks[index] : UInt32(row.ids.firstIndex(of: row.label)!)
      for rank in 0..<target.k {
        columns.ids[rank * columns.rows + index] = row.ids[rank]
        columns.levels[rank * columns.rows + index] = coarser(row.levels[rank])
      }
      for t in 0..<columns.temperatures {
        columns.tails[t * columns.rows + index] = tail(t)
      }
      if columns.hasRanking { copyRanking(of: records, index) }
      if columns.hasFeatureNorms { columns.featureNorms[index] = records.featureNorms[index] }
      firstClasses += row.ids.prefix(Calibration.depth(target))
      errors.add(row, columns, index)
    }
    return errors.finish()
  }

  /// Takes in a record; returns the gap of its best remaining class in the source's steps.
  private mutating func load(_ records: RecordColumns, _ index: Int) -> UInt32 {
    row.ids.removeAll(keepingCapacity: true)
    row.levels.removeAll(keepingCapacity: true)
    row.logTailRatios.removeAll(keepingCapacity: true)
    var first: UInt32?
    for rank in 0..<records.k {
      var id = records.ids[rank * records.rows + index]
      if let classNumbers {
        if classNumbers[Int(id)] < 0 { continue }
        id = UInt32(classNumbers[Int(id)])
      }
      let level = records.levels[rank * records.rows + index]
      let origin = first ?? (classNumbers == nil ? 0 : level)
      first = origin
      row.ids.append(id)
      row.levels.append(level - origin)
    }
    for t in 0..<records.temperatures {
      let ratio = Double(records.tails[t * records.rows + index])
      row.logTailRatios.append(ratio / Double(source.tailStepsPerNat))
    }
    let label = records.labels[index]
    row.label = classNumbers.map { UInt32($0[Int(label)]) } ?? label
    return first ?? 0
  }

  /// The classes that leave the head come first of those behind it; the others follow as they did.
  private mutating func copyRanking(of records: RecordColumns, _ index: Int) {
    let rows = columns.rows
    for rank in target.k..<target.classes {
      columns.ranking[(rank - target.k) * rows + index] =
        rank < source.k ? row.ids[rank] : records.ranking[(rank - source.k) * rows + index]
    }
  }

  /// A gap in the target's steps, rounded half to even.
  private func coarser(_ level: UInt32) -> UInt32 {
    let factor = UInt32(source.stepsPerNat / target.stepsPerNat)
    let (steps, rest) = level.quotientAndRemainder(dividingBy: factor)
    let isUp = 2 * rest > factor || (2 * rest == factor && !steps.isMultiple(of: 2))
    return isUp ? steps + 1 : steps
  }

  /// log(tail / head) of the row's first k classes at a temperature, in steps.
  private func tail(_ t: Int) -> Int32 {
    let steps = Double(target.tailStepsPerNat)
    if target.k == row.ids.count { return Int32((row.logTailRatios[t] * steps).rounded()) }
    let scale = -1 / (Double(source.stepsPerNat) * target.temperatures[t].value)
    let head = logSum(row.levels[..<target.k], scale)
    let dropped = logSum(row.levels[target.k...], scale)
    var tail = dropped
    if !row.logTailRatios.isEmpty {
      tail = logAdd(dropped, logAdd(head, dropped) + row.logTailRatios[t])
    }
    return Int32(((tail - head) * steps).rounded(.toNearestOrEven))
  }
}

/// log sum exp(scale * level) over ascending levels, for scale < 0, the same bits on every machine.
private func logSum(_ levels: ArraySlice<UInt32>, _ scale: Double) -> Double {
  let first = levels[levels.startIndex]
  var sum = 0.0
  for level in levels { sum += exactExp(Double(level - first) * scale) }
  return Double(first) * scale + exactLog(sum)
}

/// log(e^a + e^b).
private func logAdd(_ a: Double, _ b: Double) -> Double {
  max(a, b) + exactLog(1 + exactExp(min(a, b) - max(a, b)))
}
