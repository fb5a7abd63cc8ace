import BLAS
import Basics

/// Two-dimensional convolution without bias, NHWC, as im2col and one matrix product per tile.
///
/// Weights are [kernel, kernel, inputChannels, outputChannels]; the input is padded with zeros.
final class Convolution: Layer {
  let inputShape: LayerShape
  let outputShape: LayerShape
  let kernel: Int
  let stride: Int
  let padding: Int
  let weight: Parameter
  /// False for the first layer of a network: the picture needs no gradient.
  let needsInputGradient: Bool

  private var output = Workspace()
  private var inputGradient = Workspace()
  private var input: Tensor?
  private let patches: [FloatMemory]
  private var weightGradients: [FloatMemory] = []
  private let samplesPerTile: Int

  init(
    _ name: String, input shape: LayerShape, channels: Int, kernel: Int, stride: Int = 1,
    padding: Int, needsInputGradient: Bool = true, generator: inout SplitMix64
  ) {
    inputShape = shape
    self.kernel = kernel
    self.stride = stride
    self.padding = padding
    self.needsInputGradient = needsInputGradient
    outputShape = LayerShape(
      height: (shape.height + 2 * padding - kernel) / stride + 1,
      width: (shape.width + 2 * padding - kernel) / stride + 1, channels: channels)
    let patchLength = kernel * kernel * shape.channels
    weight = Parameter("\(name).weight", [kernel, kernel, shape.channels, channels])
    weight.fillForReLU(fanIn: patchLength, from: &generator)
    // A tile's patches should stay in the second-level cache: about half a megabyte.
    let patchesPerSample = outputShape.height * outputShape.width
    samplesPerTile = max(1, 131_072 / (patchesPerSample * patchLength))
    let tile = samplesPerTile * patchesPerSample * patchLength
    patches = (0..<Parallel.pieces).map { _ in FloatMemory(count: tile) }
  }

  var parameters: [Parameter] { [weight] }
  private var patchLength: Int { kernel * kernel * inputShape.channels }
  private var positions: Int { outputShape.height * outputShape.width }

  func forward(_ input: Tensor, mode: Mode, parallel: Parallel) -> Tensor {
    self.input = input
    let output = output.tensor(outputShape, count: input.count)
    let (weights, patches) = (weight.values, patches)
    parallel.forEachPiece(of: input.count) { [self] piece, samples in
      forEachTile(in: samples) { tile in
        gatherPatches(of: input, tile, into: patches[piece].base)
        multiply(
          MatrixView(patches[piece].base, stride: patchLength),
          MatrixView(weights.base, stride: outputShape.channels),
          into: output.sample(tile.lowerBound), rows: tile.count * positions,
          columns: outputShape.channels, inner: patchLength)
      }
    }
    return output
  }

  func backward(_ gradient: Tensor, parallel: Parallel) -> Tensor? {
    guard let input else { preconditionFailure("backward before forward") }
    if weightGradients.isEmpty {
      weightGradients = (0..<Parallel.pieces).map { _ in FloatMemory(count: weight.count) }
    }
    let inputGradient =
      needsInputGradient ? inputGradient.tensor(inputShape, count: gradient.count) : nil
    let (weights, patches, partial) = (weight.values, patches, weightGradients)
    parallel.forEachPiece(of: gradient.count) { [self] piece, samples in
      partial[piece].zero()
      forEachTile(in: samples) { tile in
        let rows = tile.count * positions
        let above = gradient.sample(tile.lowerBound)
        // dW += patches^T dY
        gatherPatches(of: input, tile, into: patches[piece].base)
        multiply(
          MatrixView(patches[piece].base, stride: patchLength, transposed: true),
          MatrixView(above, stride: outputShape.channels),
          into: partial[piece].base, rows: patchLength, columns: outputShape.channels,
          inner: rows, accumulate: true)
        // dX = scatter(dY W^T)
        guard let inputGradient else { return }
        multiply(
          MatrixView(above, stride: outputShape.channels),
          MatrixView(weights.base, stride: outputShape.channels, transposed: true),
          into: patches[piece].base, rows: rows, columns: patchLength,
          inner: outputShape.channels)
        scatterPatches(patches[piece].base, tile, into: inputGradient)
      }
    }
    sum(weightGradients, into: weight.gradient)
    return inputGradient
  }

  private func forEachTile(in samples: Range<Int>, _ body: (Range<Int>) -> Void) {
    var start = samples.lowerBound
    while start < samples.upperBound {
      let end = min(start + samplesPerTile, samples.upperBound)
      body(start..<end)
      start = end
    }
  }

  /// The pixels of kernel row `ky` under output pixel (y, x): where they start in the patch and in the
  /// sample, and how many floats lie inside the picture; the rest is padding.
  @inline(__always)
  private func overlap(_ x: Int) -> (skipped: Int, source: Int, count: Int) {
    let left = x * stride - padding
    let first = max(left, 0)
    let end = min(left + kernel, inputShape.width)
    let channels = inputShape.channels
    return ((first - left) * channels, first * channels, max(end - first, 0) * channels)
  }

  private func gatherPatches(
    of input: Tensor, _ tile: Range<Int>, into patches: UnsafeMutablePointer<Float>
  ) {
    let rowLength = kernel * inputShape.channels
    let pixelRow = inputShape.width * inputShape.channels
    var patch = patches
    for index in tile {
      let sample = UnsafePointer(input.sample(index))
      for y in 0..<outputShape.height {
        for x in 0..<outputShape.width {
          let (skipped, source, count) = overlap(x)
          for ky in 0..<kernel {
            let row = y * stride - padding + ky
            let target = patch + ky * rowLength
            if row < 0 || row >= inputShape.height {
              target.update(repeating: 0, count: rowLength)
              continue
            }
            if count == rowLength && rowLength <= FloatMemory.slack {
              // A call would cost more than the copy. What is too much is overwritten by the next row.
              moveEight(sample + row * pixelRow + source, to: target)
              continue
            }
            if count < rowLength { target.update(repeating: 0, count: rowLength) }
            (target + skipped).update(from: sample + row * pixelRow + source, count: count)
          }
          patch += patchLength
        }
      }
    }
  }

  private func scatterPatches(
    _ patches: UnsafeMutablePointer<Float>, _ tile: Range<Int>, into gradient: Tensor
  ) {
    let rowLength = kernel * inputShape.channels
    let pixelRow = inputShape.width * inputShape.channels
    var patch = UnsafePointer(patches)
    for index in tile {
      let sample = gradient.sample(index)
      sample.update(repeating: 0, count: inputShape.count)
      for y in 0..<outputShape.height {
        for x in 0..<outputShape.width {
          let (skipped, target, count) = overlap(x)
          for ky in 0..<kernel {
            let row = y * stride - padding + ky
            if row < 0 || row >= inputShape.height { continue }
            add(
              patch + ky * rowLength + skipped, to: sample + row * pixelRow + target, count: count)
          }
          patch += patchLength
        }
      }
    }
  }
}
