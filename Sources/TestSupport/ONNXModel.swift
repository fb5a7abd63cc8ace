import Basics

/// A small ONNX model, written without any ONNX library (github.com/onnx/onnx, `onnx.proto`).
public struct ONNXModel: Sendable {
  /// What the numbers of a tensor are, by ONNX's number.
  public enum Element: Int, Sendable {
    case float32 = 1
    case uint8 = 2
    case int32 = 6
    case int64 = 7
    case float64 = 11
  }

  /// An input or output; a text instead of a length leaves it free.
  public struct Tensor: Sendable {
    var name: String
    var element: Element
    var lengths: [Length]

    /// Describes an input or output.
    public init(_ name: String, _ element: Element = .float32, _ lengths: Length...) {
      (self.name, self.element, self.lengths) = (name, element, lengths)
    }
  }

  /// A length, fixed or free.
  public enum Length: Sendable, ExpressibleByIntegerLiteral, ExpressibleByStringLiteral {
    case fixed(Int)
    case free(String)
    /// A fixed length.
    public init(integerLiteral value: Int) { self = .fixed(value) }
    /// A free length of this name.
    public init(stringLiteral value: String) { self = .free(value) }
  }

  /// An operation.
  public struct Node: Sendable {
    var operation: String
    var inputs: [String]
    var outputs: [String]
    var integers: [(String, Int)]
    var lists: [(String, [Int])]

    /// `outputs = operation(inputs)` with attributes.
    public init(
      _ operation: String, _ inputs: [String], _ outputs: [String],
      integers: [(String, Int)] = [], lists: [(String, [Int])] = []
    ) {
      (self.operation, self.inputs, self.outputs) = (operation, inputs, outputs)
      (self.integers, self.lists) = (integers, lists)
    }
  }

  /// float32 weights.
  public struct Weights: Sendable {
    var name: String
    var shape: [Int]
    /// All numbers, row-major.
    public var values: [Float]

    /// Weights of a shape, row-major.
    public init(_ name: String, _ shape: [Int], _ values: [Float]) {
      precondition(values.count == shape.reduce(1, *), "\(values.count) values for \(shape)")
      (self.name, self.shape, self.values) = (name, shape, values)
    }
  }

  /// int64 numbers, such as the shape for Reshape.
  public struct Integers: Sendable {
    var name: String
    var values: [Int]

    /// A list.
    public init(_ name: String, _ values: [Int]) { (self.name, self.values) = (name, values) }
  }

  private var inputs: [Tensor]
  private var outputs: [Tensor]
  private var nodes: [Node]
  private var weights: [Weights]
  private var integers: [Integers]
  private var metadata: [(String, String)]

  /// A model of nodes in the order in which they can run.
  public init(
    inputs: [Tensor], outputs: [Tensor], nodes: [Node], weights: [Weights] = [],
    integers: [Integers] = [], metadata: [(String, String)] = []
  ) {
    (self.inputs, self.outputs, self.nodes) = (inputs, outputs, nodes)
    (self.weights, self.integers, self.metadata) = (weights, integers, metadata)
  }

  /// The ONNX file: IR version 8, operator set 13.
  public var bytes: [UInt8] {
    var graph = Message()
    for node in nodes { graph.add(1, node.message) }
    graph.add(2, "small")
    for weight in weights { graph.add(5, weight.message) }
    for list in integers { graph.add(5, list.message) }
    for input in inputs { graph.add(11, input.message) }
    for output in outputs { graph.add(12, output.message) }
    var operators = Message()
    operators.add(1, "")
    operators.add(2, 13)
    var model = Message()
    model.add(1, 8)
    model.add(7, graph)
    model.add(8, operators)
    for (key, value) in metadata {
      var entry = Message()
      entry.add(1, key)
      entry.add(2, value)
      model.add(14, entry)
    }
    return model.bytes
  }

  /// Writes the model.
  ///
  /// - Returns: its path.
  @discardableResult
  public func write(to folder: ScratchFolder, name: String = "model.onnx") throws -> String {
    try Files.writeAtomically(bytes, to: folder.file(name))
    return folder.file(name)
  }
}

/// A protobuf message under construction.
private struct Message {
  private(set) var bytes: [UInt8] = []

  mutating func add(_ field: Int, _ value: Int) {
    append(UInt64(field << 3))
    append(UInt64(bitPattern: Int64(value)))
  }

  mutating func add(_ field: Int, _ content: [UInt8]) {
    append(UInt64(field << 3 | 2))
    append(UInt64(content.count))
    bytes += content
  }

  mutating func add(_ field: Int, _ text: String) { add(field, Array(text.utf8)) }

  mutating func add(_ field: Int, _ message: Message) { add(field, message.bytes) }

  /// Base 128, low digits first.
  private mutating func append(_ number: UInt64) {
    var rest = number
    while rest >= 128 {
      bytes.append(UInt8(rest & 127) | 128)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}

extension ONNXModel.Tensor {
  fileprivate var message: Message {
    var shape = Message()
    for length in lengths {
      var dimension = Message()
      switch length {
      case .fixed(let value): dimension.add(1, value)
      case .free(let name): dimension.add(2, name)
      }
      shape.add(1, dimension)
    }
    var tensor = Message()
    tensor.add(1, element.rawValue)
    tensor.add(2, shape)
    var type = Message()
    type.add(1, tensor)
    var info = Message()
    info.add(1, name)
    info.add(2, type)
    return info
  }
}

extension ONNXModel.Node {
  fileprivate var message: Message {
    var node = Message()
    for input in inputs { node.add(1, input) }
    for output in outputs { node.add(2, output) }
    node.add(4, operation)
    for (name, value) in integers {
      var attribute = Message()
      attribute.add(1, name)
      attribute.add(3, value)
      attribute.add(20, 2)
      node.add(5, attribute)
    }
    for (name, values) in lists {
      var attribute = Message()
      attribute.add(1, name)
      for value in values { attribute.add(8, value) }
      attribute.add(20, 7)
      node.add(5, attribute)
    }
    return node
  }
}

extension ONNXModel.Weights {
  fileprivate var message: Message {
    var tensor = Message()
    for length in shape { tensor.add(1, length) }
    tensor.add(2, ONNXModel.Element.float32.rawValue)
    tensor.add(8, name)
    tensor.add(9, values.flatMap { withUnsafeBytes(of: $0.bitPattern.littleEndian, Array.init) })
    return tensor
  }
}

extension ONNXModel.Integers {
  fileprivate var message: Message {
    var tensor = Message()
    tensor.add(1, values.count)
    tensor.add(2, ONNXModel.Element.int64.rawValue)
    tensor.add(8, name)
    tensor.add(
      9, values.flatMap { withUnsafeBytes(of: Int64($0).littleEndian, Array.init) })
    return tensor
  }
}
