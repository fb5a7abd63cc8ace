import Basics

/// Turns the ids of heads into digits, mostly small, and back.
///
/// An id becomes its rank in the order of the record's list, and the rank is then counted among those that the
/// head has not used yet. Columns are rank-major [k, rows].
struct IDTransform {
  private let table: OrderTable
  private var slots: [Int32] = []
  private var lehmer: Lehmer

  init(_ table: OrderTable) {
    self.table = table
    lehmer = Lehmer(classes: table.classes)
  }

  /// The digits of distinct ids.
  mutating func encode(_ ids: [UInt32], labels: [UInt32], k: Int) -> [UInt32] {
    let rows = labels.count
    var digits = [UInt32](repeating: 0, count: k * rows)
    slots.setCount(rows, filler: 0)
    for row in 0..<rows {
      slots[row] = table.slot(of: table.key == .first ? ids[row] : labels[row])
    }
    table.writeRanks(of: ids, slots: slots, to: &digits)
    lehmer.encode(&digits, rows: rows, k: k)
    if table.key == .first {
      for row in 0..<rows {
        digits[row] = table.rank(of: ids[row], slot: table.slot(of: labels[row]))
      }
    }
    return digits
  }

  /// The ids that `digits` stand for, into `ids`; the digits are lost.
  ///
  /// - Precondition: every digit of rank j is below C - j, every label below C.
  mutating func decode(
    _ digits: inout [UInt32], labels: [UInt32], k: Int, into ids: inout [UInt32]
  ) {
    let rows = labels.count
    slots.setCount(rows, filler: 0)
    for row in 0..<rows {
      slots[row] = table.slot(of: labels[row])
      if table.key == .first {
        let first = table.id(at: digits[row], slot: slots[row])
        slots[row] = table.slot(of: first)
        digits[row] = table.rank(of: first, slot: slots[row])
      }
    }
    lehmer.decode(&digits, rows: rows, k: k)
    table.writeIDs(at: digits, slots: slots, to: &ids)
  }
}
