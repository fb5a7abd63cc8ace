import BLAS
import Basics
import Foundation

/// Rows of logits that look like a trained classifier's: low-rank, with classes that resemble each
/// other, a little noise, and a given confidence.
///
/// A sample's feature is its label's direction plus noise, in `width` dimensions; its logits are the
/// feature's products with all directions, and noise of a tenth of their size.
struct SyntheticTeacher {
  /// C.
  let classes: Int
  private let seed: UInt64
  private let directions: [Float]
  private let noise: [Float]
  /// Makes the mean of the largest probability what was asked for.
  private var scale: Float = 1

  private static let width = 64

  /// - Parameter confidence: the mean of the largest probability, 0...1.
  init(classes: Int, confidence: Double, seed: UInt64) {
    self.classes = classes
    self.seed = seed
    var generator = SplitMix64(seed: seed)
    directions = (0..<classes * Self.width).map { _ in normal(&generator) }
    noise = (0..<1 << 16).map { _ in normal(&generator) }
    let rows = rows(0..<512).logits
    var (low, high): (Float, Float) = (0, 10)
    while high - low > 1e-3 {
      let middle = (low + high) / 2
      if meanConfidence(rows, scale: middle) < confidence { low = middle } else { high = middle }
    }
    scale = high
  }

  /// The label of a sample.
  func label(_ sample: Int) -> Int {
    var generator = generator(sample)
    return Int.random(in: 0..<classes, using: &generator)
  }

  private func generator(_ sample: Int) -> SplitMix64 {
    var start = SplitMix64(seed: seed &+ 1)
    return SplitMix64(seed: start.next() &+ UInt64(sample))
  }

  /// The logits [samples, C] and labels of some samples.
  func rows(_ samples: Range<Int>) -> (logits: [Float], labels: [Int32]) {
    let width = Self.width
    var labels: [Int32] = []
    var features: [Float] = []
    var noises: [Int] = []
    for sample in samples {
      var generator = generator(sample)
      let label = Int.random(in: 0..<classes, using: &generator)
      labels.append(Int32(label))
      for index in 0..<width {
        let feature = 0.5 * directions[label * width + index] + normal(&generator)
        features.append(scale * feature / Float(width).squareRoot())
      }
      noises.append(Int.random(in: 0..<noise.count, using: &generator))
    }
    var logits = [Float](repeating: 0, count: samples.count * classes)
    logits.withUnsafeMutableBufferPointer {
      multiply(
        MatrixView(features, stride: width),
        MatrixView(directions, stride: width, transposed: true),
        into: $0.baseAddress!, rows: samples.count, columns: classes, inner: width)
      for row in 0..<samples.count {
        for c in 0..<classes {
          $0[row * classes + c] += 0.1 * scale * noise[(noises[row] + c) % noise.count]
        }
      }
    }
    return (logits, labels)
  }

  private func meanConfidence(_ logits: [Float], scale: Float) -> Double {
    let rows = logits.count / classes
    let total = (0..<rows).reduce(0.0) { total, row in
      let values = logits[row * classes..<(row + 1) * classes]
      let largest = values.max() ?? 0
      return total + 1 / values.reduce(0) { $0 + Double(exp(scale * ($1 - largest))) }
    }
    return total / Double(rows)
  }
}
