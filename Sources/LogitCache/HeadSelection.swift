/// Finds the k largest logits of a row, in descending order, ties lower class first.
struct HeadSelection {
  /// The classes found, best first.
  private(set) var ids: [UInt32]
  private var values: [Float]
  private var keys: [UInt64] = []

  /// Beyond this k, sorting the whole row is cheaper than inserting into a sorted list.
  private static let longestInsertion = 128

  init(k: Int) {
    ids = Array(repeating: 0, count: k)
    values = Array(repeating: 0, count: k)
  }

  /// Overwrites `ids` with the best classes of `row`, whose values are finite.
  mutating func select(from row: UnsafeBufferPointer<Float>) {
    precondition(row.count >= ids.count, "\(row.count) classes, k = \(ids.count)")
    if ids.count <= HeadSelection.longestInsertion {
      selectByInsertion(row)
    } else {
      selectBySorting(row)
    }
  }

  private mutating func selectByInsertion(_ row: UnsafeBufferPointer<Float>) {
    ids.withUnsafeMutableBufferPointer { ids in
      values.withUnsafeMutableBufferPointer { values in
        let k = ids.count
        for index in 0..<k { insert(row[index], index, filled: index, values, ids) }
        var index = k
        let bytes = UnsafeRawPointer(row.baseAddress!)
        while index + 16 <= row.count {
          let chunk = bytes.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self)
          if any(chunk .> values[k - 1]) {
            for lane in index..<index + 16 where row[lane] > values[k - 1] {
              insert(row[lane], lane, filled: k - 1, values, ids)
            }
          }
          index += 16
        }
        while index < row.count {
          if row[index] > values[k - 1] { insert(row[index], index, filled: k - 1, values, ids) }
          index += 1
        }
      }
    }
  }

  private mutating func selectBySorting(_ row: UnsafeBufferPointer<Float>) {
    keys.removeAll(keepingCapacity: true)
    keys.reserveCapacity(row.count)
    for index in 0..<row.count { keys.append(descendingKey(row[index], index)) }
    keys.sort()
    for rank in 0..<ids.count { ids[rank] = UInt32(truncatingIfNeeded: keys[rank]) }
  }
}

/// Puts a value into the sorted list of `filled` values; equal earlier ones (lower ids) stay ahead.
@inline(__always)
private func insert(
  _ value: Float, _ id: Int, filled: Int, _ values: UnsafeMutableBufferPointer<Float>,
  _ ids: UnsafeMutableBufferPointer<UInt32>
) {
  var place = filled
  while place > 0, values[place - 1] < value {
    values[place] = values[place - 1]
    ids[place] = ids[place - 1]
    place -= 1
  }
  values[place] = value
  ids[place] = UInt32(truncatingIfNeeded: id)
}

/// An integer that sorts ascending as (value descending, id ascending).
@inline(__always)
private func descendingKey(_ value: Float, _ id: Int) -> UInt64 {
  let bits = (value + 0).bitPattern  // -0 becomes +0: they are equal
  let ascending = bits ^ (bits >> 31 == 1 ? 0xFFFF_FFFF : 0x8000_0000)
  return UInt64(~ascending) << 32 | UInt64(id)
}

/// How many classes come before `label` in the teacher's order.
func rank(of label: Int, in row: UnsafeBufferPointer<Float>) -> Int {
  // Lanes, not branches: whether a class comes before is a coin's toss, and a processor guesses half of them wrong.
  let value = row[label]
  let bytes = UnsafeRawPointer(row.baseAddress!)
  var lanes = SIMD16<Int32>()
  var (index, before) = (0, 0)
  while index + 16 <= label {
    let chunk = bytes.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self)
    lanes.replace(with: lanes &+ 1, where: chunk .>= value)
    index += 16
  }
  while index < label {
    before += row[index] >= value ? 1 : 0
    index += 1
  }
  while index + 16 <= row.count {
    let chunk = bytes.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self)
    lanes.replace(with: lanes &+ 1, where: chunk .> value)
    index += 16
  }
  while index < row.count {
    before += row[index] > value ? 1 : 0
    index += 1
  }
  return before + Int(lanes.wrappedSum())
}

/// The first number that is NaN, infinite, or beyond the limit; `nil` when all are fine.
func firstUnusable(in row: UnsafeBufferPointer<Float>, beyond limit: Float) -> Int? {
  // Without their signs floats are ordered as their bits are, infinity and NaN above all.
  var largest: UInt32 = 0
  for index in 0..<row.count { largest = max(largest, row[index].bitPattern & 0x7FFF_FFFF) }
  if largest <= limit.bitPattern { return nil }
  return row.firstIndex { !($0.magnitude <= limit) }
}
