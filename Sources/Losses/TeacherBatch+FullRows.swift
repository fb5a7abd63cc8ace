// Full rows: a batch with k = C, filled from records with a subspace tail. Every loss reads it as
// it reads any other k = C batch, so no loss has code for full rows.

/// The tail masses that records stored, which full rows rebuilt from coefficients keep.
///
/// A rebuilt row has the tail's shape with small errors in every class; their sum would be the
/// largest part of what a gradient loses, and the stored ratio takes it away.
public struct TailAnchor: Sendable {
  /// The records' k: so many classes stand first, in their own order.
  public var headClasses: Int
  /// The planned temperatures, ascending.
  public var temperatures: [Float]
  /// log(tail mass / head mass) [B, temperatures].
  public var logTailRatios: [Float]

  /// The stored ratio at a planned temperature; nil at others.
  package func logTailRatio(row: Int, temperature: Float) -> Double? {
    guard let place = temperatures.firstIndex(of: temperature) else { return nil }
    return Double(logTailRatios[row * temperatures.count + place])
  }
}

extension TeacherBatch {
  /// An empty batch for the full rows of such records.
  public static func fullRows(of records: borrowing TeacherBatch) -> TeacherBatch {
    TeacherBatch(
      classes: records.classes, k: records.classes, tailTemperatures: [], count: 0,
      featureNorms: records.hasFeatureNorms)
  }

  /// Takes in records and their rebuilt rows.
  ///
  /// Head and label keep the records' own values, and no other class stands above the last head
  /// class, so the first k classes and their order come from the records alone.
  ///
  /// - Parameters:
  ///   - records: whose batch this one was made for.
  ///   - ordered: whether the classes behind the head are sorted by gap, ties lower class first. If
  ///     not, they ascend, and only terms that need no order may read the batch.
  ///   - writeRows: writes the rebuilt rows [B, C] in class order, relative to their levels
  ///     (`rowOffsets`, or the largest logits in records without), finite.
  /// - Precondition: this batch has k = C and the records' classes.
  package mutating func takeRows(
    of records: borrowing TeacherBatch, ordered: Bool,
    writeRows: (UnsafeMutableBufferPointer<Float>) -> Void
  ) {
    precondition(
      k == classes && classes == records.classes && hasFeatureNorms == records.hasFeatureNorms,
      "a batch of k = \(k), \(classes) classes for full rows of \(records.classes) classes")
    resize(to: records.count)
    gaps.withUnsafeMutableBufferPointer { writeRows($0) }
    for row in 0..<count {
      correct(row, with: records)
      largestLogits[row] = records.largestLogits[row]
      labels[row] = records.labels[row]
      labelGaps[row] = records.labelGaps[row]
      labelRanks[row] = records.labelRanks[row]
      if hasFeatureNorms { featureNorms[row] = records.featureNorms[row] }
    }
    places = records.places
    isOrdered = ordered
    anchor = TailAnchor(
      headClasses: records.k, temperatures: records.tailTemperatures,
      logTailRatios: records.logTailRatios)
    if ordered { sortRows(behind: records) } else { bringHeadsForward(of: records) }
  }

  /// No rebuilt gap is larger, in nats, whatever the coefficients: twice what a logit can be.
  private static let largestGap: Float = 0x1p19

  /// Turns a rebuilt row into gaps and lays the stored values over it.
  private mutating func correct(_ row: Int, with records: borrowing TeacherBatch) {
    let last = records.gaps[row * records.k + records.k - 1]
    let offset = records.axes == nil ? 0 : records.rowOffsets[row]
    gaps.withUnsafeMutableBufferPointer { gaps in
      let start = row &* classes
      for index in start..<start &+ classes {
        gaps[index] = min(max(offset - gaps[index], last), Self.largestGap)
      }
      gaps[start + Int(records.labels[row])] = max(records.labelGaps[row], last)
      for j in row * records.k..<(row + 1) * records.k {
        gaps[start + Int(records.classIDs[j])] = records.gaps[j]
      }
    }
  }

  /// Puts the head first; the other classes move up to make room and stay in ascending order.
  private mutating func bringHeadsForward(of records: borrowing TeacherBatch) {
    let (classes, k) = (classes, records.k)
    var heads: [Int] = []
    for row in 0..<count {
      let head = row * k..<(row + 1) * k
      heads.removeAll(keepingCapacity: true)
      for j in head { heads.append(Int(records.classIDs[j])) }
      heads.sort()
      gaps.withUnsafeMutableBufferPointer { gaps in
        classIDs.withUnsafeMutableBufferPointer { ids in
          let (rowGaps, rowIDs) = (
            gaps.baseAddress! + row * classes, ids.baseAddress! + row * classes
          )
          // From the back: what lies between two head classes moves up by the heads behind it.
          var end = classes
          for shift in 0...k {
            let start = shift == k ? 0 : heads[k - 1 - shift] + 1
            (rowGaps + start + shift).update(from: rowGaps + start, count: end - start)
            for id in start..<end { rowIDs[id &+ shift] = Int32(truncatingIfNeeded: id) }
            end = start - 1
          }
          for j in 0..<k {
            rowGaps[j] = records.gaps[head.lowerBound + j]
            rowIDs[j] = records.classIDs[head.lowerBound + j]
          }
        }
      }
    }
  }

  /// Brings every row into the teacher's order: the head as stored, then the others by gap.
  private mutating func sortRows(behind records: borrowing TeacherBatch) {
    var sorter = RowSorter(capacity: classes)
    let (classes, k) = (classes, records.k)
    for row in 0..<count {
      let head = row * k..<(row + 1) * k
      let start = row * classes
      gaps.withUnsafeMutableBufferPointer { gaps in
        // Nothing else is negative, so a mark keeps the head out of the others.
        for j in head { gaps[start + Int(records.classIDs[j])] = -1 }
        sorter.load(UnsafeBufferPointer(rebasing: gaps[start..<start + classes]))
        sorter.sort()
        for j in 0..<k { gaps[start + j] = records.gaps[head.lowerBound + j] }
        classIDs.withUnsafeMutableBufferPointer { ids in
          for j in 0..<k { ids[start + j] = records.classIDs[head.lowerBound + j] }
          sorter.store(ids, gaps, from: start + k)
        }
      }
    }
  }
}

/// Sorts non-negative floats with their places, stable, by three passes over eleven bits each: the
/// bits of such floats order as integers do.
private struct RowSorter {
  private var entries: [UInt64]
  private var spare: [UInt64]
  private var count = 0

  private static let digit = 11
  private static let digits = 1 << digit

  init(capacity: Int) {
    entries = Array(repeating: 0, count: capacity)
    spare = entries
  }

  /// Takes in all values that are not negative: value in the high half, place in the low half.
  mutating func load(_ values: UnsafeBufferPointer<Float>) {
    count = 0
    entries.withUnsafeMutableBufferPointer { entries in
      for index in 0..<values.count where values[index] >= 0 {
        entries[count] = UInt64(values[index].bitPattern) &<< 32 | UInt64(index)
        count &+= 1
      }
    }
  }

  mutating func sort() {
    for shift in [32, 32 + RowSorter.digit, 32 + 2 * RowSorter.digit] {
      pass(UInt64(shift))
      swap(&entries, &spare)
    }
  }

  private mutating func pass(_ shift: UInt64) {
    let mask = UInt64(RowSorter.digits - 1)
    let count = count
    withUnsafeTemporaryAllocation(of: Int.self, capacity: RowSorter.digits) { places in
      places.initialize(repeating: 0)
      entries.withUnsafeBufferPointer { entries in
        for index in 0..<count { places[Int(entries[index] &>> shift & mask)] &+= 1 }
        var next = 0
        for digit in 0..<RowSorter.digits {
          let here = places[digit]
          places[digit] = next
          next &+= here
        }
        spare.withUnsafeMutableBufferPointer { spare in
          for index in 0..<count {
            let digit = Int(entries[index] &>> shift & mask)
            spare[places[digit]] = entries[index]
            places[digit] &+= 1
          }
        }
      }
    }
  }

  /// Writes places and values in ascending order.
  func store(
    _ ids: UnsafeMutableBufferPointer<Int32>, _ values: UnsafeMutableBufferPointer<Float>,
    from start: Int
  ) {
    for index in 0..<count {
      let entry = entries[index]
      ids[start &+ index] = Int32(truncatingIfNeeded: entry)
      values[start &+ index] = Float(bitPattern: UInt32(truncatingIfNeeded: entry &>> 32))
    }
  }
}
