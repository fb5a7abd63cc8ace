extension ONNXModel {
  /// What the last operation of a model makes of its logits.
  public enum Ending: String, CaseIterable, Sendable {
    case logits
    case probabilities = "Softmax"
    case logProbabilities = "LogSoftmax"
    case sigmoid = "Sigmoid"
  }

  /// A linear classifier of pictures: `y = ending(flatten(x) w + b)`, random weights from `seed`.
  ///
  /// Input `x` [batch, channels, side, side], output `y` [batch, classes], metadata `names`: "class 0",
  /// "class 1", ..., one a line.
  public static func classifier(
    batch: Length = "n", element: Element = .float32, channels: Int = 1, side: Int = 8,
    classes: Int = 4, seed: UInt64 = 1, scale: Float = 1, ending: Ending = .logits
  ) -> ONNXModel {
    let width = channels * side * side
    var nodes = [Node("Flatten", ["pixels"], ["flat"], integers: [("axis", 1)])]
    nodes.insert(Node("Cast", ["x"], ["pixels"], integers: [("to", 1)]), at: 0)
    nodes.append(Node("Gemm", ["flat", "w", "b"], [ending == .logits ? "y" : "z"]))
    if ending != .logits { nodes.append(Node(ending.rawValue, ["z"], ["y"])) }
    return ONNXModel(
      inputs: [Tensor("x", element, batch, .fixed(channels), .fixed(side), .fixed(side))],
      outputs: [Tensor("y", .float32, batch, .fixed(classes))], nodes: nodes,
      weights: randomLayer(from: width, to: classes, seed, scale),
      metadata: [("names", (0..<classes).map { "class \($0)" }.joined(separator: "\n"))])
  }

  /// A classifier of every row of pixels of grey pictures: positions are rows.
  ///
  /// Input `x` [batch, 1, side, side], output `y` [batch, side, classes], or [side, batch, classes].
  public static func rowClassifier(
    side: Int = 8, classes: Int = 5, seed: UInt64 = 1, isPositionFirst: Bool = false,
    ending: Ending = .logits
  ) -> ONNXModel {
    var nodes = [
      Node("Reshape", ["x", "rows"], ["r"]), Node("MatMul", ["r", "w"], ["m"]),
      Node("Add", ["m", "b"], ["z"]),
      ending == .logits
        ? Node("Identity", ["z"], ["e"]) : Node(ending.rawValue, ["z"], ["e"]),
    ]
    nodes.append(
      isPositionFirst
        ? Node("Transpose", ["e"], ["y"], lists: [("perm", [1, 0, 2])])
        : Node("Identity", ["e"], ["y"]))
    return ONNXModel(
      inputs: [Tensor("x", .float32, "n", 1, .fixed(side), .fixed(side))],
      outputs: [Tensor("y", .float32, "a", "b", .fixed(classes))], nodes: nodes,
      weights: randomLayer(from: side, to: classes, seed, 4),
      integers: [Integers("rows", [-1, side, side])])
  }

  /// A model whose output `y` [batch, numbers] is its input `x` [batch, ...] as float32.
  public static func echo(_ element: Element = .float32, _ lengths: Length...) -> ONNXModel {
    var tensor = Tensor("x", element)
    tensor.lengths = lengths
    return ONNXModel(
      inputs: [tensor], outputs: [Tensor("y", .float32, "n", "m")],
      nodes: [
        Node("Cast", ["x"], ["f"], integers: [("to", 1)]),
        Node("Flatten", ["f"], ["y"], integers: [("axis", 1)]),
      ])
  }

  /// `w` [width, classes] and `b` [classes], normal numbers of deviation `scale` / sqrt(width).
  public static func randomLayer(
    from width: Int, to classes: Int, _ seed: UInt64, _ scale: Float
  ) -> [Weights] {
    var generator = SeededGenerator(seed: seed)
    let deviation = scale / Float(width).squareRoot()
    return [
      Weights(
        "w", [width, classes],
        (0..<width * classes).map { _ in Float(generator.normal()) * deviation }),
      Weights("b", [classes], (0..<classes).map { _ in Float(generator.normal()) }),
    ]
  }
}
