public import Basics

/// A data set whose samples all lie in memory.
public struct InMemoryDataSet: DataSet {
  /// The samples' elements, one after another.
  public enum Elements: Sendable {
    /// Pixels of images, or the bytes of texts.
    case pixels([UInt8])
    /// Features.
    case features([Float])
  }

  /// What people call it.
  public let name: String
  /// The shape of every sample.
  public let shape: SampleShape
  /// One name per class.
  public let classNames: [String]
  /// T, the labels of a sample.
  public let positions: Int
  /// Labels [count, positions], row-major; -1 where one of several positions has none.
  public let labels: [Int32]
  /// What made the elements, when that is part of what they are: a renderer, its version and its
  /// input, as canonical JSON.
  public let origin: String?
  /// SHA-256 over shape, count, class names, labels, all elements and the origin.
  public let fingerprint: Digest
  private let elements: Elements

  /// The number of samples.
  public var count: Int { labels.count / positions }

  /// Joins samples and labels.
  ///
  /// - Parameters:
  ///   - name: what people call it.
  ///   - shape: the shape of every sample.
  ///   - classNames: one name per class.
  ///   - positions: T >= 1, the labels of a sample; features hold as many equal parts.
  ///   - labels: [samples, positions], row-major; -1 where one of several positions has none.
  ///   - elements: sample after sample, of the kind that `shape` says.
  ///   - origin: what made the elements, when that is part of what they are.
  /// - Throws: `Problem(.corrupt)` when there is no sample, a label is not a class, the numbers of
  ///   samples and labels differ, no position has a label, a feature is NaN or infinite, or a text is
  ///   none.
  public init(
    name: String, shape: SampleShape, classNames: [String], positions: Int = 1, labels: [Int32],
    elements: Elements, origin: String? = nil
  ) throws {
    precondition(
      positions >= 1 && labels.count.isMultiple(of: positions),
      "\(labels.count) labels for \(positions) positions of each sample")
    self.name = name
    self.shape = shape
    self.classNames = classNames
    self.positions = positions
    self.labels = labels
    self.elements = elements
    self.origin = origin
    try check(
      name: name, shape: shape, elements, samples: labels.count / positions,
      classCount: classNames.count)
    try check(name: name, labels, positions: positions, classCount: classNames.count)
    fingerprint = digest(of: shape, elements, labels, positions, classNames, origin)
  }

  /// The samples in `range`, renumbered from 0.
  ///
  /// - Throws: `Problem(.usage)` when the range is empty or reaches beyond the samples.
  public func slice(_ range: Range<Int>, name: String) throws -> InMemoryDataSet {
    try demand(range, within: count, of: self.name)
    let size = shape.elementCount
    let part = range.lowerBound * size..<range.upperBound * size
    let elements: Elements =
      switch elements {
      case .pixels(let pixels): .pixels(Array(pixels[part]))
      case .features(let features): .features(Array(features[part]))
      }
    return try InMemoryDataSet(
      name: name, shape: shape, classNames: classNames, positions: positions,
      labels: Array(labels[range.lowerBound * positions..<range.upperBound * positions]),
      elements: elements, origin: origin)
  }

  /// Copies the pixels of a sample, HWC order, or the bytes of a text.
  public func copyPixels(of sample: Int, into pixels: inout MutableSpan<UInt8>) {
    guard case .pixels(let all) = elements else {
      preconditionFailure("\(name) has features, not pixels")
    }
    copy(all, sample, into: &pixels)
  }

  /// Copies the features of a sample.
  public func copyFeatures(of sample: Int, into features: inout MutableSpan<Float>) {
    guard case .features(let all) = elements else {
      preconditionFailure("\(name) has pixels, not features")
    }
    copy(all, sample, into: &features)
  }

  @inline(__always)
  private func copy<Element: BitwiseCopyable>(
    _ all: [Element], _ sample: Int, into destination: inout MutableSpan<Element>
  ) {
    let size = shape.elementCount
    precondition(sample >= 0 && sample < count, "sample \(sample) of \(count)")
    precondition(destination.count == size, "room for \(destination.count) of \(size) elements")
    let source = all.span.extracting(sample * size..<(sample + 1) * size)
    for index in 0..<size { destination[unchecked: index] = source[unchecked: index] }
  }
}

/// Refuses a range of samples that is empty or reaches beyond them.
///
/// - Throws: `Problem(.usage)` naming the data set.
func demand(_ range: Range<Int>, within count: Int, of name: String) throws {
  guard !range.isEmpty, range.lowerBound >= 0, range.upperBound <= count else {
    throw Problem(
      .usage,
      "cannot take samples \(range.lowerBound) to \(range.upperBound) (not included) of \(name), "
        + "which has \(count)")
  }
}

private func check(
  name: String, shape: SampleShape, _ elements: InMemoryDataSet.Elements, samples: Int,
  classCount: Int
) throws {
  // Samples first: what a file of none says of their shape need not even fit an Int.
  guard samples > 0, shape.elementCount > 0, classCount > 0 else {
    throw Problem(
      .corrupt,
      "\(name) is empty: \(counted(samples, "sample")) of \(shape), \(counted(classCount, "class", "classes"))"
    )
  }
  let found =
    switch elements {
    case .pixels(let pixels): pixels.count
    case .features(let features): features.count
    }
  guard found == samples * shape.elementCount else {
    throw Problem(
      .corrupt,
      "\(name) has labels of \(counted(samples, "sample")) but "
        + "\(counted(found / shape.elementCount, "sample")) of \(shape)"
    )
  }
  if case .text(let bytes) = shape, case .pixels(let texts) = elements {
    try checkTexts(texts, bytes: bytes, name: name)
  }
  guard case .features(let features) = elements else { return }
  if let index = features.firstIndex(where: { !$0.isFinite }) {
    let width = shape.elementCount
    throw Problem(
      .corrupt,
      "\(name): feature \(index % width) of sample \(index / width) is \(features[index]); "
        + "every feature must be a finite number")
  }
}

private func check(
  name: String, _ labels: [Int32], positions: Int, classCount: Int
) throws {
  let isAllowed = { (label: Int32) in
    (0..<classCount).contains(Int(label)) || label == -1 && positions > 1
  }
  if let index = labels.firstIndex(where: { !isAllowed($0) }) {
    let place = positions > 1 ? ", position \(index % positions)," : ""
    throw Problem(
      .corrupt,
      "\(name): sample \(index / positions)\(place) has the label \(labels[index]), but there are "
        + "\(counted(classCount, "class", "classes")), 0 to \(classCount - 1)")
  }
  guard labels.contains(where: { $0 >= 0 }) else {
    throw Problem(.corrupt, "\(name) has no label: every position of every sample is masked")
  }
}

/// The fingerprint, byte for byte as docs/VIEWS.md ("Data sets") says.
private func digest(
  of shape: SampleShape, _ elements: InMemoryDataSet.Elements, _ labels: [Int32],
  _ positions: Int, _ classNames: [String], _ origin: String?
) -> Digest {
  let (kind, lengths) =
    switch shape {
    case .image(let height, let width, let channels): ("image", [height, width, channels])
    case .features(let width): ("features", [width])
    case .text(let bytes): ("text", [bytes])
    }
  var builder = DigestBuilder(
    dataSetOf: kind, lengths, labels: labels, positions: positions, classNames: classNames)
  switch elements {
  case .pixels(let pixels): builder.append(pixels)
  case .features(let features): builder.append(features.map(\.bitPattern))
  }
  if let origin { builder.append(origin: origin) }
  return builder.finish()
}
