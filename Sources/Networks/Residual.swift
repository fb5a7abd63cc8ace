import Basics

/// Two 3x3 convolutions and a shortcut.
///
/// The CIFAR form of He et al. 2015 (arXiv:1512.03385), option A.
/// Where the block halves the picture and widens the channels, the shortcut takes every second pixel
/// and fills the new channels with zeros, so it has no parameters.
final class ResidualBlock: Layer {
  let outputShape: LayerShape
  private let inputShape: LayerShape
  private let stride: Int
  private let layers: [any Layer]
  private var output = Workspace()
  private var gradientAtSum = Workspace()
  private var lastOutput: Tensor?

  init(
    _ name: String, input: LayerShape, channels: Int, stride: Int, generator: inout SplitMix64
  ) {
    inputShape = input
    self.stride = stride
    let first = Convolution(
      "\(name).convolution1", input: input, channels: channels, kernel: 3, stride: stride,
      padding: 1, generator: &generator)
    let second = Convolution(
      "\(name).convolution2", input: first.outputShape, channels: channels, kernel: 3, padding: 1,
      generator: &generator)
    layers = [
      first, BatchNorm("\(name).norm1", shape: first.outputShape, relu: true),
      second, BatchNorm("\(name).norm2", shape: second.outputShape, relu: false),
    ]
    outputShape = second.outputShape
  }

  var parameters: [Parameter] { layers.flatMap(\.parameters) }

  func forward(_ input: Tensor, mode: Mode, parallel: Parallel) -> Tensor {
    var branch = input
    for layer in layers { branch = layer.forward(branch, mode: mode, parallel: parallel) }
    let output = output.tensor(outputShape, count: input.count)
    lastOutput = output
    let (above, below) = (branch, input)
    parallel.forEachPiece(of: input.count) { [self] _, samples in
      for sample in samples {
        output.sample(sample).update(from: above.sample(sample), count: outputShape.count)
        forEachShortcut { from, to, count in
          add(below.sample(sample) + from, to: output.sample(sample) + to, count: count)
        }
        let y = output.sample(sample)
        for i in 0..<outputShape.count { y[i] = max(y[i], 0) }
      }
    }
    return output
  }

  func backward(_ gradient: Tensor, parallel: Parallel) -> Tensor? {
    guard let lastOutput else { preconditionFailure("backward before forward") }
    let masked = gradientAtSum.tensor(outputShape, count: gradient.count)
    parallel.forEachPiece(of: gradient.count) { [self] _, samples in
      for sample in samples {
        let (y, dy) = (lastOutput.sample(sample), gradient.sample(sample))
        let target = masked.sample(sample)
        for i in 0..<outputShape.count { target[i] = y[i] > 0 ? dy[i] : 0 }
      }
    }
    // The branch may overwrite the gradient it is given: keep `masked` for the shortcut.
    gradient.base.update(from: masked.base, count: gradient.count * outputShape.count)
    var branch = gradient
    for layer in layers.reversed() {
      guard let below = layer.backward(branch, parallel: parallel) else { return nil }
      branch = below
    }
    let result = branch
    parallel.forEachPiece(of: gradient.count) { [self] _, samples in
      for sample in samples {
        forEachShortcut { to, from, count in
          add(masked.sample(sample) + from, to: result.sample(sample) + to, count: count)
        }
      }
    }
    return result
  }

  /// Runs of floats that the shortcut carries: (place in the input, place in the output, count).
  @inline(__always)
  private func forEachShortcut(_ body: (Int, Int, Int) -> Void) {
    if inputShape == outputShape { return body(0, 0, inputShape.count) }
    for y in 0..<outputShape.height {
      for x in 0..<outputShape.width {
        body(
          (y * stride * inputShape.width + x * stride) * inputShape.channels,
          (y * outputShape.width + x) * outputShape.channels, inputShape.channels)
      }
    }
  }
}
