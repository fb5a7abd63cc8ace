/// Why a loss could not be read from text.
public struct LossTextError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong and what would be right, in one sentence.
  public let description: String
}

// sum    = term { "+" term } [ ";warmup=" epochs ]
// term   = [ weight "*" ] name [ "@" temperature ] { ":" option }
// name   = ce | kd | mse | dist | pld | dkd | nd | cosine
// option = bucket | uniform (kd); drop | uniform (pld); mean | drop (mse);
//          beta=N | gamma=N | eps=N | plain (dist; plain leaves tau^2 out); alpha=N | beta=N (dkd)

extension LossConfiguration {
  /// Reads a sum such as "0.1*ce + 0.9*kd@4", "pld", "kd@inf", "ce+2*dist@4;warmup=20", or the
  /// name of a preset.
  ///
  /// - Throws: `LossTextError` saying what was not understood and what would be.
  public init(parsing text: String) throws(LossTextError) {
    let compact = String(text.filter { !$0.isWhitespace })
    if let preset = Self.presets.first(where: { $0.name == compact }) {
      self = preset.configuration
    } else {
      try self.init(sum: compact)
    }
  }

  /// Reads a sum without spaces; preset names are not looked up.
  init(sum text: String) throws(LossTextError) {
    let parts = text.split(separator: ";", omittingEmptySubsequences: false)
    var warmupEpochs = 0
    for part in parts.dropFirst() {
      guard part.hasPrefix("warmup="), let epochs = Int(part.dropFirst(7)), epochs >= 0 else {
        throw LossTextError(
          description: "loss '\(text)': '\(part)' is not understood; write ';warmup=20'")
      }
      warmupEpochs = epochs
    }
    var terms: [LossTerm] = []
    for part in parts[0].split(separator: "+", omittingEmptySubsequences: false) {
      var reader = try TermReader(part, in: text)
      terms.append(try reader.term())
    }
    guard terms.count <= Self.maximumTerms else {
      throw LossTextError(
        description: "loss '\(text)' has \(terms.count) terms, at most \(Self.maximumTerms) fit")
    }
    self.init(terms, warmupEpochs: warmupEpochs)
  }
}

extension LossConfiguration: CustomStringConvertible {
  /// The canonical text: reading it gives the same configuration; defaults are left out.
  public var description: String {
    terms.map(\.description).joined(separator: "+")
      + (warmupEpochs > 0 ? ";warmup=\(warmupEpochs)" : "")
  }
}

extension LossTerm: CustomStringConvertible {
  /// The canonical text of the term.
  public var description: String {
    (weight == 1 ? "" : shortest(weight) + "*") + name
      + (temperature.map { $0 == 1 ? "" : "@" + shortest($0) } ?? "")
      + options.map { ":" + $0 }.joined()
  }

  /// The short name: ce, kd, mse, dist, pld, dkd, nd or cosine.
  public var name: String {
    switch self {
    case .crossEntropy: "ce"
    case .kd: "kd"
    case .mse: "mse"
    case .dist: "dist"
    case .pld: "pld"
    case .dkd: "dkd"
    case .normDirection: "nd"
    case .classMeanCosine: "cosine"
    }
  }

  private var options: [String] {
    switch self {
    case .kd(_, _, let tail): tail == .uniform ? [] : [tail.rawValue]
    case .pld(_, _, let tail): tail == .drop ? [] : [tail.rawValue]
    case .mse(_, let tail): tail == .mean ? [] : [tail.rawValue]
    case .dist(_, let settings):
      [
        settings.beta == 1 ? nil : "beta=" + shortest(settings.beta),
        settings.gamma == 1 ? nil : "gamma=" + shortest(settings.gamma),
        settings.epsilon == 1e-8 ? nil : "eps=" + shortest(settings.epsilon),
        settings.scalesByTemperatureSquared ? nil : "plain",
      ].compactMap(\.self)
    case .dkd(_, _, let alpha, let beta):
      [
        alpha == 1 ? nil : "alpha=" + shortest(alpha), beta == 8 ? nil : "beta=" + shortest(beta),
      ].compactMap(\.self)
    case .crossEntropy, .normDirection, .classMeanCosine: []
    }
  }
}

/// The shortest text that reads back as the same number, without ".0".
private func shortest(_ number: some BinaryFloatingPoint & LosslessStringConvertible) -> String {
  let text = String(number)
  return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
}

/// Reads one term of a sum.
private struct TermReader {
  let whole: String
  let part: Substring
  let weight: Double
  let name: Substring
  let temperature: Float?
  var options: [Substring]

  /// Splits "weight*name@temperature:option:option".
  init(_ part: Substring, in whole: String) throws(LossTextError) {
    func wrong(_ what: String) -> LossTextError {
      LossTextError(description: "loss '\(whole)': " + what)
    }
    self.whole = whole
    self.part = part
    let fields = part.split(separator: ":", omittingEmptySubsequences: false)
    options = Array(fields.dropFirst())
    var body = fields[0]
    var weight = 1.0
    if let star = body.firstIndex(of: "*") {
      guard let number = Double(body[..<star]), number >= 0, number <= 1e9 else {
        throw wrong("weight '\(body[..<star])' is not a number in 0...1e9")
      }
      weight = number
      body = body[body.index(after: star)...]
    }
    self.weight = weight
    guard let at = body.firstIndex(of: "@") else {
      name = body
      temperature = nil
      return
    }
    let text = body[body.index(after: at)...]
    guard let number = Float(text), number > 0 else {
      throw wrong("temperature '\(text)' is not a number above 0 (or inf, for kd)")
    }
    name = body[..<at]
    temperature = number
    if number == .infinity && name != "kd" {
      throw wrong("only kd has a limit for an infinite temperature, '\(name)' has not")
    }
  }

  mutating func term() throws(LossTextError) -> LossTerm {
    let warm = temperature ?? 1
    let term: LossTerm
    switch name {
    case "ce": term = .crossEntropy(weight: weight)
    case "kd": term = .kd(weight: weight, temperature: warm, tail: try tail(.uniform))
    case "mse": term = .mse(weight: weight, tail: try tail(.mean))
    case "pld": term = .pld(weight: weight, temperature: warm, tail: try tail(.drop))
    case "dist":
      term = .dist(
        weight: weight,
        DISTSettings(
          temperature: warm, beta: try number("beta") ?? 1, gamma: try number("gamma") ?? 1,
          epsilon: try number("eps") ?? 1e-8, scalesByTemperatureSquared: !flag("plain")))
    case "dkd":
      term = .dkd(
        weight: weight, temperature: warm, alpha: try number("alpha") ?? 1,
        beta: try number("beta") ?? 8)
    case "nd": term = .normDirection(weight: weight)
    case "cosine": term = .classMeanCosine(weight: weight)
    default:
      throw wrong("'\(name)' is no loss; there are ce, kd, mse, dist, pld, dkd, nd, cosine")
    }
    if temperature != nil && term.temperature == nil {
      throw wrong("'\(name)' has no temperature; write it without '@'")
    }
    guard options.isEmpty else { throw wrong("'\(name)' has no option '\(options[0])'") }
    return term
  }

  private func wrong(_ what: String) -> LossTextError {
    LossTextError(description: "loss '\(whole)': " + what)
  }

  /// Takes the option that names a tail, if there is one.
  private mutating func tail<Tail: RawRepresentable<String>>(_ standard: Tail)
    throws(LossTextError) -> Tail
  {
    guard let text = options.first else { return standard }
    guard let tail = Tail(rawValue: String(text)) else {
      throw wrong("'\(name)' has no tail '\(text)'")
    }
    options.removeFirst()
    return tail
  }

  private mutating func flag(_ key: Substring) -> Bool {
    guard let index = options.firstIndex(of: key) else { return false }
    options.remove(at: index)
    return true
  }

  private mutating func number(_ key: String) throws(LossTextError) -> Double? {
    guard let index = options.firstIndex(where: { $0.hasPrefix(key + "=") }) else { return nil }
    let text = options.remove(at: index).dropFirst(key.count + 1)
    guard let number = Double(text), number >= 0, number <= 1e9 else {
      throw wrong("\(key) '\(text)' is not a number in 0...1e9")
    }
    return number
  }
}
