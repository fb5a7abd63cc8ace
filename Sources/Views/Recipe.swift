public import Basics
import Schemas

/// A number held in 65536ths, so that no operation ever computes with floating point.
package struct Fraction: Hashable, Sendable {
  /// 65536 times the number.
  package var parts: Int

  /// The number `parts / 65536`.
  package init(parts: Int) { self.parts = parts }

  /// The nearest 65536th, halves away from zero.
  ///
  /// - Precondition: the magnitude is at most 65536.
  package init(nearest value: Double) {
    precondition(abs(value) <= 65536, "\(value) is too large for a fraction")
    parts = Int((value * 65536).rounded(.toNearestOrAwayFromZero))
  }

  /// One.
  package static let one = Fraction(parts: 65536)
}

/// One step of a recipe; docs/VIEWS.md specifies each exactly.
package enum Operation: Hashable, Sendable {
  case resizedCrop(ResizedCrop)
  case padCrop(pad: Int, fill: UInt8)
  case flip(probability: Fraction)
  case affine(Affine)
  case brightness(amount: Fraction)
  case contrast(amount: Fraction)
  /// In 65536ths of a pixel.
  case blur(radius: ClosedRange<Int>)
  /// In 65536ths of the full range of 255.
  case noise(deviation: ClosedRange<Int>)
  case erase(Erase)
  case mixup(probability: Fraction, share: ClosedRange<Int>)
  case cutmix(probability: Fraction, area: ClosedRange<Int>)
  /// In 65536ths of the text's characters.
  case substring(share: ClosedRange<Int>)
  case lowercase(probability: Fraction)

  /// Limits of a random part of a picture; ranges in 65536ths.
  package struct ResizedCrop: Hashable, Sendable {
    /// Of the picture.
    package var area: ClosedRange<Int>
    /// Width over height.
    package var ratio: ClosedRange<Int>
  }

  /// Limits of a random affine map; ranges and fractions in 65536ths.
  package struct Affine: Hashable, Sendable {
    package var degrees: Fraction
    package var translate: Fraction
    package var scale: ClosedRange<Int>
    package var shear: Fraction
    package var fill: UInt8
  }

  /// Limits of a random rectangle; ranges and fractions in 65536ths.
  package struct Erase: Hashable, Sendable {
    package var probability: Fraction
    package var area: ClosedRange<Int>
    package var aspect: Fraction
    package var fill: UInt8
  }

  /// The limits of a crop from the picture in its own size, which only the first operation can be.
  package var resizedCrop: ResizedCrop? {
    if case .resizedCrop(let limits) = self { limits } else { nil }
  }

  /// Whether it takes in another sample.
  package var mixes: Bool {
    switch self {
    case .mixup, .cutmix: true
    default: false
    }
  }

  /// Whether columns end up where others were: then labels of positions mean nothing any more.
  package var movesColumns: Bool {
    switch self {
    case .resizedCrop, .padCrop, .flip, .affine: true
    default: false
    }
  }

  /// Whether it changes texts; all others change images.
  package var isForTexts: Bool {
    switch self {
    case .substring, .lowercase: true
    default: false
    }
  }
}

/// How views are made: operations in order.
///
/// Two files that say the same give the same digest: defaults are written out, fractions are held
/// in 65536ths, and comments and order of names do not count.
public struct Recipe: Hashable, Sendable {
  /// Applied first to last.
  package let operations: [Operation]

  /// No operations: every view is the sample itself.
  public static let identity = Recipe(operations: [])

  private init(operations: [Operation]) { self.operations = operations }

  /// Reads a recipe file (YAML or JSON) that fits `schemas/recipe.schema.json`.
  ///
  /// - Throws: `Problem(.noInput)` when it cannot be read, `Problem(.configuration)` when it is no
  ///   recipe, listing everything that is wrong.
  public init(contentsOf path: String) throws {
    try self.init(try Schemas.load(yamlAt: path, as: .recipe), source: path)
  }

  /// Takes a recipe document, for example the `canonical` one that a cache keeps.
  ///
  /// - Parameter source: names the document in errors.
  /// - Throws: `Problem(.configuration)` when it is no recipe.
  public init(_ document: JSONValue, source: String) throws {
    try Schemas.validate(document, against: .recipe, source: source)
    let values = document["operations"]!.array!
    operations = try values.enumerated().map { index, value in
      try Operation(RecipeFields(value: value, source: source, index: index))
    }
    if let index = operations.firstIndex(where: \.mixes), index != operations.count - 1 {
      throw Problem(
        .configuration,
        "\(source): operations[\(index)] takes in another sample, so it must be the last operation")
    }
    if let index = operations.lastIndex(where: { $0.resizedCrop != nil }), index != 0 {
      throw Problem(
        .configuration,
        "\(source): operations[\(index)] crops the picture in its own size, so it must be the first "
          + "operation")
    }
  }

  /// The recipe as a document with every default written out; reading it gives the recipe again.
  public var canonical: JSONValue {
    .object(["version": .integer(1), "operations": .array(operations.map(\.canonical))])
  }

  /// SHA-256 of the canonical document's canonical JSON.
  public var digest: Digest {
    guard let text = try? canonicalJSON(canonical) else {
      preconditionFailure("a recipe without floating-point numbers is always JSON")
    }
    return Digest(of: text)
  }
}

extension Operation {
  fileprivate init(_ fields: RecipeFields) throws {
    let probability = { (otherwise: Double) in
      try fields.fraction("probability", otherwise, in: 0...1)
    }
    switch fields.name {
    case "resized-crop":
      self = .resizedCrop(
        ResizedCrop(
          area: try fields.range("area", 0.08...1, in: 0...1),
          ratio: try fields.range("ratio", 0.75...4 / 3, in: 0.125...8)))
    case "pad-crop": self = .padCrop(pad: fields.integer("pad", 0), fill: fields.fill)
    case "flip": self = .flip(probability: try probability(0.5))
    case "affine":
      self = .affine(
        Affine(
          degrees: try fields.fraction("degrees", 0, in: 0...180),
          translate: try fields.fraction("translate", 0, in: 0...1),
          scale: try fields.range("scale", 1...1, in: 0.0625...16),
          shear: try fields.fraction("shear", 0, in: 0...45), fill: fields.fill))
    case "brightness": self = .brightness(amount: try fields.fraction("amount", 0, in: 0...1))
    case "contrast": self = .contrast(amount: try fields.fraction("amount", 0, in: 0...1))
    case "blur":
      let largest = Double(BoxWeights.largestRadius)
      self = .blur(radius: try fields.range("radius", 0...0, in: 0...largest))
    case "noise":
      self = .noise(deviation: try fields.range("deviation", 0...0, in: 0...1))
    case "erase":
      self = .erase(
        Erase(
          probability: try probability(0.5),
          area: try fields.range("area", 0.02...0.33, in: 0...1),
          aspect: try fields.fraction("aspect", 3.3, in: 1...16), fill: fields.fill))
    case "mixup":
      self = .mixup(
        probability: try probability(1), share: try fields.range("share", 0.5...1, in: 0...1))
    case "cutmix":
      self = .cutmix(
        probability: try probability(1), area: try fields.range("area", 0...0.5, in: 0...1))
    case "substring":
      self = .substring(share: try fields.range("share", 0.5...1, in: 0...1))
    case "lowercase": self = .lowercase(probability: try probability(0.5))
    case let name: preconditionFailure("the schema allows the operation '\(name)', unknown here")
    }
  }

  fileprivate var canonical: JSONValue {
    switch self {
    case .resizedCrop(let limits):
      document("resized-crop", ["area": text(limits.area), "ratio": text(limits.ratio)])
    case .padCrop(let pad, let fill):
      document("pad-crop", ["pad": .integer(pad), "fill": .integer(Int(fill))])
    case .flip(let probability):
      document("flip", ["probability": text(probability)])
    case .affine(let affine):
      document(
        "affine",
        [
          "degrees": text(affine.degrees), "translate": text(affine.translate),
          "scale": text(affine.scale), "shear": text(affine.shear),
          "fill": .integer(Int(affine.fill)),
        ])
    case .brightness(let amount): document("brightness", ["amount": text(amount)])
    case .contrast(let amount): document("contrast", ["amount": text(amount)])
    case .blur(let radius): document("blur", ["radius": text(radius)])
    case .noise(let deviation): document("noise", ["deviation": text(deviation)])
    case .erase(let erase):
      document(
        "erase",
        [
          "probability": text(erase.probability), "area": text(erase.area),
          "aspect": text(erase.aspect), "fill": .integer(Int(erase.fill)),
        ])
    case .mixup(let probability, let share):
      document("mixup", ["probability": text(probability), "share": text(share)])
    case .cutmix(let probability, let area):
      document("cutmix", ["probability": text(probability), "area": text(area)])
    case .substring(let share): document("substring", ["share": text(share)])
    case .lowercase(let probability): document("lowercase", ["probability": text(probability)])
    }
  }
}

private func document(_ name: String, _ members: [String: JSONValue]) -> JSONValue {
  .object(members.merging(["op": .string(name)]) { $1 })
}

private func text(_ fraction: Fraction) -> JSONValue { .string("\(fraction.parts)/65536") }

private func text(_ range: ClosedRange<Int>) -> JSONValue {
  .array([range.lowerBound, range.upperBound].map { text(Fraction(parts: $0)) })
}

/// The members of one operation, which the schema has already checked for presence and type.
private struct RecipeFields {
  let value: JSONValue
  let source: String
  let index: Int

  var name: String { value["op"]!.string! }
  var fill: UInt8 { UInt8(integer("fill", 0)) }

  func integer(_ name: String, _ otherwise: Int) -> Int { value[name]?.integer ?? otherwise }

  func fraction(
    _ name: String, _ otherwise: Double, in limits: ClosedRange<Double>
  ) throws -> Fraction {
    try fraction(value[name] ?? .number(otherwise), name, in: limits)
  }

  func range(
    _ name: String, _ otherwise: ClosedRange<Double>, in limits: ClosedRange<Double>
  ) throws -> ClosedRange<Int> {
    let given =
      value[name]?.array ?? [.number(otherwise.lowerBound), .number(otherwise.upperBound)]
    let ends = try given.map { try fraction($0, name, in: limits).parts }
    guard ends[0] <= ends[1] else { throw problem("\(name) must give the least value first") }
    return ends[0]...ends[1]
  }

  private func fraction(
    _ value: JSONValue, _ name: String, in limits: ClosedRange<Double>
  ) throws -> Fraction {
    let fraction =
      value.string.map { Fraction(parts: Int($0.dropLast("/65536".count))!) }
      ?? Fraction(nearest: value.double!)
    let (least, greatest) = (
      Fraction(nearest: limits.lowerBound), Fraction(nearest: limits.upperBound)
    )
    guard (least.parts...greatest.parts).contains(fraction.parts) else {
      throw problem("\(name) must lie from \(limits.lowerBound) to \(limits.upperBound)")
    }
    return fraction
  }

  private func problem(_ text: String) -> Problem {
    Problem(.configuration, "\(source): operations[\(index)].\(text)")
  }
}
