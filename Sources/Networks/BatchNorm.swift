/// Batch normalisation over all pixels of a batch, then ReLU when asked for, in one pass.
///
/// Ioffe and Szegedy 2015, arXiv:1502.03167. Running statistics move by a tenth per step, and the
/// running variance is the unbiased one, as PyTorch's `BatchNorm2d` does.
final class BatchNorm: Layer {
  static let epsilon: Float = 1e-5
  static let momentum: Float = 0.1

  let outputShape: LayerShape
  let appliesReLU: Bool
  let scale: Parameter
  let shift: Parameter
  let runningMean: Parameter
  let runningVariance: Parameter

  private var output = Workspace()
  private var inputGradient = Workspace()
  private var input: Tensor?
  private var lastOutput: Tensor?
  private var mean: [Float]
  private var inverseDeviation: [Float]
  // Per-channel factors repeated along a row of pixels: the inner loops then run over whole rows.
  private let rowFactors: [FloatMemory]
  private let partialSums: [FloatMemory]

  init(_ name: String, shape: LayerShape, relu: Bool) {
    outputShape = shape
    appliesReLU = relu
    let channels = shape.channels
    scale = Parameter("\(name).scale", [channels], fill: 1)
    shift = Parameter("\(name).shift", [channels])
    runningMean = Parameter("\(name).running_mean", [channels], isTrained: false)
    runningVariance = Parameter("\(name).running_variance", [channels], isTrained: false, fill: 1)
    mean = [Float](repeating: 0, count: channels)
    inverseDeviation = [Float](repeating: 0, count: channels)
    rowFactors = (0..<3).map { _ in FloatMemory(count: shape.width * channels) }
    partialSums = (0..<Parallel.pieces).map { _ in FloatMemory(count: 2 * shape.width * channels) }
  }

  var parameters: [Parameter] { [scale, shift, runningMean, runningVariance] }
  private var channels: Int { outputShape.channels }
  private var rowLength: Int { outputShape.width * outputShape.channels }

  func forward(_ input: Tensor, mode: Mode, parallel: Parallel) -> Tensor {
    self.input = input
    switch mode {
    case .training: measure(input, parallel)
    case .inference:
      for c in 0..<channels {
        mean[c] = runningMean.values.base[c]
        inverseDeviation[c] = 1 / (runningVariance.values.base[c] + Self.epsilon).squareRoot()
      }
    }
    // y = x * factor + offset
    repeatAlongRow(0) { [self] c in scale.values.base[c] * inverseDeviation[c] }
    repeatAlongRow(1) { [self] c in
      shift.values.base[c] - mean[c] * scale.values.base[c] * inverseDeviation[c]
    }
    let output = output.tensor(outputShape, count: input.count)
    lastOutput = output
    let (factor, offset, relu, length) = (rowFactors[0], rowFactors[1], appliesReLU, rowLength)
    forEachRow(input.count, parallel) { row in
      let (x, y) = (UnsafePointer(input.base + row * length), output.base + row * length)
      let (a, b) = (UnsafePointer(factor.base), UnsafePointer(offset.base))
      if relu {
        for i in 0..<length { y[i] = max(x[i] * a[i] + b[i], 0) }
      } else {
        for i in 0..<length { y[i] = x[i] * a[i] + b[i] }
      }
    }
    return output
  }

  /// With xhat = (x - mean) / deviation and n pixels:
  /// dscale = sum dy xhat;  dshift = sum dy;
  /// dx = scale / deviation * (dy - dshift / n - xhat dscale / n).
  func backward(_ gradient: Tensor, parallel: Parallel) -> Tensor? {
    guard let input, let lastOutput else { preconditionFailure("backward before forward") }
    let length = rowLength
    if appliesReLU {
      forEachRow(gradient.count, parallel) { row in
        let y = UnsafePointer(lastOutput.base + row * length)
        let dy = gradient.base + row * length
        for i in 0..<length { dy[i] = y[i] > 0 ? dy[i] : 0 }
      }
    }
    let (sums, products) = columnSums(gradient, weightedBy: input, parallel)
    let pixels = Float(gradient.count * outputShape.height * outputShape.width)
    // dx = a dy + b x + c, per channel
    for c in 0..<channels {
      let dscale = (Float(products[c]) - mean[c] * Float(sums[c])) * inverseDeviation[c]
      scale.gradient.base[c] = dscale
      shift.gradient.base[c] = Float(sums[c])
    }
    repeatAlongRow(0) { [self] c in scale.values.base[c] * inverseDeviation[c] }
    repeatAlongRow(1) { [self] c in
      -scale.values.base[c] * inverseDeviation[c] * inverseDeviation[c] * scale.gradient.base[c]
        / pixels
    }
    repeatAlongRow(2) { [self] c in
      -scale.values.base[c] * inverseDeviation[c]
        * (shift.gradient.base[c] - mean[c] * inverseDeviation[c] * scale.gradient.base[c]) / pixels
    }
    let inputGradient = inputGradient.tensor(outputShape, count: gradient.count)
    let (first, second, third) = (rowFactors[0], rowFactors[1], rowFactors[2])
    forEachRow(gradient.count, parallel) { row in
      let (dy, x) = (
        UnsafePointer(gradient.base + row * length), UnsafePointer(input.base + row * length)
      )
      let dx = inputGradient.base + row * length
      let (a, b, c) = (first.base, second.base, third.base)
      for i in 0..<length { dx[i] = a[i] * dy[i] + b[i] * x[i] + c[i] }
    }
    return inputGradient
  }

  private func measure(_ input: Tensor, _ parallel: Parallel) {
    let (sums, squares) = columnSums(input, weightedBy: input, parallel)
    let pixels = Double(input.count * outputShape.height * outputShape.width)
    for c in 0..<channels {
      let average = sums[c] / pixels
      let variance = max(squares[c] / pixels - average * average, 0)
      mean[c] = Float(average)
      inverseDeviation[c] = Float(1 / (variance + Double(Self.epsilon)).squareRoot())
      let unbiased = Float(variance * pixels / max(pixels - 1, 1))
      let (m, v) = (runningMean.values.base, runningVariance.values.base)
      m[c] += Self.momentum * (mean[c] - m[c])
      v[c] += Self.momentum * (unbiased - v[c])
    }
  }

  /// Per channel: the sum of `values`, and the sum of `values * weights`.
  ///
  /// Rows of one sample are added in single precision, samples in double.
  private func columnSums(_ values: Tensor, weightedBy weights: Tensor, _ parallel: Parallel) -> (
    [Double], [Double]
  ) {
    let (length, rows, channels, partial) = (rowLength, outputShape.height, channels, partialSums)
    var totals = [Double](repeating: 0, count: 2 * channels * Parallel.pieces)
    totals.withUnsafeMutableBufferPointer { totals in
      parallel.forEachPiece(of: values.count) { piece, samples in
        let (sums, products) = (partial[piece].base, partial[piece].base + length)
        for sample in samples {
          partial[piece].zero()
          for row in 0..<rows {
            let x = UnsafePointer(values.sample(sample) + row * length)
            let w = UnsafePointer(weights.sample(sample) + row * length)
            for i in 0..<length {
              sums[i] += x[i]
              products[i] += x[i] * w[i]
            }
          }
          let total = totals.baseAddress! + piece * 2 * channels
          for pixel in stride(from: 0, to: length, by: channels) {
            for c in 0..<channels {
              total[c] += Double(sums[pixel + c])
              total[channels + c] += Double(products[pixel + c])
            }
          }
        }
      }
    }
    var (sums, products) = (
      [Double](repeating: 0, count: channels), [Double](repeating: 0, count: channels)
    )
    for piece in 0..<Parallel.pieces {
      for c in 0..<channels {
        sums[c] += totals[piece * 2 * channels + c]
        products[c] += totals[piece * 2 * channels + channels + c]
      }
    }
    return (sums, products)
  }

  private func forEachRow(_ count: Int, _ parallel: Parallel, _ body: (Int) -> Void) {
    parallel.forEachPiece(of: count * outputShape.height) { _, rows in
      for row in rows { body(row) }
    }
  }

  private func repeatAlongRow(_ index: Int, _ value: (Int) -> Float) {
    let row = rowFactors[index].base
    for c in 0..<channels { row[c] = value(c) }
    for pixel in stride(from: channels, to: rowLength, by: channels) {
      (row + pixel).update(from: row, count: channels)
    }
  }
}
