import BLAS
import Basics

/// y = x W + b, weights [inputs, outputs].
final class Linear: Layer {
  let outputShape: LayerShape
  let weight: Parameter
  let bias: Parameter
  /// False for the first layer of a network.
  let needsInputGradient: Bool
  private let inputShape: LayerShape
  private var output = Workspace()
  private var inputGradient = Workspace()
  private var input: Tensor?

  /// A layer over all numbers of `input`, in row-major order.
  init(
    _ name: String, input: LayerShape, outputs: Int, needsInputGradient: Bool = true,
    generator: inout SplitMix64
  ) {
    inputShape = input
    outputShape = LayerShape(features: outputs)
    self.needsInputGradient = needsInputGradient
    weight = Parameter("\(name).weight", [input.count, outputs])
    weight.fillForReLU(fanIn: input.count, from: &generator)
    bias = Parameter("\(name).bias", [outputs])
  }

  var parameters: [Parameter] { [weight, bias] }
  /// Numbers per sample that come in.
  var inputWidth: Int { inputShape.count }
  private var outputs: Int { outputShape.channels }

  func forward(_ input: Tensor, mode: Mode, parallel: Parallel) -> Tensor {
    self.input = input
    let output = output.tensor(outputShape, count: input.count)
    for row in 0..<input.count {
      output.sample(row).update(from: bias.values.base, count: outputs)
    }
    multiply(
      MatrixView(input.base, stride: inputWidth), MatrixView(weight.values.base, stride: outputs),
      into: output.base, rows: input.count, columns: outputs, inner: inputWidth, accumulate: true)
    return output
  }

  func backward(_ gradient: Tensor, parallel: Parallel) -> Tensor? {
    guard let input else { preconditionFailure("backward before forward") }
    // dW = x^T dy;  db = sum of the rows of dy;  dx = dy W^T
    multiply(
      MatrixView(input.base, stride: inputWidth, transposed: true),
      MatrixView(gradient.base, stride: outputs),
      into: weight.gradient.base, rows: inputWidth, columns: outputs, inner: gradient.count)
    bias.gradient.zero()
    for row in 0..<gradient.count {
      add(gradient.sample(row), to: bias.gradient.base, count: outputs)
    }
    guard needsInputGradient else { return nil }
    let inputGradient = inputGradient.tensor(inputShape, count: gradient.count)
    multiply(
      MatrixView(gradient.base, stride: outputs),
      MatrixView(weight.values.base, stride: outputs, transposed: true),
      into: inputGradient.base, rows: gradient.count, columns: inputWidth, inner: outputs)
    return inputGradient
  }
}
