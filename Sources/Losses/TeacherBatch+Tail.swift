// What is known about the classes outside the head.
//
// With x = 1/T, the log-sum-exp of the tail relative to the largest logit,
//   L(x) = log sum_{c in tail} exp(-x gap_c),
// is convex; L(0) = log(C - k), L'(0) = -(mean tail gap), and no slope exceeds -(last head gap).
// The stored ratios give L at the planned temperatures; in between it is interpolated.

extension TeacherBatch {
  /// C - k, the number of classes outside the head.
  public var tailClasses: Int { classes - k }

  /// log(tail mass / head mass) of a record at a temperature; -infinity when k == C.
  ///
  /// At a planned temperature this is the stored value. Elsewhere the tail's log-sum-exp is
  /// interpolated in 1/T through the planned temperatures and the known value log(C - k) at
  /// 1/T = 0, by a cubic held between the bounds that convexity gives (the chord above, the
  /// neighbouring chords' extensions below). Below the smallest planned temperature it continues
  /// straight, no flatter than the last head gap allows; there the error grows with the distance.
  ///
  /// - Parameters:
  ///   - row: the record.
  ///   - temperature: T > 0; infinity gives log((C - k) / k).
  public func logTailRatio(row: Int, temperature: Float) -> Double {
    precondition(temperature > 0, "temperature \(temperature) must be positive")
    guard k < classes else { return -.infinity }
    let planned = tailTemperatures.count
    for t in 0..<planned where tailTemperatures[t] == temperature {
      return Double(logTailRatios[row * planned + t])
    }
    let x = 1 / Double(temperature)
    return logTailSum(row: row, at: x) - logHeadSum(row: row, at: x)
  }

  /// The mean over the tail classes of their gap to the largest logit, in nats; 0 when k == C.
  ///
  /// The stored value when there is one; else the slope of the interpolated tail at 1/T = 0, an
  /// estimate that needs at least one planned temperature above about 4 to be good.
  public func meanTailGap(row: Int) -> Double {
    guard k < classes else { return 0 }
    if hasMeanTailGaps { return Double(meanTailGaps[row]) }
    return max(-slope(row: row, at: 0), lastHeadGap(row))
  }

  private func lastHeadGap(_ row: Int) -> Double { Double(gaps[row * k + k - 1]) }

  /// log sum_{c in head} exp(-x gap_c).
  private func logHeadSum(row: Int, at x: Double) -> Double {
    let gaps = gaps.span
    var sum = 0.0
    for j in row * k..<(row + 1) * k { sum += exponential(-x * Double(gaps[j])) }
    return logarithm(sum)
  }

  /// Where L is known: node 0 is 1/T = 0, then the planned temperatures from hot to cold.
  private var nodes: Int { tailTemperatures.count + 1 }

  private func position(_ node: Int) -> Double {
    node == 0 ? 0 : 1 / Double(tailTemperatures[nodes - 1 - node])
  }

  private func value(row: Int, node: Int) -> Double {
    guard node > 0 else { return logarithm(Double(tailClasses)) }
    let planned = tailTemperatures.count
    return Double(logTailRatios[row * planned + planned - node])
      + logHeadSum(row: row, at: position(node))
  }

  /// The slope of the straight line from `node` to the next one.
  private func chord(row: Int, from node: Int) -> Double {
    (value(row: row, node: node + 1) - value(row: row, node: node))
      / (position(node + 1) - position(node))
  }

  /// The slope of L at a node: of the parabola through it and its neighbours.
  private func slope(row: Int, at node: Int) -> Double {
    if nodes == 2 { return chord(row: row, from: 0) }
    let middle = min(max(node, 1), nodes - 2)
    let left = chord(row: row, from: middle - 1)
    let right = chord(row: row, from: middle)
    let before = position(middle) - position(middle - 1)
    let after = position(middle + 1) - position(middle)
    let curvature = (right - left) / (before + after)
    return left + curvature * (2 * position(node) - position(middle - 1) - position(middle))
  }

  /// L(x), interpolated.
  private func logTailSum(row: Int, at x: Double) -> Double {
    let last = nodes - 1
    if x >= position(last) {
      let flattest = min(slope(row: row, at: last), -lastHeadGap(row))
      return value(row: row, node: last) + flattest * (x - position(last))
    }
    var node = 0
    while position(node + 1) < x { node += 1 }
    let width = position(node + 1) - position(node)
    let u = (x - position(node)) / width
    let start = value(row: row, node: node)
    let end = value(row: row, node: node + 1)
    let rise = end - start
    let leftBend = width * slope(row: row, at: node) - rise
    let rightBend = width * slope(row: row, at: node + 1) - rise
    let straight = start + rise * u
    let cubic = straight + u * (1 - u) * ((1 - u) * leftBend - u * rightBend)
    var lowest = -Double.infinity
    if node > 0 {
      lowest = start + chord(row: row, from: node - 1) * (x - position(node))
    }
    if node + 2 <= last {
      lowest = max(lowest, end + chord(row: row, from: node + 1) * (x - position(node + 1)))
    }
    return min(max(cubic, lowest), straight)
  }
}
