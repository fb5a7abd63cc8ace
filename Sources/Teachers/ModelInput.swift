import Basics
import DataSets
import ONNXRuntime
import Views

/// A number type of model inputs.
protocol InputElement: TensorElement {
  init(_ value: Float)
}

extension Float: InputElement {}
extension UInt8: InputElement {}
extension Int32: InputElement {}

/// How views become a model's input: shape, size, order of channels, normalisation.
struct InputPlan {
  let name: String
  let elementType: ElementType
  /// The whole input, batch first.
  let shape: [Int]
  /// Whether the model says that it takes batches of any size.
  let isBatchFree: Bool
  /// What a view is.
  let source: SampleShape
  /// Height and width of the part that the picture fills; (1, width) for features.
  let picture: (height: Int, width: Int)
  /// The size of one channel.
  let size: (height: Int, width: Int)
  /// For each of the model's channels, the view's.
  let channels: [Int]
  let isChannelsLast: Bool
  let padValue: Float
  /// For each of the model's channels, what a pixel of value 0...255 becomes.
  let pixelValues: [Float]
  /// For features.
  private let divideBy: Float
  private let mean: [Float]
  private let deviation: [Float]
  private let fit: ONNXConfiguration.Fit

  /// - Throws: `Problem` naming configuration or model, when the two or the views do not fit together.
  init(_ session: Session, _ configuration: ONNXConfiguration, _ source: SampleShape) throws {
    let tensor = try session.inputs.only(configuration.inputName, "input", configuration)
    guard let type = tensor.elementType else {
      throw Problem(
        .corrupt,
        "\(configuration.model) takes \(tensor); inputs may be float32, uint8 or int32")
    }
    name = tensor.name
    elementType = type
    self.source = source
    isChannelsLast = configuration.isChannelsLast
    padValue = configuration.padValue
    fit = configuration.fit
    let batch = try configuration.batchSize(for: tensor)
    isBatchFree = (tensor.dimensions.first ?? 1) < 1
    switch source {
    case .text:
      throw Problem(
        .configuration,
        "an ONNX teacher takes pictures or features, the data set has \(source); a teacher of texts "
          + "runs in a worker or is a network of this program")
    case .features(let width):
      guard tensor.dimensions.count == 2, [-1, width].contains(tensor.dimensions[1]) else {
        throw unfit(tensor, source, configuration)
      }
      shape = [batch, width]
      (size, picture, channels) = ((1, width), (1, width), [0])
    case .image(let height, let width, let count):
      let model = try ModelImage(tensor, configuration, source)
      size = (
        model.height ?? configuration.size?.height ?? height,
        model.width ?? configuration.size?.width ?? width
      )
      channels = try channelOrder(from: count, to: model.channels ?? count, configuration)
      picture = try pictureSize(of: (height, width), in: size, configuration)
      shape =
        isChannelsLast
        ? [batch, size.height, size.width, channels.count]
        : [batch, channels.count, size.height, size.width]
    }
    if case .image = source {
      divideBy = configuration.divideBy ?? (type == .float32 ? 255 : 1)
    } else {
      divideBy = configuration.divideBy ?? 1
    }
    mean = try perChannel(configuration.mean, channels.count, "mean", configuration)
    deviation = try perChannel(configuration.deviation, channels.count, "deviation", configuration)
    let (divideBy, mean, deviation) = (divideBy, mean, deviation)
    pixelValues = channels.indices.flatMap { channel in
      (0..<256).map { (Float($0) / divideBy - mean[channel]) / deviation[channel] }
    }
    guard type == .float32 || isPlain else {
      throw configuration.problem(
        source.isImage
          ? "input \(tensor) takes pixels as they are: leave out divide-by, mean and deviation, and "
            + "use a pad-value in 0...255"
          : "features need an input of float32, the model has \(tensor)")
    }
  }

  /// Whether values stay as they are.
  private var isPlain: Bool {
    guard case .image = source else { return false }
    return divideBy == 1 && mean.allSatisfy { $0 == 0 } && deviation.allSatisfy { $0 == 1 }
      && (0...255).contains(padValue) && padValue == padValue.rounded()
  }

  /// Everything that decides the input, for the teacher's identity.
  var identity: JSONValue {
    .object([
      "name": .string(name), "elementType": .string("\(elementType)"),
      "layout": .string(isChannelsLast ? "nhwc" : "nchw"),
      "channels": .string(channels.map(String.init).joined(separator: " ")),
      "fit": .string(fit.rawValue), "picture": .string("\(picture.height) x \(picture.width)"),
      "padValue": .text(padValue), "divideBy": .text(divideBy), "mean": .text(mean),
      "deviation": .text(deviation),
    ])
  }

  /// What features become.
  func normalised(_ feature: Float) -> Float { (feature / divideBy - mean[0]) / deviation[0] }
}

/// Height, width and channels as the model has them; `nil` where it leaves them free.
private struct ModelImage {
  let height: Int?
  let width: Int?
  let channels: Int?

  init(
    _ tensor: TensorDescription, _ configuration: ONNXConfiguration, _ source: SampleShape
  ) throws {
    guard tensor.dimensions.count == 4 else { throw unfit(tensor, source, configuration) }
    let lengths = tensor.dimensions.dropFirst().map { $0 < 0 ? nil : Optional($0) }
    if configuration.isChannelsLast {
      (height, width, channels) = (lengths[0], lengths[1], lengths[2])
    } else {
      (channels, height, width) = (lengths[0], lengths[1], lengths[2])
    }
    if let size = configuration.size, size != (height ?? size.height, width ?? size.width) {
      throw configuration.problem(
        "input.size is \(size.height) x \(size.width), the model's input is \(tensor)")
    }
  }
}

private func unfit(
  _ tensor: TensorDescription, _ source: SampleShape, _ configuration: ONNXConfiguration
) -> Problem {
  Problem(
    .corrupt,
    "\(configuration.model) takes \(tensor), the data set has \(source); pictures need an input of "
      + "four dimensions, features one of two")
}

/// The view's channel for each of the model's.
private func channelOrder(
  from source: Int, to model: Int, _ configuration: ONNXConfiguration
) throws -> [Int] {
  switch (source, model) {
  case (1, _): return [Int](repeating: 0, count: model)
  case (3, 3): return configuration.isBGR ? [2, 1, 0] : [0, 1, 2]
  case (model, _): return Array(0..<model)
  default:
    throw Problem(
      .corrupt,
      "\(configuration.model) takes \(model) channels, the data set has \(source); only grey "
        + "pictures are repeated for more channels")
  }
}

/// The part of the input that a picture fills.
private func pictureSize(
  of picture: (height: Int, width: Int), in size: (height: Int, width: Int),
  _ configuration: ONNXConfiguration
) throws -> (height: Int, width: Int) {
  switch configuration.fit {
  case .stretch: return size
  case .rightPad:
    // The width that keeps the picture's shape, rounded up.
    let width = (picture.width * size.height + picture.height - 1) / picture.height
    return (size.height, min(width, size.width))
  case .exact:
    guard picture == size else {
      throw configuration.problem(
        "the model takes pictures of \(size.height) x \(size.width), the data set has "
          + "\(picture.height) x \(picture.width): say how they are fitted with input.fit, stretch or "
          + "right-pad")
    }
    return size
  }
}

private func perChannel(
  _ numbers: [Float], _ channels: Int, _ name: String, _ configuration: ONNXConfiguration
) throws -> [Float] {
  if numbers.count == 1 { return [Float](repeating: numbers[0], count: channels) }
  guard numbers.count == channels else {
    throw configuration.problem(
      "input.\(name) has \(numbers.count) numbers for \(channels) channels")
  }
  return numbers
}

extension [TensorDescription] {
  /// The tensor that the configuration names, or the model's only one.
  func only(
    _ name: String?, _ what: String, _ configuration: ONNXConfiguration
  ) throws -> TensorDescription {
    if let name {
      if let tensor = first(where: { $0.name == name }) { return tensor }
    } else if count == 1 {
      return self[0]
    }
    let known = map(\.description).joined(separator: "; ")
    throw configuration.problem(
      name.map { "the model has no \(what) '\($0)'; it has \(known)" }
        ?? "the model has \(count) \(what)s, set \(what).name to one of them: \(known)")
  }
}

extension ONNXConfiguration {
  /// Views of a forward pass: what the model fixes, else what the configuration says.
  func batchSize(for tensor: TensorDescription) throws -> Int {
    guard let fixed = tensor.dimensions.first, fixed >= 1 else { return batch ?? 64 }
    guard batch == nil || batch == fixed else {
      throw problem("batch is \(batch!), but the model's input is \(tensor): leave out batch")
    }
    return fixed
  }
}

/// Fills a model's input; one for each thread.
struct InputFiller<Element: InputElement> {
  private let plan: InputPlan
  /// [channels, 256].
  private let pixelValues: [Element]
  private let padding: Element
  private var resize: BilinearResize?

  init(_ plan: InputPlan) {
    self.plan = plan
    pixelValues = plan.pixelValues.map { Element($0) }
    padding = Element(plan.padValue)
    if case .image(let height, let width, let channels) = plan.source,
      plan.picture != (height, width)
    {
      resize = BilinearResize(from: (height, width), to: plan.picture, channels: channels)
    }
  }

  /// Writes the views of a batch, and zeros for those that the last batch of a block lacks.
  mutating func fill(_ input: inout MutableSpan<Element>, with views: borrowing ViewBatch) {
    let size = plan.shape.dropFirst().reduce(1, *)
    precondition(views.count * size <= input.count, "\(views.count) views for \(plan.shape)")
    input.withUnsafeMutableBufferPointer { input in
      for view in 0..<views.count {
        let part = UnsafeMutableBufferPointer(rebasing: input[view * size..<(view + 1) * size])
        switch views.shape {
        case .image: fillPicture(part, views.pixels, view * views.shape.elementCount, views.shape)
        case .text: preconditionFailure("no plan is made for texts")
        case .features:
          for index in 0..<size {
            part[index] = Element(plan.normalised(views.features[view * size + index]))
          }
        }
      }
      for index in views.count * size..<input.count { input[index] = Element(0) }
    }
  }

  private mutating func fillPicture(
    _ input: UnsafeMutableBufferPointer<Element>, _ pixels: [UInt8], _ start: Int,
    _ shape: SampleShape
  ) {
    pixels.withUnsafeBufferPointer { pixels in
      let picture = UnsafeBufferPointer(rebasing: pixels[start..<start + shape.elementCount])
      guard resize != nil else { return place(picture, into: input, of: shape) }
      resize!.resize(picture)
      resize!.pixels.withUnsafeBufferPointer { place($0, into: input, of: shape) }
    }
  }

  /// Looks up every pixel of a picture that has its size by now.
  private func place(
    _ picture: UnsafeBufferPointer<UInt8>, into input: UnsafeMutableBufferPointer<Element>,
    of shape: SampleShape
  ) {
    guard case .image(_, _, let sourceChannels) = shape else { return }
    let (height, width) = (plan.size.height, plan.size.width)
    let channels = plan.channels.count
    let (pixelStep, channelStep) = plan.isChannelsLast ? (channels, 1) : (1, height * width)
    pixelValues.withUnsafeBufferPointer { values in
      for channel in 0..<channels {
        let source = plan.channels[channel]
        for y in 0..<height {
          var target = channel * channelStep + y * width * pixelStep
          let row = y * plan.picture.width
          let filled = y < plan.picture.height ? plan.picture.width : 0
          for x in 0..<filled {
            let pixel = picture[(row &+ x) &* sourceChannels &+ source]
            input[target] = values[channel &* 256 &+ Int(pixel)]
            target &+= pixelStep
          }
          for _ in filled..<width {
            input[target] = padding
            target &+= pixelStep
          }
        }
      }
    }
  }
}

extension SampleShape {
  /// Whether samples are pictures.
  var isImage: Bool { if case .image = self { true } else { false } }
}
