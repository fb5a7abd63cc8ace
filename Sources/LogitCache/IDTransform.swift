import Basics

/// Turns the ids of heads into digits, mostly small, and back.
///
/// An id becomes its rank in the order of the record's list, and the rank is then counted among those that the
/// head has not used yet. Columns are rank-major [k, rows].
struct IDTransform {
  private let table: OrderTable
  private var ranks: [UInt32] = []
  private var digits: [UInt32] = []
  private var slots: [Int32] = []

  init(_ table: OrderTable) { self.table = table }

  /// The digits of distinct ids.
  mutating func encode(_ ids: [UInt32], labels: [UInt32], k: Int) -> [UInt32] {
    let rows = labels.count
    ranks.setCount(k * rows, filler: 0)
    digits.setCount(k * rows, filler: 0)
    for row in 0..<rows {
      let own = slot(label: labels[row], first: ids[row])
      for rank in 0..<k {
        ranks[rank * rows + row] = table.rank(of: ids[rank * rows + row], slot: own)
      }
    }
    Lehmer.encode(ranks, rows: rows, k: k, into: &digits)
    if table.key == .first {
      for row in 0..<rows {
        digits[row] = table.rank(of: ids[row], slot: table.slot(of: labels[row]))
      }
    }
    return digits
  }

  /// The ids that `digits` stand for, into `ids`.
  ///
  /// - Precondition: every digit of rank j is below C - j, every label below C.
  mutating func decode(
    _ digits: [UInt32], labels: [UInt32], k: Int, into ids: inout [UInt32]
  ) {
    let rows = labels.count
    ranks.setCount(k * rows, filler: 0)
    slots.setCount(rows, filler: 0)
    for row in 0..<rows {
      let byLabel = table.slot(of: labels[row])
      if table.key == .first {
        let first = table.id(at: digits[row], slot: byLabel)
        slots[row] = table.slot(of: first)
        ranks[row] = table.rank(of: first, slot: slots[row])
      } else {
        slots[row] = byLabel
        ranks[row] = digits[row]
      }
    }
    Lehmer.decode(digits, rows: rows, k: k, into: &ranks)
    ids.withUnsafeMutableBufferPointer { ids in
      ranks.withUnsafeBufferPointer { ranks in
        for row in 0..<rows {
          let slot = slots[row]
          var place = row
          for _ in 0..<k {
            ids[place] = table.id(at: ranks[place], slot: slot)
            place &+= rows
          }
        }
      }
    }
  }

  private func slot(label: UInt32, first: UInt32) -> Int32 {
    table.slot(of: table.key == .first ? first : label)
  }
}
