/// Ranks of a head's classes, each counted among the classes that no better rank has used: *digits*.
///
/// Columns are rank-major [k, rows]. Rank 0 is its own digit. 16 rows go side by side, so that the loops over
/// pairs of ranks, k^2/2 for each row, are vector operations.
enum Lehmer {
  private typealias Lane = SIMD16<UInt32>
  private static let width = 16

  /// Writes the digits of distinct ranks.
  static func encode(_ ranks: [UInt32], rows: Int, k: Int, into digits: inout [UInt32]) {
    precondition(ranks.count == k * rows && digits.count == k * rows, "\(k) ranks of \(rows) rows")
    ranks.withUnsafeBufferPointer { ranks in
      digits.withUnsafeMutableBufferPointer { digits in
        forEachLaneGroup(rows: rows, k: k) { start, used in
          for j in 0..<k {
            let rank = load(ranks, j &* rows &+ start, rows)
            var digit = rank
            for i in 0..<j { digit &-= ones(where: used[i] .< rank) }
            used[j] = rank
            store(digit, digits, j &* rows &+ start, rows)
          }
        }
      }
    }
  }

  /// Writes the ranks that digits stand for.
  ///
  /// Every digit of rank j is below C - j, so every rank is below C. `ranks` has those of rank 0 already.
  static func decode(_ digits: [UInt32], rows: Int, k: Int, into ranks: inout [UInt32]) {
    precondition(ranks.count == k * rows && digits.count == k * rows, "\(k) ranks of \(rows) rows")
    digits.withUnsafeBufferPointer { digits in
      ranks.withUnsafeMutableBufferPointer { ranks in
        forEachLaneGroup(rows: rows, k: k) { start, used in
          used[0] = load(UnsafeBufferPointer(ranks), start, rows)
          for j in 1..<max(k, 1) {
            // `used` is ascending: a used rank at or below the one sought moves it up by one.
            var rank = load(digits, j &* rows &+ start, rows)
            for i in 0..<j { rank &+= ones(where: used[i] .<= rank) }
            store(rank, ranks, j &* rows &+ start, rows)
            insert(rank, used, count: j)
          }
        }
      }
    }
  }

  /// Puts a rank into its place among the first `count`, which are ascending in every lane.
  @inline(__always)
  private static func insert(_ rank: Lane, _ used: UnsafeMutableBufferPointer<Lane>, count: Int) {
    var last = used[count &- 1]
    used[count] = last.replacing(with: rank, where: rank .> last)
    var i = count &- 1
    while i > 0 {
      let before = used[i &- 1]
      // The median of the neighbours and the rank.
      let low = last.replacing(with: rank, where: rank .< last)
      used[i] = low.replacing(with: before, where: before .> low)
      last = before
      i &-= 1
    }
    used[0] = last.replacing(with: rank, where: rank .< last)
  }

  @inline(__always)
  private static func ones(where mask: SIMDMask<SIMD16<Int32>>) -> Lane {
    Lane(repeating: 0).replacing(with: Lane(repeating: 1), where: mask)
  }

  /// Visits groups of 16 rows; the last overlaps the one before, and of fewer rows the missing ones are lanes of 0.
  @inline(__always)
  private static func forEachLaneGroup(
    rows: Int, k: Int, _ body: (Int, UnsafeMutableBufferPointer<Lane>) -> Void
  ) {
    if rows == 0 { return }
    withUnsafeTemporaryAllocation(of: Lane.self, capacity: k) { used in
      var start = 0
      while start < rows {
        body(max(0, min(start, rows &- width)), used)
        start &+= width
      }
    }
  }

  @inline(__always)
  private static func load(_ values: UnsafeBufferPointer<UInt32>, _ start: Int, _ rows: Int) -> Lane
  {
    if rows >= width {
      return UnsafeRawPointer(values.baseAddress! + start).loadUnaligned(as: Lane.self)
    }
    var lane = Lane()
    for row in 0..<rows { lane[row] = values[start &+ row] }
    return lane
  }

  @inline(__always)
  private static func store(
    _ lane: Lane, _ values: UnsafeMutableBufferPointer<UInt32>, _ start: Int, _ rows: Int
  ) {
    if rows >= width {
      UnsafeMutableRawPointer(values.baseAddress! + start).storeBytes(of: lane, as: Lane.self)
    } else {
      for row in 0..<rows { values[start &+ row] = lane[row] }
    }
  }
}
