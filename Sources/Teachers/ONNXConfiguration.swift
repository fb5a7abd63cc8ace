import Basics

/// What a configuration of kind `onnx` says (`schemas/teacher.schema.json`), with its defaults.
struct ONNXConfiguration {
  /// How a picture of another size becomes the model's.
  enum Fit: String {
    case exact, stretch
    case rightPad = "right-pad"
  }
  /// The order of samples, positions and classes in the output.
  enum OutputLayout: String { case nc, ntc, tnc }
  /// Which positions of layouts ntc and tnc are recorded.
  enum PositionRule: String {
    case every, nonblank
    case bestNonblank = "best-nonblank"
  }

  var path: String
  var model: String
  var runtime: String?
  var batch: Int?
  var threads: Int
  var inputName: String?
  var isChannelsLast: Bool
  var isBGR: Bool
  /// Height and width.
  var size: (height: Int, width: Int)?
  var fit: Fit
  var padValue: Float
  var divideBy: Float?
  var mean: [Float]
  var deviation: [Float]
  var outputName: String?
  var outputKind: OutputKind
  var floor: Float
  var outputLayout: OutputLayout
  var positionRule: PositionRule?
  /// The class that means nothing.
  var blank: Int?
  /// Whether the blank is recorded all the same.
  var keepsBlank: Bool
  var classNames: JSONValue?
  var keep: ClassChoice.Keep

  /// - Parameters:
  ///   - value: fits the schema.
  ///   - path: the file; other paths start at its folder.
  init(_ value: JSONValue, path: String) throws {
    self.path = path
    func file(_ name: String?) -> String? { name.map { Files.path($0, relativeTo: path) } }
    func numbers(_ value: JSONValue?, default number: Float) -> [Float] {
      value?.array?.compactMap(\.double).map { Float($0) } ?? [
        value?.double.map { Float($0) } ?? number
      ]
    }
    model = file(value["model"]?.string) ?? ""
    runtime = file(value["runtime"]?.string)
    batch = value["batch"]?.integer
    threads = value["threads"]?.integer ?? 1
    let input = value["input"]
    inputName = input?["name"]?.string
    isChannelsLast = input?["layout"]?.string == "nhwc"
    isBGR = input?["channels"]?.string == "bgr"
    if let height = input?["size"]?[0]?.integer, let width = input?["size"]?[1]?.integer {
      size = (height, width)
    }
    fit = input?["fit"]?.string.flatMap(Fit.init) ?? .exact
    padValue = input?["pad-value"]?.double.map { Float($0) } ?? 0
    divideBy = input?["divide-by"]?.double.map { Float($0) }
    mean = numbers(input?["mean"], default: 0)
    deviation = numbers(input?["deviation"], default: 1)
    let output = value["output"]
    outputName = output?["name"]?.string
    outputKind = output?["kind"]?.string.flatMap(OutputKind.init) ?? .logits
    floor = output?["floor"]?.double.map { Float($0) } ?? Float.leastNormalMagnitude
    outputLayout = output?["layout"]?.string.flatMap(OutputLayout.init) ?? .nc
    let position = output?["position"]
    positionRule = position?["rule"]?.string.flatMap(PositionRule.init)
    blank = position?["blank"]?.integer
    keepsBlank = position?["keep-blank"]?.bool ?? false
    classNames = value["class-names"]
    keep = ClassChoice.Keep(value["keep-classes"], path: path)
    try check()
  }

  private func check() throws {
    guard deviation.allSatisfy({ $0 > 0 }) else { throw problem("deviation must be above 0") }
    guard floor >= Float.leastNormalMagnitude else {
      throw problem("output.floor must be at least \(Float.leastNormalMagnitude)")
    }
    guard (outputLayout == .nc) == (positionRule == nil) else {
      throw problem(
        outputLayout == .nc
          ? "layout nc has one position: leave out output.position"
          : "layout \(outputLayout) needs output.position, which of the positions are recorded")
    }
    guard classNames?["metadata"] == nil || classNames?["file"] == nil else {
      throw problem("class-names come from metadata or from a file, not from both")
    }
  }

  /// A problem with this configuration.
  func problem(_ text: String) -> Problem { Problem(.configuration, "\(path): \(text)") }
}

extension JSONValue {
  /// A number as text: what is digested holds no floating-point numbers.
  static func text(_ number: Float) -> JSONValue { .string("\(number)") }

  /// Numbers as text.
  static func text(_ numbers: [Float]) -> JSONValue {
    .string(numbers.map { "\($0)" }.joined(separator: " "))
  }
}
