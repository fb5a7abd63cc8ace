import Basics

/// Ranks of a head's classes, each counted among the classes that no better rank has used: *digits*.
///
/// Columns are rank-major [k, rows]; rank 0 is its own digit. Heads go 16 rows side by side, so that the loops over
/// pairs of ranks, k^2/2 for each row, are vector operations; very long ones, and more classes than 16 bits name,
/// row by row through a tree of counts.
package struct Lehmer {
  private typealias Lanes = SIMD16<Int16>
  private static let width = 16
  /// Ranks that meet the ranks before them together: as many as keep the vector units busy.
  private static let step = 4
  /// Up to here the pairs cost less than the tree.
  private static let longestByPairs = 2048
  /// Lanes hold a number less this: signed ones compare in one instruction, and there is one below 0.
  private static let bias: UInt32 = 1 << 15 - 1

  private let classes: Int
  private var free: FreeRanks
  /// The ranks of a row that is taken from the tree.
  private var taken: [UInt32] = []

  /// For ranks below `classes`.
  package init(classes: Int) {
    self.classes = classes
    free = FreeRanks()
  }

  private func goesByPairs(_ k: Int) -> Bool {
    classes < 1 << 16 && k <= Lehmer.longestByPairs
  }

  /// Turns distinct ranks into digits.
  package mutating func encode(_ columns: inout [UInt32], rows: Int, k: Int) {
    precondition(columns.count == k * rows, "\(columns.count) ranks, \(k) of \(rows) rows")
    if !goesByPairs(k) {
      taken.setCount(k, filler: 0)
      free.resize(to: classes)
      for row in 0..<rows {
        for j in 0..<k {
          taken[j] = columns[j * rows + row]
          columns[j * rows + row] = free.remove(rank: taken[j])
        }
        for rank in taken { free.restore(rank: rank) }
      }
      return
    }
    Lehmer.forEachLaneGroup(&columns, rows: rows, k: k, Lehmer.encode)
  }

  /// Turns digits into the ranks that they stand for.
  ///
  /// Every digit of rank j is below C - j, so every rank is below C.
  package mutating func decode(_ columns: inout [UInt32], rows: Int, k: Int) {
    precondition(columns.count == k * rows, "\(columns.count) digits, \(k) of \(rows) rows")
    if !goesByPairs(k) {
      free.resize(to: classes)
      for row in 0..<rows {
        for j in 0..<k { columns[j * rows + row] = free.remove(digit: columns[j * rows + row]) }
        for j in 0..<k { free.restore(rank: columns[j * rows + row]) }
      }
      return
    }
    Lehmer.forEachLaneGroup(&columns, rows: rows, k: k, Lehmer.decode)
  }

  /// Takes from every rank the number of smaller ranks before it.
  ///
  /// From the last on: those before are then still ranks.
  private static func encode(_ lanes: UnsafeMutableBufferPointer<Lanes>) {
    var start = lanes.count
    while start > 0 {
      start &-= step
      let rank = (lanes[start], lanes[start &+ 1], lanes[start &+ 2], lanes[start &+ 3])
      var digit = rank
      for before in 0..<start {
        let before = lanes[before]
        digit.0 &-= ones(where: before .< rank.0)
        digit.1 &-= ones(where: before .< rank.1)
        digit.2 &-= ones(where: before .< rank.2)
        digit.3 &-= ones(where: before .< rank.3)
      }
      digit.1 &-= ones(where: rank.0 .< rank.1)
      digit.2 &-= ones(where: rank.0 .< rank.2) &+ ones(where: rank.1 .< rank.2)
      digit.3 &-= ones(where: rank.0 .< rank.3) &+ ones(where: rank.1 .< rank.3)
      digit.3 &-= ones(where: rank.2 .< rank.3)
      (lanes[start], lanes[start &+ 1]) = (digit.0, digit.1)
      (lanes[start &+ 2], lanes[start &+ 3]) = (digit.2, digit.3)
    }
  }

  /// Adds to every digit the ranks below that are not free at its turn.
  ///
  /// Were the class before it still free, a digit that is not below that one's would be one more; and so on, back to the
  /// first. From the last on: those before are then still digits.
  private static func decode(_ lanes: UnsafeMutableBufferPointer<Lanes>) {
    let one = Lanes(repeating: 1)
    var start = lanes.count
    while start > 0 {
      start &-= step
      var rank = (lanes[start], lanes[start &+ 1], lanes[start &+ 2], lanes[start &+ 3])
      let below = (rank.0 &- one, rank.1 &- one, rank.2 &- one)
      rank.1 &+= ones(where: rank.1 .> below.0)
      rank.2 &+= ones(where: rank.2 .> below.1)
      rank.2 &+= ones(where: rank.2 .> below.0)
      rank.3 &+= ones(where: rank.3 .> below.2)
      rank.3 &+= ones(where: rank.3 .> below.1)
      rank.3 &+= ones(where: rank.3 .> below.0)
      var before = start
      while before > 0 {
        before &-= 1
        let below = lanes[before] &- one
        rank.0 &+= ones(where: rank.0 .> below)
        rank.1 &+= ones(where: rank.1 .> below)
        rank.2 &+= ones(where: rank.2 .> below)
        rank.3 &+= ones(where: rank.3 .> below)
      }
      (lanes[start], lanes[start &+ 1]) = (rank.0, rank.1)
      (lanes[start &+ 2], lanes[start &+ 3]) = (rank.2, rank.3)
    }
  }

  @inline(__always)
  private static func ones(where mask: SIMDMask<SIMD16<Int16>>) -> Lanes {
    Lanes(repeating: 0).replacing(with: Lanes(repeating: 1), where: mask)
  }

  /// Visits groups of 16 rows, fewer at the end: their k columns, up to a multiple of `step`, to be changed in place.
  private static func forEachLaneGroup(
    _ columns: inout [UInt32], rows: Int, k: Int,
    _ body: (UnsafeMutableBufferPointer<Lanes>) -> Void
  ) {
    let count = (k + step - 1) / step * step
    withUnsafeTemporaryAllocation(of: Lanes.self, capacity: count) { lanes in
      lanes.initialize(repeating: Lanes())
      let numbers = UnsafeMutableRawPointer(lanes.baseAddress!).assumingMemoryBound(to: Int16.self)
      columns.withUnsafeMutableBufferPointer { columns in
        for start in stride(from: 0, to: rows, by: width) {
          let used = min(width, rows - start)
          for j in 0..<k {
            let (column, lane) = (j &* rows &+ start, j &* width)
            // Apart, so that whole groups are converted by vector operations.
            if used == width {
              load(columns, column, numbers, lane, width)
            } else {
              load(columns, column, numbers, lane, used)
            }
          }
          body(lanes)
          for j in 0..<k {
            let (column, lane) = (j &* rows &+ start, j &* width)
            if used == width {
              store(numbers, lane, columns, column, width)
            } else {
              store(numbers, lane, columns, column, used)
            }
          }
        }
      }
    }
  }

  @inline(__always)
  private static func load(
    _ columns: UnsafeMutableBufferPointer<UInt32>, _ column: Int,
    _ numbers: UnsafeMutablePointer<Int16>, _ lane: Int, _ count: Int
  ) {
    for row in 0..<count {
      numbers[lane &+ row] = Int16(truncatingIfNeeded: columns[column &+ row] &- bias)
    }
  }

  @inline(__always)
  private static func store(
    _ numbers: UnsafeMutablePointer<Int16>, _ lane: Int,
    _ columns: UnsafeMutableBufferPointer<UInt32>, _ column: Int, _ count: Int
  ) {
    for row in 0..<count {
      columns[column &+ row] = UInt32(bitPattern: Int32(numbers[lane &+ row])) &+ bias
    }
  }
}

/// The ranks that a head has not used yet: a tree of counts (Fenwick 1994), O(log C) an operation.
private struct FreeRanks {
  /// Entry i (from 1) counts the free ranks of the i & -i ranks up to i.
  private var counts: [UInt32] = [0]
  /// The highest power of two within the tree.
  private var top = 0

  private var size: Int { counts.count - 1 }

  /// All ranks below `size` are free then.
  ///
  /// - Precondition: all are free already, if the size stays.
  mutating func resize(to size: Int) {
    if size == self.size { return }
    counts = (0...size).map { UInt32($0 & -$0) }
    top = size == 0 ? 0 : 1 << (Int.bitWidth - 1 - size.leadingZeroBitCount)
  }

  /// Takes a rank; returns how many free ones are below it.
  mutating func remove(rank: UInt32) -> UInt32 {
    var below: UInt32 = 0
    var index = Int(rank)
    while index > 0 {
      below &+= counts[index]
      index &= index &- 1
    }
    add(rank, UInt32.max)
    return below
  }

  /// Takes the rank that has `digit` free ones below it; there is one.
  mutating func remove(digit: UInt32) -> UInt32 {
    var (index, rest, step) = (0, digit, top)
    while step > 0 {
      let next = index &+ step
      if next <= size, counts[next] <= rest {
        index = next
        rest &-= counts[next]
      }
      step &>>= 1
    }
    add(UInt32(index), UInt32.max)
    return UInt32(index)
  }

  /// Makes a rank free again.
  mutating func restore(rank: UInt32) { add(rank, 1) }

  /// Adds 1, or minus 1 as `UInt32.max`, to all counts that cover a rank.
  private mutating func add(_ rank: UInt32, _ change: UInt32) {
    var index = Int(rank) &+ 1
    while index <= size {
      counts[index] &+= change
      index &+= index & -index
    }
  }
}
