/// How often each byte occurs in a piece of a plane, and what a prefix code for it takes.
package struct ByteHistogram {
  /// Of every byte [256].
  package let counts: [UInt32]

  package init(_ bytes: [UInt8]) {
    // Four tables in turn: equal bytes in a row would wait for each other's count.
    var tables = [UInt32](repeating: 0, count: 4 * 256)
    tables.withUnsafeMutableBufferPointer { tables in
      bytes.withUnsafeBytes { bytes in
        let whole = bytes.count / 8 * 8
        for start in stride(from: 0, to: whole, by: 8) {
          var word = bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)
          for _ in 0..<2 {
            tables[Int(word & 255)] &+= 1
            tables[256 &+ Int(word &>> 8 & 255)] &+= 1
            tables[512 &+ Int(word &>> 16 & 255)] &+= 1
            tables[768 &+ Int(word &>> 24 & 255)] &+= 1
            word &>>= 32
          }
        }
        for index in whole..<bytes.count { tables[Int(bytes[index])] &+= 1 }
        for byte in 0..<256 {
          tables[byte] &+= tables[256 &+ byte] &+ tables[512 &+ byte] &+ tables[768 &+ byte]
        }
      }
    }
    tables.removeLast(3 * 256)
    counts = tables
  }

  /// What zstd's literals with this histogram take, nearly: the bits of an optimal prefix code (Huffman 1952), and four
  /// for every symbol, which is about what the table of the code takes.
  ///
  /// An exact integer, so that the choice of a form is the same everywhere. 0 when there is at most one symbol.
  package var prefixCodeBits: Int {
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 2 * (256 + 2)) { queues in
      let leaves = UnsafeMutableBufferPointer(rebasing: queues[..<258])
      let count = sortedCounts(into: leaves)
      if count < 2 { return 0 }
      // Two queues, both ascending: leaves, and sums of pairs in the order they are made. Ends are never the smaller ones.
      (leaves[count], leaves[count &+ 1]) = (.max, .max)
      let sums = UnsafeMutableBufferPointer(rebasing: queues[258...])
      var (leaf, sum, total) = (0, 0, 0)
      for pair in 0..<count &- 1 {
        // No branch: which queue is next could not be predicted.
        sums[pair] = .max
        var weight: UInt32 = 0
        for _ in 0..<2 {
          let (a, b) = (leaves[leaf], sums[sum])
          weight &+= min(a, b)
          leaf &+= a <= b ? 1 : 0
          sum &+= a <= b ? 0 : 1
        }
        sums[pair] = weight
        total &+= Int(weight)
      }
      return total + 4 * count
    }
  }

  /// Writes the counts that are not 0 in ascending order; returns how many.
  private func sortedCounts(into sorted: UnsafeMutableBufferPointer<UInt32>) -> Int {
    var count = 0
    for byte in 0..<256 {
      sorted[count] = counts[byte]
      count &+= counts[byte] > 0 ? 1 : 0
    }
    var used = UnsafeMutableBufferPointer(rebasing: sorted[..<count])
    used.sort()
    return count
  }

  /// At most `prefixCodeBits`, and seldom much less: what is cheap to know of it, for forms that cannot win.
  ///
  /// An optimal code takes at least the sum of c log2(n / c) (Shannon 1948). The bits of a float are its logarithm but
  /// for less than 0.0861, which they lack.
  package var leastPrefixCodeBits: Int {
    var (total, symbols) = (0, 0)
    for count in counts {
      total &+= Int(count)
      symbols &+= count > 0 ? 1 : 0
    }
    if symbols < 2 { return 0 }
    let unit = 1 << 23
    let most = Int(Float(total).bitPattern) - unit * 862 / 10_000
    let bits = counts.reduce(0) { $0 &+ Int($1) &* (most &- Int(Float($1).bitPattern)) }
    return max(0, bits / unit) + 4 * symbols
  }
}
