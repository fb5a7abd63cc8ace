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
    return withTail(of: row) { $0.value(at: x) - logHeadSum(row: row, at: x) }
  }

  /// The mean over the tail classes of their gap to the largest logit, in nats; 0 when k == C.
  ///
  /// The stored value when there is one; else the slope of the interpolated tail at 1/T = 0, an
  /// estimate that needs at least one planned temperature above about 4 to be good.
  public func meanTailGap(row: Int) -> Double {
    guard k < classes else { return 0 }
    if hasMeanTailGaps { return Double(meanTailGaps[row]) }
    return withTail(of: row) { max(-$0.slope(at: 0), $0.lastHeadGap) }
  }

  /// log sum_{c in head} exp(-x gap_c).
  private func logHeadSum(row: Int, at x: Double) -> Double {
    let gaps = gaps.span
    let start = row &* k
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: k) { terms in
      for j in 0..<k { terms[j] = exponential(-x * Double(gaps[unchecked: start &+ j])) }
      return logarithm(sum(terms.baseAddress!, count: k))
    }
  }

  /// Works with the curve L of one record: node 0 is 1/T = 0, then the planned temperatures from
  /// hot to cold.
  private func withTail(of row: Int, _ body: (TailCurve) -> Double) -> Double {
    let planned = tailTemperatures.count
    return withUnsafeTemporaryAllocation(of: SIMD2<Double>.self, capacity: planned + 1) { nodes in
      nodes[0] = [0, logarithm(Double(tailClasses))]
      for node in 1...planned {
        let x = 1 / Double(tailTemperatures[planned - node])
        let ratio = Double(logTailRatios[row * planned + planned - node])
        nodes[node] = [x, ratio + logHeadSum(row: row, at: x)]
      }
      return body(
        TailCurve(
          nodes: UnsafeBufferPointer(nodes), lastHeadGap: Double(gaps[row * k + k - 1])))
    }
  }
}

/// L(x) of one record through the points (x, L) where it is known; at least two.
private struct TailCurve {
  let nodes: UnsafeBufferPointer<SIMD2<Double>>
  let lastHeadGap: Double

  /// The slope of the straight line from `node` to the next one.
  private func chord(from node: Int) -> Double {
    let step = nodes[node + 1] - nodes[node]
    return step.y / step.x
  }

  /// The slope of L at a node: of the parabola through it and its neighbours.
  func slope(at node: Int) -> Double {
    if nodes.count == 2 { return chord(from: 0) }
    let middle = min(max(node, 1), nodes.count - 2)
    let left = chord(from: middle - 1)
    let curvature =
      (chord(from: middle) - left) / (nodes[middle + 1].x - nodes[middle - 1].x)
    return left + curvature * (2 * nodes[node].x - nodes[middle - 1].x - nodes[middle].x)
  }

  /// L(x): a cubic between nodes, held by the bounds of convexity; straight after the last.
  func value(at x: Double) -> Double {
    let last = nodes.count - 1
    if x >= nodes[last].x {
      return nodes[last].y + min(slope(at: last), -lastHeadGap) * (x - nodes[last].x)
    }
    var node = 0
    while nodes[node + 1].x < x { node += 1 }
    let (start, end) = (nodes[node], nodes[node + 1])
    let (width, rise) = (end.x - start.x, end.y - start.y)
    let u = (x - start.x) / width
    let leftBend = width * slope(at: node) - rise
    let rightBend = width * slope(at: node + 1) - rise
    let straight = start.y + rise * u
    let cubic = straight + u * (1 - u) * ((1 - u) * leftBend - u * rightBend)
    var lowest = -Double.infinity
    if node > 0 { lowest = start.y + chord(from: node - 1) * (x - start.x) }
    if node + 2 <= last { lowest = max(lowest, end.y + chord(from: node + 1) * (x - end.x)) }
    return min(max(cubic, lowest), straight)
  }
}
