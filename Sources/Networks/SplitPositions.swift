/// Makes a sample of every position of a sample: [B, T * D] seen as [B * T, D], without a copy.
///
/// What comes behind it works on each position alone, with the same weights.
final class SplitPositions: Layer {
  let outputShape: LayerShape
  /// T.
  let positions: Int
  private let inputShape: LayerShape
  private var output: Tensor?
  private var inputGradient: Tensor?

  /// - Precondition: `positions` divides the numbers of `input`, which are in the order of positions.
  init(input: LayerShape, positions: Int) {
    precondition(
      positions >= 1 && input.count.isMultiple(of: positions),
      "\(input.count) numbers for \(positions) positions")
    inputShape = input
    self.positions = positions
    outputShape = LayerShape(features: input.count / positions)
  }

  var parameters: [Parameter] { [] }

  func forward(_ input: Tensor, mode: Mode, parallel: Parallel) -> Tensor {
    view(input, as: outputShape, count: input.count * positions, reusing: &output)
  }

  func backward(_ gradient: Tensor, parallel: Parallel) -> Tensor? {
    view(gradient, as: inputShape, count: gradient.count / positions, reusing: &inputGradient)
  }

  private func view(
    _ tensor: Tensor, as shape: LayerShape, count: Int, reusing kept: inout Tensor?
  ) -> Tensor {
    if let kept, kept.sharesMemory(with: tensor) {
      kept.count = count
      return kept
    }
    let fresh = Tensor(viewing: tensor, as: shape, count: count)
    kept = fresh
    return fresh
  }
}
