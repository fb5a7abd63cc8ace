import Basics
internal import CONNXRuntime

/// What the numbers of a tensor are; the raw values are ONNX's.
public enum ElementType: Int32, Sendable, CustomStringConvertible {
  case float32 = 1
  case uint8 = 2
  case int32 = 6

  /// "float32".
  public var description: String {
    switch self {
    case .float32: "float32"
    case .uint8: "uint8"
    case .int32: "int32"
    }
  }
}

/// A Swift type of numbers that a tensor can hold.
public protocol TensorElement: BitwiseCopyable, Sendable {
  /// The same type by ONNX's name.
  static var elementType: ElementType { get }
}

extension Float: TensorElement {
  /// float32.
  public static var elementType: ElementType { .float32 }
}

extension UInt8: TensorElement {
  /// uint8.
  public static var elementType: ElementType { .uint8 }
}

extension Int32: TensorElement {
  /// int32.
  public static var elementType: ElementType { .int32 }
}

/// An input or output of a model.
public struct TensorDescription: Sendable, CustomStringConvertible {
  /// Its name in the model.
  public let name: String
  /// What its numbers are; `nil` for a type that is not used here, or no tensor.
  public let elementType: ElementType?
  /// Its lengths; -1 for one that the model leaves free.
  public let dimensions: [Int]

  /// "x, float32 [?, 3, 48, ?]".
  public var description: String {
    let lengths = dimensions.map { $0 < 0 ? "?" : "\($0)" }.joined(separator: ", ")
    return "\(name), \(elementType?.description ?? "another type") [\(lengths)]"
  }
}

extension Table {
  /// Element type and lengths of a tensor's description.
  func shape(
    of info: OpaquePointer, _ doing: String
  ) throws -> (elementType: ElementType?, dimensions: [Int]) {
    let type: Int = try number(doing) { (out: UnsafeMutablePointer<Int32>) in
      pointer.pointee.GetTensorElementType(info, out)
    }
    let rank = try number(doing) { (out: UnsafeMutablePointer<Int>) in
      pointer.pointee.GetDimensionsCount(info, out)
    }
    var dimensions = [Int64](repeating: 0, count: rank)
    try check(pointer.pointee.GetDimensions(info, &dimensions, rank), doing)
    return (ElementType(rawValue: Int32(type)), dimensions.map { max(Int($0), -1) })
  }
}
