import Basics
import Foundation
import LogitCache
import TestSupport
import Testing

/// The codec's fast loops beside what FORMAT.md says, done plainly.
@Suite struct CodecKernelTests {
  // MARK: - Ids

  /// Classes, k and rows: lane groups that are full and not, blocks of ranks that are full and not, the largest
  /// number of classes that goes by pairs, and the tree, for more classes or longer heads.
  private static let heads = [
    (1, 1, 1), (2, 2, 16), (10, 10, 17), (1000, 1, 5), (1000, 4, 15), (1000, 5, 33),
    (1000, 103, 48),
    (65_535, 7, 31), (65_536, 7, 31), (70_000, 50, 3), (300, 300, 16), (2300, 2049, 2),
  ]

  @Test(arguments: heads, [1, 2] as [UInt64])
  func `digits count the smaller ranks that are free, and lead back`(
    shape: (classes: Int, k: Int, rows: Int), seed: UInt64
  ) {
    let (classes, k, rows) = shape
    var generator = SeededGenerator(seed: seed)
    let heads = (0..<rows).map { row in
      // Low, high and any ranks.
      let span = row % 3 == 2 ? classes : k
      return distinct(k, below: span, &generator).map { row % 3 == 1 ? classes - 1 - $0 : $0 }
    }
    let expected = heads.map { head in
      head.indices.map { j in head[j] - head[..<j].count { $0 < head[j] } }
    }
    var lehmer = Lehmer(classes: classes)
    var columns = byRank(heads)
    lehmer.encode(&columns, rows: rows, k: k)
    #expect(columns == byRank(expected))
    lehmer.decode(&columns, rows: rows, k: k)
    #expect(columns == byRank(heads))
  }

  /// Classes, keys and lengths of lists: orders that are written out and those that are searched.
  @Test(
    arguments: [
      (1, 0, 0), (5, 2, 5), (40, 7, 1), (300, 20, 64), (65_536, 30, 9), (65_537, 3, 9),
      (3000, 700, 3),
      (70_000, 2, 300),
    ], [1, 2] as [UInt64])
  func `a class has the rank that its list or else the global order gives it`(
    shape: (classes: Int, keys: Int, length: Int), seed: UInt64
  ) {
    let (classes, keyCount, length) = shape
    var generator = SeededGenerator(seed: seed)
    let prefix = distinct(classes / 2, below: classes, &generator).map { UInt32($0) }
    let keys = distinct(keyCount, below: classes, &generator).sorted()
    let lists = keys.map { _ in distinct(length, below: classes, &generator) }
    let table = OrderTable(
      classes: classes, key: keys.isEmpty ? .none : .label, prefix: prefix,
      keys: keys.map { UInt32($0) }, length: length, lists: lists.joined().map { UInt32($0) })
    let named = Set(prefix)
    let global = prefix.map { Int($0) } + (0..<classes).filter { !named.contains(UInt32($0)) }
    // Rows: the first list, the last one, none.
    let rows = [keys.first, keys.last, (0..<classes).first { !keys.contains($0) }].compactMap { $0 }
    let orders = rows.map { key in
      guard let list = keys.firstIndex(of: key) else { return global }
      let listed = Set(lists[list])
      return lists[list] + global.filter { !listed.contains($0) }
    }
    let ranks = (0..<200).map { column in
      rows.map { _ in
        column < 2 ? column * (classes - 1) : Int.random(in: 0..<classes, using: &generator)
      }
    }
    let ids = ranks.map { column in zip(orders, column).map { $0[$1] } }
    let slots = rows.map { table.slot(of: UInt32($0)) }
    var found = [UInt32](repeating: 0, count: 200 * rows.count)
    table.writeIDs(at: ranks.joined().map { UInt32($0) }, slots: slots, to: &found)
    #expect(found == ids.joined().map { UInt32($0) })
    var back = found
    table.writeRanks(of: found, slots: slots, to: &back)
    #expect(back == ranks.joined().map { UInt32($0) })
    for (column, ids) in zip(ranks, ids) {
      for row in rows.indices {
        #expect(table.rank(of: UInt32(ids[row]), slot: slots[row]) == UInt32(column[row]))
        #expect(table.id(at: UInt32(column[row]), slot: slots[row]) == UInt32(ids[row]))
      }
    }
  }

  // MARK: - Forms

  @Test func `every bucket begins and ends where the document says`() {
    var start = 0
    for bucket in 0..<128 {
      let size = bucket < 16 ? 1 : 1 << (bucket / 4 - 2)
      for value in [start, start + size / 2, start + size - 1] {
        #expect(Int(Bucket.index(of: UInt32(value))) == bucket, "\(value)")
      }
      start += size
    }
    #expect(start == 1 << 32)
  }

  /// Each seed has lists of its own shape, so that each form is the best of some.
  @Test(arguments: 1...250 as ClosedRange<UInt64>)
  func `the form of a list is the one with the fewest bits, and its bytes are the document's`(
    seed: UInt64
  ) {
    var generator = SeededGenerator(seed: seed)
    let values = randomList(&generator)
    let written = values.withUnsafeBufferPointer { WrittenPlane.smallest($0) }
    let (form, bits, pieces) = PlainForms.smallest(values.map { Int($0) })
    #expect(Int(written.form.rawValue) == form && written.bits == bits)
    #expect(Array(written.pieces.joined()) == pieces)
    #expect(Int(written.width) == (form == 16 ? PlainForms.width(values.max() ?? 0) : 0))
  }

  @Test(arguments: 1...100 as ClosedRange<UInt64>)
  func `bits of a prefix code are those of pairing the rarest, and never below their bound`(
    seed: UInt64
  ) {
    var generator = SeededGenerator(seed: seed)
    let symbols = Int.random(in: 0...256, using: &generator)
    let peak = Double.random(in: 0...9, using: &generator)
    let bytes = (0..<symbols).flatMap { byte in
      [UInt8](
        repeating: UInt8(byte), count: Int(exp2(Double.random(in: 0...peak, using: &generator))))
    }.shuffled(using: &generator)
    let histogram = ByteHistogram(bytes)
    let exact = PlainForms.prefixCodeBits(bytes)
    #expect(histogram.prefixCodeBits == exact)
    #expect(histogram.leastPrefixCodeBits <= exact)
    // It is worth its time: within a third of a bit for each byte.
    if symbols > 100 { #expect(exact - histogram.leastPrefixCodeBits <= bytes.count / 3) }
  }

  // MARK: - Tails

  /// Every divisor that steps and temperatures make is below 2^18; dividends go to 2^28 times as much.
  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `a division by multiplication is exact over the range of gaps and temperatures`(seed: UInt64)
  {
    var generator = SeededGenerator(seed: seed)
    let most = 256 * 1000
    for trial in 0..<2000 {
      let divisor = UInt64(
        trial < 20
          ? (trial < 10 ? 1 + trial : most - trial + 10)
          : Int.random(in: 1...most, using: &generator))
      let division = Division(by: divisor)
      let largest = UInt64(most) << 28
      let any =
        UInt64.random(in: 0...largest, using: &generator)
        &>> UInt64.random(in: 0...40, using: &generator)
      let multiple = any / divisor * divisor
      for dividend in [
        0, 1, any, multiple, multiple + divisor - 1, largest, largest / divisor * divisor - 1,
      ]
      where dividend <= largest {
        #expect(division.quotient(of: dividend) == dividend / divisor, "\(dividend) / \(divisor)")
      }
    }
  }

  // MARK: - Helpers

  private func distinct(
    _ count: Int, below limit: Int, _ generator: inout SeededGenerator
  ) -> [Int] {
    Array((0..<limit).shuffled(using: &generator).prefix(count))
  }

  /// Rows as columns of ranks, one after the other.
  private func byRank(_ rows: [[Int]]) -> [UInt32] {
    rows[0].indices.flatMap { rank in rows.map { UInt32($0[rank]) } }
  }

  /// Exponential, geometric with many zeros, of any size, alternating, or constant.
  private func randomList(_ generator: inout SeededGenerator) -> [UInt32] {
    let count = Int.random(in: 0...Int.random(in: 0...1500, using: &generator), using: &generator)
    let scale = exp2(
      Double.random(in: -3...33, using: &generator) * Double.random(in: 0...1, using: &generator))
    let zeros = Double.random(in: 0...1, using: &generator)
    let period = Int.random(in: 1...6, using: &generator)
    return (0..<count).map { index in
      if Double.random(in: 0...1, using: &generator) < zeros * zeros || index % period > 2 {
        return 0
      }
      return UInt32(
        min(4_294_967_295, -log(Double.random(in: 1e-9...1, using: &generator)) * scale))
    }
  }
}

/// The forms of docs/FORMAT.md, section 5, word for word.
private enum PlainForms {
  /// The best form, its bits, its bytes.
  static func smallest(_ values: [Int]) -> (form: Int, bits: Int, bytes: [UInt8]) {
    let width = width(UInt32(values.max() ?? 0))
    let forms: [(Int, [[UInt8]], Int)] =
      [(0, buckets(values), restBits(values))]
      + [1, 2, 4].map { form in
        let escape = 1 << form - 1
        let rest = values.filter { $0 >= escape }.map { $0 - escape }
        let codes = bits(values.map { (min($0, escape), form) })
        return (form, [codes] + buckets(rest), restBits(rest))
      } + [(16, [bits(values.map { ($0, width) })], values.count * width)]
    let priced = forms.map { form, pieces, rest in
      (
        form: form,
        bits: rest + (form == 16 ? 0 : pieces.dropLast().reduce(0) { $0 + prefixCodeBits($1) }),
        bytes: Array(pieces.joined())
      )
    }
    return priced.min { ($0.bits, $0.form) < ($1.bits, $1.form) }!
  }

  static func width(_ value: UInt32) -> Int { 32 - value.leadingZeroBitCount }

  /// Bucket, first integer, width.
  private static func bucket(_ value: Int) -> (Int, Int, Int) {
    if value < 16 { return (value, value, 0) }
    let found = (16..<128).last { (4 + $0 % 4) << ($0 / 4 - 2) <= value }!
    return (found, (4 + found % 4) << (found / 4 - 2), found / 4 - 2)
  }

  private static func restBits(_ values: [Int]) -> Int { values.reduce(0) { $0 + bucket($1).2 } }

  private static func buckets(_ values: [Int]) -> [[UInt8]] {
    [values.map { UInt8(bucket($0).0) }, bits(values.map { ($0 - bucket($0).1, bucket($0).2) })]
  }

  /// Low bits first.
  private static func bits(_ integers: [(value: Int, width: Int)]) -> [UInt8] {
    let all = integers.flatMap { integer in (0..<integer.width).map { integer.value >> $0 & 1 } }
    return stride(from: 0, to: all.count, by: 8).map { start in
      all[start..<min(start + 8, all.count)].enumerated().reduce(0) { $0 | UInt8($1.1 << $1.0) }
    }
  }

  static func prefixCodeBits(_ bytes: [UInt8]) -> Int {
    var weights = Dictionary(grouping: bytes) { $0 }.values.map(\.count)
    if weights.count < 2 { return 0 }
    var total = 4 * weights.count
    while weights.count > 1 {
      weights.sort(by: >)
      let pair = weights.removeLast() + weights.removeLast()
      weights.append(pair)
      total += pair
    }
    return total
  }
}
