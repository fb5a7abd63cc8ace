/// Orders of the classes in which a head's ids are small numbers.
///
/// One global order, and for each *key* class that has a list the classes most likely in its company. The rank of
/// a class in the order of a key is its place in the key's list, or else the length of the list plus the number of
/// classes outside the list that the global order has before it.
struct OrderTable: Equatable, Sendable {
  /// Which class chooses the list of a record.
  enum Key: UInt8, Sendable, CaseIterable {
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
  /// The classes of each list in ascending order, with their ranks in the low half [keys, L].
  private let sorted: [UInt64]
  /// Places of each list's classes in the global order, ascending, each minus its index [keys, L]:
  /// how many classes outside the list come before.
  private let outside: [UInt32]

  /// Makes the table; `prefix` and every list name distinct classes below `classes`.
  init(classes: Int, key: Key, prefix: [UInt32], keys: [UInt32], length: Int, lists: [UInt32]) {
    precondition(
      lists.count == keys.count * length, "\(lists.count) entries in \(keys.count) lists")
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
    var sorted: [UInt64] = []
    var outside: [UInt32] = []
    sorted.reserveCapacity(lists.count)
    outside.reserveCapacity(lists.count)
    for list in 0..<keys.count {
      let entries = lists[list * length..<(list + 1) * length]
      sorted += entries.enumerated().map { UInt64($1) << 32 | UInt64($0) }.sorted()
      outside += entries.map { place[Int($0)] }.sorted().enumerated().map { $1 - UInt32($0) }
    }
    self.order = order
    self.place = place
    self.slots = slots
    self.sorted = sorted
    self.outside = outside
  }

  /// Classes in ascending order, no lists: what costs nothing.
  static func identity(classes: Int) -> OrderTable {
    OrderTable(classes: classes, key: .none, prefix: [], keys: [], length: 0, lists: [])
  }

  /// The list of a key class, for `rank` and `id`; negative when it has none.
  @inline(__always)
  func slot(of key: UInt32) -> Int32 { slots[Int(key)] }

  /// The rank of a class in the order of a list.
  func rank(of id: UInt32, slot: Int32) -> UInt32 {
    withUnsafeOrders { $0.rank(of: id, slot: slot) }
  }

  /// The class of a rank, below C, in the order of a list.
  func id(at rank: UInt32, slot: Int32) -> UInt32 {
    withUnsafeOrders { $0.id(at: rank, slot: slot) }
  }

  /// Lends the orders for a loop over many classes: no bounds are checked.
  @inline(__always)
  func withUnsafeOrders<Result>(_ body: (Orders) -> Result) -> Result {
    order.withUnsafeBufferPointer { order in
      place.withUnsafeBufferPointer { place in
        lists.withUnsafeBufferPointer { lists in
          sorted.withUnsafeBufferPointer { sorted in
            outside.withUnsafeBufferPointer { outside in
              body(
                Orders(
                  length: length, order: order, place: place, lists: lists, sorted: sorted,
                  outside: outside))
            }
          }
        }
      }
    }
  }

  /// The table's arrays, as long as they are lent.
  struct Orders {
    fileprivate let length: Int
    fileprivate let order: UnsafeBufferPointer<UInt32>
    fileprivate let place: UnsafeBufferPointer<UInt32>
    fileprivate let lists: UnsafeBufferPointer<UInt32>
    fileprivate let sorted: UnsafeBufferPointer<UInt64>
    fileprivate let outside: UnsafeBufferPointer<UInt32>

    /// The rank of a class in the order of a list.
    @inline(__always)
    func rank(of id: UInt32, slot: Int32) -> UInt32 {
      let global = place[Int(id)]
      if slot < 0 { return global }
      let start = Int(slot) &* length
      let found = OrderTable.count(in: length) { sorted[start &+ $0] < UInt64(id) << 32 }
      if found < length {
        let entry = sorted[start &+ found]
        if UInt32(truncatingIfNeeded: entry >> 32) == id {
          return UInt32(truncatingIfNeeded: entry)
        }
      }
      // The list's classes that the global order has before this one are not counted.
      let before = OrderTable.count(in: length) {
        outside[start &+ $0] &+ UInt32(truncatingIfNeeded: $0) < global
      }
      return UInt32(length) &+ global &- UInt32(before)
    }

    /// The class of a rank, below C, in the order of a list.
    @inline(__always)
    func id(at rank: UInt32, slot: Int32) -> UInt32 {
      if slot < 0 { return order[Int(rank)] }
      let start = Int(slot) &* length
      if Int(rank) < length { return lists[start &+ Int(rank)] }
      let wanted = rank &- UInt32(length)
      let before = OrderTable.count(in: length) { outside[start &+ $0] <= wanted }
      return order[Int(wanted) &+ before]
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
