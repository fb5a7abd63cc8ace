import LogitCache

/// What a record keeps of a teacher's row: one line of a plan.
public struct RowChoice: Hashable, Sendable {
  /// What is kept of the classes outside the head.
  public enum Tail: String, Hashable, Sendable {
    /// Nothing: the head has all classes.
    case none
    /// log(tail / head) at the planned temperatures.
    case ratios
  }

  /// Classes of the head.
  public var k: Int
  /// What is kept of the others.
  public var tail: Tail

  /// A head of `k` of `classes` classes, and the tail that goes with it.
  public init(k: Int, of classes: Int) {
    self.k = k
    tail = k < classes ? .ratios : .none
  }

  /// The choices that are looked at unasked: some heads, and all classes.
  public static func standard(classes: Int) -> [RowChoice] {
    let heads = [5, 10, 20, 50, 100].filter { $0 < classes }
    // The order of many thousand classes takes seconds a block, and more bytes than anyone stores.
    let all = classes <= 2048 ? [classes] : []
    return (heads + all).map { RowChoice(k: $0, of: classes) }
  }

  /// The encoding of such records.
  func encoding(classes: Int, featureWidth: Int?) -> Encoding {
    Encoding(classes: classes, k: k, featureWidth: featureWidth)
  }

  /// The options of `precompute` that choose it.
  var options: [String] { ["--k", "\(k)"] }
}
