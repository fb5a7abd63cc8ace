/// Ranks of a head's classes, each counted among the classes that no better rank has used: *digits*.
///
/// Columns are rank-major [k, rows]. Rank 0 is its own digit. Short heads go 16 rows side by side, so that the
/// loops over pairs of ranks, k^2/2 for each row, are vector operations; long ones, and more classes than
/// 16 bits name, row by row through a tree of counts.
struct Lehmer {
  private typealias Lanes = SIMD16<UInt16>
  private static let width = 16
  /// Up to here the pairs cost less than the tree.
  private static let longestByPairs = 512

  private let classes: Int
  private var free: FreeRanks

  /// For ranks below `classes`.
  init(classes: Int) {
    self.classes = classes
    free = FreeRanks()
  }

  private func goesByPairs(_ k: Int) -> Bool {
    classes <= 1 << 16 && k <= Lehmer.longestByPairs
  }

  /// Writes the digits of distinct ranks.
  mutating func encode(_ ranks: [UInt32], rows: Int, k: Int, into digits: inout [UInt32]) {
    precondition(ranks.count == k * rows && digits.count == k * rows, "\(k) ranks of \(rows) rows")
    if !goesByPairs(k) {
      free.resize(to: classes)
      for row in 0..<rows {
        for j in 0..<k { digits[j * rows + row] = free.remove(rank: ranks[j * rows + row]) }
        for j in 0..<k { free.restore(rank: ranks[j * rows + row]) }
      }
      return
    }
    ranks.withUnsafeBufferPointer { ranks in
      digits.withUnsafeMutableBufferPointer { digits in
        Lehmer.forEachLaneGroup(rows: rows, k: k) { start, used in
          for j in 0..<k {
            let rank = Lehmer.load(ranks, j &* rows &+ start, rows)
            var digit = rank
            for i in 0..<j { digit &-= Lehmer.ones(where: used[i] .< rank) }
            used[j] = rank
            Lehmer.store(digit, digits, j &* rows &+ start, rows)
          }
        }
      }
    }
  }

  /// Writes the ranks that digits stand for.
  ///
  /// Every digit of rank j is below C - j, so every rank is below C. `ranks` has those of rank 0 already.
  mutating func decode(_ digits: [UInt32], rows: Int, k: Int, into ranks: inout [UInt32]) {
    precondition(ranks.count == k * rows && digits.count == k * rows, "\(k) ranks of \(rows) rows")
    if !goesByPairs(k) {
      free.resize(to: classes)
      for row in 0..<rows {
        _ = free.remove(rank: ranks[row])
        for j in 1..<max(k, 1) {
          ranks[j * rows + row] = free.remove(digit: digits[j * rows + row])
        }
        for j in 0..<k { free.restore(rank: ranks[j * rows + row]) }
      }
      return
    }
    digits.withUnsafeBufferPointer { digits in
      ranks.withUnsafeMutableBufferPointer { ranks in
        Lehmer.forEachLaneGroup(rows: rows, k: k) { start, used in
          used[0] = Lehmer.load(UnsafeBufferPointer(ranks), start, rows)
          for j in 1..<max(k, 1) {
            // `used` is ascending: a used rank at or below the one sought moves it up by one.
            var rank = Lehmer.load(digits, j &* rows &+ start, rows)
            for i in 0..<j { rank &+= Lehmer.ones(where: used[i] .<= rank) }
            Lehmer.store(rank, ranks, j &* rows &+ start, rows)
            Lehmer.insert(rank, used, count: j)
          }
        }
      }
    }
  }

  /// Puts a rank into its place among the first `count`, which are ascending in every lane.
  @inline(__always)
  private static func insert(_ rank: Lanes, _ used: UnsafeMutableBufferPointer<Lanes>, count: Int) {
    var last = used[count &- 1]
    used[count] = larger(last, rank)
    var i = count &- 1
    while i > 0 {
      let before = used[i &- 1]
      // The median of the neighbours and the rank.
      used[i] = larger(before, smaller(last, rank))
      last = before
      i &-= 1
    }
    used[0] = smaller(last, rank)
  }

  @inline(__always)
  private static func ones(where mask: SIMDMask<SIMD16<Int16>>) -> Lanes {
    Lanes(repeating: 0).replacing(with: Lanes(repeating: 1), where: mask)
  }

  @inline(__always)
  private static func smaller(_ a: Lanes, _ b: Lanes) -> Lanes {
    a.replacing(with: b, where: b .< a)
  }

  @inline(__always)
  private static func larger(_ a: Lanes, _ b: Lanes) -> Lanes {
    a.replacing(with: b, where: b .> a)
  }

  /// Visits groups of 16 rows; the last overlaps the one before, and of fewer rows the missing ones are lanes of 0.
  @inline(__always)
  private static func forEachLaneGroup(
    rows: Int, k: Int, _ body: (Int, UnsafeMutableBufferPointer<Lanes>) -> Void
  ) {
    if rows == 0 { return }
    withUnsafeTemporaryAllocation(of: Lanes.self, capacity: k) { used in
      var start = 0
      while start < rows {
        body(max(0, min(start, rows &- width)), used)
        start &+= width
      }
    }
  }

  @inline(__always)
  private static func load(
    _ values: UnsafeBufferPointer<UInt32>, _ start: Int, _ rows: Int
  ) -> Lanes {
    // Through memory: conversions between vectors are done lane by lane.
    var lanes = Lanes()
    withUnsafeMutablePointer(to: &lanes) { lanes in
      let narrow = UnsafeMutableRawPointer(lanes).assumingMemoryBound(to: UInt16.self)
      let count = rows >= width ? width : rows
      for row in 0..<count { narrow[row] = UInt16(truncatingIfNeeded: values[start &+ row]) }
    }
    return lanes
  }

  @inline(__always)
  private static func store(
    _ lanes: Lanes, _ values: UnsafeMutableBufferPointer<UInt32>, _ start: Int, _ rows: Int
  ) {
    withUnsafePointer(to: lanes) { lanes in
      let narrow = UnsafeRawPointer(lanes).assumingMemoryBound(to: UInt16.self)
      let count = rows >= width ? width : rows
      for row in 0..<count { values[start &+ row] = UInt32(narrow[row]) }
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
