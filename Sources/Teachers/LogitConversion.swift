import Basics

/// What the values of a teacher's row are.
package enum OutputKind: String, CaseIterable, Sendable {
  case logits, probabilities, sigmoid
  case logProbabilities = "log-probabilities"
}

/// Turns what a teacher gave into logits.
///
/// | kind | logit of a class |
/// |---|---|
/// | logits | the value itself |
/// | log-probabilities | the value, at least log floor |
/// | probabilities | log p, p at least floor |
/// | sigmoid | log(p / (1 - p)), p in floor...(1 - 2^-24) |
///
/// Log p is a logit: softmax gives p back, and at another temperature p^(1/T) up to a factor.
package struct LogitConversion: Sendable {
  /// What the values are.
  package var kind: OutputKind
  /// The least probability; at least the smallest normal float.
  package var floor: Float
  /// What gave the values, for errors.
  package var source: String
  /// The setting that says their kind, for errors.
  package var setting: String

  /// A conversion; the floor is the smallest normal float unless given.
  package init(
    _ kind: OutputKind, floor: Float = .leastNormalMagnitude, source: String, setting: String
  ) {
    (self.kind, self.floor, self.source, self.setting) = (kind, floor, source, setting)
  }

  /// Converts values in place.
  ///
  /// NaN stays NaN: who writes the record names its sample.
  /// - Throws: `Problem(.corrupt)` when a value is no probability though it should be one.
  package func convert(_ values: UnsafeMutableBufferPointer<Float>) throws {
    switch kind {
    case .logits: return
    case .logProbabilities:
      try demand(values, in: -Float.infinity...0.001, "log-probability")
      let least = logarithm(floor)
      for index in values.indices where values[index] < least { values[index] = least }
    case .probabilities:
      try demand(values, in: 0...1.001, "probability")
      for index in values.indices {
        let p = values[index]
        values[index] = logarithm(p < floor ? floor : p)
      }
    case .sigmoid:
      try demand(values, in: 0...1.001, "probability")
      let ceiling = 1 - Float.ulpOfOne / 2
      for index in values.indices {
        let p = values[index] < floor ? floor : values[index] > ceiling ? ceiling : values[index]
        values[index] = logarithm(p) - logarithm(1 - p)
      }
    }
  }

  /// Refuses values that show a wrong `kind`.
  private func demand(
    _ values: UnsafeMutableBufferPointer<Float>, in range: ClosedRange<Float>, _ what: String
  ) throws {
    var isOutside = false
    for value in values {
      isOutside = isOutside || value < range.lowerBound || value > range.upperBound
    }
    guard isOutside,
      let value = values.first(where: { $0 < range.lowerBound || $0 > range.upperBound })
    else { return }
    throw Problem(
      .corrupt,
      "\(source) gave \(value) as a \(what): \(setting) is \(kind.rawValue), is that right?")
  }
}
