import Glibc

/// Stochastic gradient descent with Nesterov momentum.
///
/// Sutskever et al. 2013, in PyTorch's form:
/// g = gradient + weightDecay w;  v = momentum v + g;  w -= rate (g + momentum v).
/// Weight decay leaves one-dimensional parameters (biases, batch-norm scales) alone.
public struct StochasticGradientDescent: Sendable {
  /// Momentum, 0..<1.
  public var momentum: Float
  /// Weight decay per step, before the learning rate.
  public var weightDecay: Float

  /// The largest norm of all gradients together; `nil` leaves gradients as they are.
  ///
  /// Longer ones are scaled down to it (Pascanu et al. 2013, arXiv:1211.5063).
  public var clipNorm: Float?

  /// All factors.
  public init(momentum: Float, weightDecay: Float, clipNorm: Float? = nil) {
    self.momentum = momentum
    self.weightDecay = weightDecay
    self.clipNorm = clipNorm
  }

  /// One step with the gradients of the latest `backward`.
  public func step(_ parameters: [Parameter], learningRate: Float) {
    let scale = clippingScale(parameters)
    for parameter in parameters where parameter.isTrained {
      let decay = parameter.isDecayed ? weightDecay : 0
      let (w, g, v) = (
        parameter.values.base, UnsafePointer(parameter.gradient.base), parameter.momentum.base
      )
      for i in 0..<parameter.count {
        let gradient = scale * g[i] + decay * w[i]
        v[i] = momentum * v[i] + gradient
        w[i] -= learningRate * (gradient + momentum * v[i])
      }
    }
  }

  /// 1, or what brings the norm of all gradients down to `clipNorm`.
  private func clippingScale(_ parameters: [Parameter]) -> Float {
    guard let clipNorm else { return 1 }
    var squares = 0.0
    for parameter in parameters where parameter.isTrained {
      let g = UnsafePointer(parameter.gradient.base)
      for i in 0..<parameter.count { squares += Double(g[i]) * Double(g[i]) }
    }
    return Float(min(1, Double(clipNorm) / max(squares.squareRoot(), 1e-30)))
  }
}

/// A linear warm-up, then half a cosine down to zero (Loshchilov and Hutter 2017, arXiv:1608.03983).
public struct CosineSchedule: Sendable {
  /// The highest learning rate.
  public var peak: Double
  /// Steps of linear warm-up.
  public var warmUpSteps: Int
  /// All steps.
  public var steps: Int

  /// A schedule over `steps` steps.
  public init(peak: Double, warmUpSteps: Int, steps: Int) {
    self.peak = peak
    self.warmUpSteps = warmUpSteps
    self.steps = steps
  }

  /// The learning rate of a step, 0..<steps.
  public func learningRate(at step: Int) -> Float {
    if step < warmUpSteps { return Float(peak * Double(step + 1) / Double(warmUpSteps)) }
    let progress = Double(step - warmUpSteps) / Double(max(steps - warmUpSteps, 1))
    return Float(peak * 0.5 * (1 + cos(Double.pi * progress)))
  }
}
