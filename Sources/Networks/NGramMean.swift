import Basics

/// The mean of the embeddings of a text's n-grams, all runs of 1 to 4 bytes, each hashed into a bucket.
///
/// As in fastText (Joulin et al. 2016, arXiv:1607.01759), with bytes in place of words: runs begin at every
/// byte, also inside a character, wherever they lie in the text. The input is one row of bytes, the text and
/// then zeros. An n-gram's bucket is the high word of `(FNV-1a of its bytes * 0x9E3779B1 mod 2^32) * buckets`,
/// FNV-1a being the 32-bit form with the basis 0x811C9DC5 and the prime 0x01000193.
final class NGramMean: Layer {
  /// Bytes of the longest n-gram.
  static let longest = 4
  /// Widths are a multiple of this, so that rows are moved in whole vectors.
  static let lanes = 8

  let outputShape: LayerShape
  let weight: Parameter
  private let inputShape: LayerShape
  private let buckets: Int
  private var output = Workspace()
  /// The buckets of each sample's n-grams, [samples, longest * bytes] of which `counts` are in use.
  private var places: [Int32] = []
  private var counts: [Int] = []

  /// A layer over texts of `input.width` bytes.
  ///
  /// - Precondition: `width` is a multiple of `lanes`.
  init(
    _ name: String, input: LayerShape, buckets: Int, width: Int, generator: inout SplitMix64
  ) {
    precondition(width % Self.lanes == 0, "a width of \(width)")
    inputShape = input
    outputShape = LayerShape(features: width)
    self.buckets = buckets
    weight = Parameter("\(name).weight", [buckets, width])
    // A normalisation follows, so this scale only sets how far a first step turns the rows; half was
    // much too stiff, a tenth of this no better (docs/decisions/0018-texts.md).
    weight.fill(within: 0.05, from: &generator)
  }

  var parameters: [Parameter] { [weight] }
  private var width: Int { outputShape.channels }
  private var mostPlaces: Int { Self.longest * inputShape.width }

  func forward(_ input: Tensor, mode: Mode, parallel: Parallel) -> Tensor {
    let output = output.tensor(outputShape, count: input.count)
    if counts.count < input.count {
      counts = [Int](repeating: 0, count: input.count)
      places = [Int32](repeating: 0, count: input.count * mostPlaces)
    }
    let (bytes, buckets, width, mostPlaces) = (inputShape.width, buckets, width, mostPlaces)
    let rows = UnsafePointer(weight.values.base)
    places.withUnsafeMutableBufferPointer { places in
      counts.withUnsafeMutableBufferPointer { counts in
        let (places, counts) = (places.baseAddress!, counts.baseAddress!)
        parallel.forEachPiece(of: input.count) { _, samples in
          for sample in samples {
            let own = places + sample * mostPlaces
            counts[sample] = hashNGrams(
              of: UnsafePointer(input.sample(sample)), bytes, buckets: buckets, into: own)
            averageRows(
              rows, width: width, at: UnsafePointer(own), counts[sample],
              into: output.sample(sample))
          }
        }
      }
    }
    return output
  }

  /// With n n-grams in a sample, every one of them adds dy / n to its row.
  ///
  /// A thread owns buckets, not samples: every row's sum is in the order of samples, whatever the threads,
  /// and there are no partial tables to add.
  func backward(_ gradient: Tensor, parallel: Parallel) -> Tensor? {
    let width = width
    for sample in 0..<gradient.count {
      let dy = gradient.sample(sample)
      let share = 1 / Float(max(counts[sample], 1))
      for i in 0..<width { dy[i] *= share }
    }
    weight.gradient.zero()
    if parallel.threads == 1 {
      addGradients(gradient, ofBuckets: 0..<buckets)
    } else {
      parallel.forEachPiece(of: buckets) { _, owned in addGradients(gradient, ofBuckets: owned) }
    }
    return nil
  }

  private func addGradients(_ gradient: Tensor, ofBuckets owned: Range<Int>) {
    let (width, mostPlaces, table) = (width, mostPlaces, weight.gradient.base)
    let (first, last) = (Int32(owned.lowerBound), Int32(owned.upperBound))
    places.withUnsafeBufferPointer { places in
      for sample in 0..<gradient.count {
        let own = places.baseAddress! + sample * mostPlaces
        let dy = UnsafePointer(gradient.sample(sample))
        for index in 0..<counts[sample] where own[index] >= first && own[index] < last {
          let row = table + Int(own[index]) * width
          for lane in stride(from: 0, to: width, by: Self.lanes) {
            store(load(row + lane) + load(dy + lane), to: row + lane)
          }
        }
      }
    }
  }
}

/// Writes the bucket of every n-gram of a text, by place and then by length; returns how many.
private func hashNGrams(
  of text: UnsafePointer<Float>, _ bytes: Int, buckets: Int,
  into places: UnsafeMutablePointer<Int32>
) -> Int {
  var length = 0
  while length < bytes && text[length] > 0 { length += 1 }
  var count = 0
  for start in 0..<length {
    var hash: UInt32 = 0x811C_9DC5
    for place in start..<min(start + NGramMean.longest, length) {
      hash = (hash ^ UInt32(text[place])) &* 0x0100_0193
      let mixed = UInt64(hash &* 0x9E37_79B1)
      places[count] = Int32(truncatingIfNeeded: (mixed &* UInt64(buckets)) >> 32)
      count += 1
    }
  }
  return count
}

/// The mean of some rows of a table; zeros when there is none.
private func averageRows(
  _ table: UnsafePointer<Float>, width: Int, at places: UnsafePointer<Int32>, _ count: Int,
  into mean: UnsafeMutablePointer<Float>
) {
  let share = SIMD8<Float>(repeating: 1 / Float(max(count, 1)))
  for lane in stride(from: 0, to: width, by: NGramMean.lanes) {
    var sum = SIMD8<Float>()
    for index in 0..<count { sum += load(table + Int(places[index]) * width + lane) }
    store(sum * share, to: mean + lane)
  }
}

@inline(__always)
private func load(_ source: UnsafePointer<Float>) -> SIMD8<Float> {
  UnsafeRawPointer(source).loadUnaligned(as: SIMD8<Float>.self)
}

@inline(__always)
private func store(_ value: SIMD8<Float>, to target: UnsafeMutablePointer<Float>) {
  UnsafeMutableRawPointer(target).storeBytes(of: value, as: SIMD8<Float>.self)
}
