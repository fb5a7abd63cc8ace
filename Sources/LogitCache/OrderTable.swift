/// Orders of the classes in which a head's ids are small numbers.
///
/// One global order, and for each *key* class that has a list the classes most likely in its company. The rank of
/// a class in the order of a key is its place in the key's list, or else the length of the list plus the number of
/// classes outside the list that the global order has before it.
package struct OrderTable: Equatable, Sendable {
  /// Which class chooses the list of a record.
  package enum Key: UInt8, Sendable, CaseIterable {
    /// None: there are no lists.
    case none = 0
    /// The record's label.
    case label = 1
    /// The teacher's first class; it is itself ranked in the order of the label.
    case first = 2
  }

  let classes: Int
  let key: Key
  /// The beginning of the global order; the other classes follow in ascending order.
  let prefix: [UInt32]
  /// L, the length of every list; 0 without lists.
  let length: Int
  /// The classes that have a list, ascending.
  let keys: [UInt32]
  /// The lists [keys, L], best class first.
  let lists: [UInt32]

  /// The global order [C], and the place of each class in it [C].
  private let order: [UInt32]
  private let place: [UInt32]
  /// The list of each class [C]; -1 for classes without one.
  private let slots: [Int32]
  /// Places of each list's classes in the global order, ascending, and their ranks in the list [keys, L].
  private let listPlaces: [UInt32]
  private let listRanks: [UInt32]
  /// Every list's order of all classes, and the rank of every class in it [keys + 1, C].
  ///
  /// The last ones are the global order. Empty when they are too many.
  private let allIDs: [UInt16]
  private let allRanks: [UInt16]
  /// Most entries of each: 4 MiB.
  private static let mostEntries = 1 << 21

  /// Makes the table; `prefix` and every list name distinct classes below `classes`.
  package init(
    classes: Int, key: Key, prefix: [UInt32], keys: [UInt32], length: Int, lists: [UInt32]
  ) {
    precondition(
      lists.count == keys.count * length && (length > 0 || keys.isEmpty),
      "\(lists.count) entries in \(keys.count) lists of \(length)")
    self.classes = classes
    self.key = key
    self.prefix = prefix
    self.length = length
    self.keys = keys
    self.lists = lists
    var isNamed = [Bool](repeating: false, count: classes)
    for id in prefix { isNamed[Int(id)] = true }
    let order = prefix + (0..<UInt32(classes)).filter { !isNamed[Int($0)] }
    var place = [UInt32](repeating: 0, count: classes)
    for (index, id) in order.enumerated() { place[Int(id)] = UInt32(index) }
    var slots = [Int32](repeating: -1, count: classes)
    for (index, id) in keys.enumerated() { slots[Int(id)] = Int32(index) }
    let byPlace = (0..<keys.count).flatMap { list in
      (0..<length).map { rank in
        UInt64(place[Int(lists[list * length + rank])]) << 32 | UInt64(rank)
      }.sorted()
    }
    self.order = order
    self.place = place
    self.slots = slots
    listPlaces = byPlace.map { UInt32($0 >> 32) }
    listRanks = byPlace.map { UInt32(truncatingIfNeeded: $0) }
    let isSmall = classes <= 1 << 16 && (keys.count + 1) * classes <= OrderTable.mostEntries
    allIDs = isSmall ? OrderTable.allIDs(order, listPlaces, lists, length: length) : []
    allRanks = allIDs.isEmpty ? [] : OrderTable.inverse(allIDs, classes)
  }

  /// Writes out the order of every list, then the global one.
  private static func allIDs(
    _ order: [UInt32], _ listPlaces: [UInt32], _ lists: [UInt32], length: Int
  ) -> [UInt16] {
    let order = order.map { UInt16($0) }
    var ids: [UInt16] = []
    ids.reserveCapacity(order.count * (lists.count / max(length, 1) + 1))
    for start in stride(from: 0, to: lists.count, by: max(length, 1)) {
      ids += lists[start..<start + length].map { UInt16($0) }
      var next = 0
      for place in listPlaces[start..<start + length] {
        ids += order[next..<Int(place)]
        next = Int(place) + 1
      }
      ids += order[next...]
    }
    return ids + order
  }

  /// The ranks of the classes in every order.
  private static func inverse(_ ids: [UInt16], _ classes: Int) -> [UInt16] {
    var ranks = [UInt16](repeating: 0, count: ids.count)
    for start in stride(from: 0, to: ids.count, by: classes) {
      for rank in 0..<classes { ranks[start + Int(ids[start + rank])] = UInt16(rank) }
    }
    return ranks
  }

  /// Classes in ascending order, no lists: what costs nothing.
  static func identity(classes: Int) -> OrderTable {
    OrderTable(classes: classes, key: .none, prefix: [], keys: [], length: 0, lists: [])
  }

  /// The list of a key class, for `rank` and `id`; negative when it has none.
  @inline(__always)
  package func slot(of key: UInt32) -> Int32 { slots[Int(key)] }

  /// The rank of a class in the order of a list, by search.
  package func rank(of id: UInt32, slot: Int32) -> UInt32 { searchRank(of: id, slot) }

  /// The class of a rank, below C, in the order of a list, by search.
  package func id(at rank: UInt32, slot: Int32) -> UInt32 { searchID(at: rank, slot) }

  /// Whether a class is in the list is no branch: it can hardly be predicted.
  @inline(__always)
  private func searchRank(of id: UInt32, _ slot: Int32) -> UInt32 {
    place.withUnsafeBufferPointer { place in
      listPlaces.withUnsafeBufferPointer { places in
        listRanks.withUnsafeBufferPointer { ranks in
          let global = place[Int(id)]
          if slot < 0 { return global }
          let start = Int(slot) &* length
          // The list's classes that the global order has before this one.
          let before = OrderTable.count(in: length) { places[start &+ $0] < global }
          let entry = start &+ min(before, length &- 1)
          let outside =
            UInt32(truncatingIfNeeded: length) &+ global &- UInt32(truncatingIfNeeded: before)
          return places[entry] == global ? ranks[entry] : outside
        }
      }
    }
  }

  /// Ranks in the list are found at once: where searches pay, most are.
  @inline(__always)
  private func searchID(at rank: UInt32, _ slot: Int32) -> UInt32 {
    order.withUnsafeBufferPointer { order in
      listPlaces.withUnsafeBufferPointer { places in
        lists.withUnsafeBufferPointer { lists in
          if slot < 0 { return order[Int(rank)] }
          let start = Int(slot) &* length
          if Int(rank) < length { return lists[start &+ Int(rank)] }
          let wanted = rank &- UInt32(truncatingIfNeeded: length)
          // Less their index, places count the classes outside the list that come before.
          let before = OrderTable.count(in: length) {
            places[start &+ $0] &- UInt32(truncatingIfNeeded: $0) <= wanted
          }
          return order[Int(wanted) &+ before]
        }
      }
    }
  }

  /// The ranks of columns of classes [columns, rows], each row in the order of its slot.
  package func writeRanks(of ids: [UInt32], slots: [Int32], to ranks: inout [UInt32]) {
    write(ids, slots, to: &ranks, all: allRanks) { searchRank(of: $0, $1) }
  }

  /// The classes of columns of ranks, all below C: the inverse of `writeRanks`.
  package func writeIDs(at ranks: [UInt32], slots: [Int32], to ids: inout [UInt32]) {
    write(ranks, slots, to: &ids, all: allIDs) { searchID(at: $0, $1) }
  }

  /// Looks up every number in a table of all, or else by a search.
  @inline(__always)
  private func write(
    _ numbers: [UInt32], _ slots: [Int32], to results: inout [UInt32], all: [UInt16],
    _ search: (UInt32, Int32) -> UInt32
  ) {
    let rows = slots.count
    precondition(
      numbers.count == results.count && (rows == 0 || numbers.count % rows == 0),
      "\(numbers.count) numbers to \(results.count) of \(rows) rows")
    numbers.withUnsafeBufferPointer { numbers in
      results.withUnsafeMutableBufferPointer { results in
        slots.withUnsafeBufferPointer { slots in
          all.withUnsafeBufferPointer { all in
            // A few rows at all ranks, so that their lists stay in the first cache; 16 numbers are a line.
            for first in stride(from: 0, to: rows, by: 16) {
              let tile = first..<min(first &+ 16, rows)
              for column in stride(from: 0, to: numbers.count, by: rows) {
                for row in tile {
                  let (number, slot) = (numbers[column &+ row], slots[row])
                  if all.isEmpty {
                    results[column &+ row] = search(number, slot)
                  } else {
                    let list = slot < 0 ? keys.count : Int(slot)
                    results[column &+ row] = UInt32(all[list &* classes &+ Int(number)])
                  }
                }
              }
            }
          }
        }
      }
    }
  }

  /// How many of the first `count` indices fulfil `test`, which holds up to some index and then never again.
  ///
  /// The number of steps depends on `count` alone, and no step branches on a test.
  @inline(__always)
  private static func count(in count: Int, _ test: (Int) -> Bool) -> Int {
    if count == 0 { return 0 }
    var (low, rest) = (0, count)
    while rest > 1 {
      let half = rest &>> 1
      low &+= test(low &+ half &- 1) ? half : 0
      rest &-= half
    }
    return low &+ (test(low) ? 1 : 0)
  }
}
