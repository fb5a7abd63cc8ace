/// The largest of each `size` x `size` window, windows side by side.
final class MaxPool: Layer {
  let outputShape: LayerShape
  private let inputShape: LayerShape
  private let size: Int
  private var output = Workspace()
  private var inputGradient = Workspace()
  private var winners: [Int32] = []

  init(input: LayerShape, size: Int) {
    inputShape = input
    self.size = size
    outputShape = LayerShape(
      height: input.height / size, width: input.width / size, channels: input.channels)
  }

  var parameters: [Parameter] { [] }

  func forward(_ input: Tensor, mode: Mode, parallel: Parallel) -> Tensor {
    let output = output.tensor(outputShape, count: input.count)
    let needed = input.count * outputShape.count
    if winners.count < needed { winners = [Int32](repeating: 0, count: needed) }
    let channels = inputShape.channels
    let (inputs, outputs, size) = (inputShape, outputShape, size)
    winners.withUnsafeMutableBufferPointer { winners in
      let winners = winners.baseAddress!
      parallel.forEachPiece(of: input.count) { _, samples in
        for sample in samples {
          let x = UnsafePointer(input.sample(sample))
          let best = output.sample(sample)
          let winner = winners + sample * outputs.count
          for y in 0..<outputs.height {
            for column in 0..<outputs.width {
              let target = (y * outputs.width + column) * channels
              let corner = (y * size * inputs.width + column * size) * channels
              for c in 0..<channels {
                best[target + c] = x[corner + c]
                winner[target + c] = Int32(truncatingIfNeeded: corner + c)
              }
              for window in 1..<(size * size) {
                let place = corner + (window / size * inputs.width + window % size) * channels
                for c in 0..<channels where x[place + c] > best[target + c] {
                  best[target + c] = x[place + c]
                  winner[target + c] = Int32(truncatingIfNeeded: place + c)
                }
              }
            }
          }
        }
      }
    }
    return output
  }

  func backward(_ gradient: Tensor, parallel: Parallel) -> Tensor? {
    let inputGradient = inputGradient.tensor(inputShape, count: gradient.count)
    for sample in 0..<gradient.count {
      let dx = inputGradient.sample(sample)
      dx.update(repeating: 0, count: inputShape.count)
      let dy = gradient.sample(sample)
      for i in 0..<outputShape.count {
        dx[Int(winners[sample * outputShape.count + i])] += dy[i]
      }
    }
    return inputGradient
  }
}

/// The mean over groups of numbers that lie one behind the other: over all pixels of each channel, or over the
/// rows of each column and channel.
final class AveragePool: Layer {
  let outputShape: LayerShape
  private let inputShape: LayerShape
  private var output = Workspace()
  private var inputGradient = Workspace()

  /// - Precondition: the numbers of an output divide those of an input.
  private init(input: LayerShape, output: LayerShape) {
    precondition(input.count.isMultiple(of: output.count), "\(input.count) to \(output.count)")
    inputShape = input
    outputShape = output
  }

  /// Keeps the channels.
  static func overPixels(of input: LayerShape) -> AveragePool {
    AveragePool(input: input, output: LayerShape(features: input.channels))
  }

  /// Keeps the columns and their channels.
  static func overRows(of input: LayerShape) -> AveragePool {
    AveragePool(
      input: input, output: LayerShape(height: 1, width: input.width, channels: input.channels))
  }

  var parameters: [Parameter] { [] }
  private var groups: Int { inputShape.count / outputShape.count }

  func forward(_ input: Tensor, mode: Mode, parallel: Parallel) -> Tensor {
    let output = output.tensor(outputShape, count: input.count)
    let (groups, length) = (groups, outputShape.count)
    parallel.forEachPiece(of: input.count) { _, samples in
      for sample in samples {
        let mean = output.sample(sample)
        mean.update(repeating: 0, count: length)
        for group in 0..<groups {
          add(input.sample(sample) + group * length, to: mean, count: length)
        }
        for i in 0..<length { mean[i] /= Float(groups) }
      }
    }
    return output
  }

  func backward(_ gradient: Tensor, parallel: Parallel) -> Tensor? {
    let inputGradient = inputGradient.tensor(inputShape, count: gradient.count)
    let (groups, length) = (groups, outputShape.count)
    parallel.forEachPiece(of: gradient.count) { _, samples in
      for sample in samples {
        let dy = gradient.sample(sample)
        for i in 0..<length { dy[i] /= Float(groups) }
        for group in 0..<groups {
          (inputGradient.sample(sample) + group * length).update(from: dy, count: length)
        }
      }
    }
    return inputGradient
  }
}

/// max(x, 0), in place.
final class ReLU: Layer {
  let outputShape: LayerShape
  private var output: Tensor?

  init(shape: LayerShape) { outputShape = shape }

  var parameters: [Parameter] { [] }

  func forward(_ input: Tensor, mode: Mode, parallel: Parallel) -> Tensor {
    let x = input.base
    for i in 0..<input.count * outputShape.count { x[i] = max(x[i], 0) }
    output = input
    return input
  }

  func backward(_ gradient: Tensor, parallel: Parallel) -> Tensor? {
    guard let output else { preconditionFailure("backward before forward") }
    let (y, dy) = (UnsafePointer(output.base), gradient.base)
    for i in 0..<gradient.count * outputShape.count { dy[i] = y[i] > 0 ? dy[i] : 0 }
    return gradient
  }
}
