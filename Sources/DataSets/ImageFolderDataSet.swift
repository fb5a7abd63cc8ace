import Basics

/// Labelled pictures in files, each of a size of its own; decoded whenever a view needs one.
///
/// In memory are only paths, sizes and digests. Every decoded picture is compared with its digest, so a
/// file that changes is refused and never trained on.
struct ImageFolderDataSet: DataSet {
  /// A picture's file and what it must hold.
  struct Sample {
    var path: String
    var entry: ImageEntry
  }

  /// What people call it.
  let name: String
  /// The shape of every view.
  let shape: SampleShape
  /// One name per class.
  let classNames: [String]
  /// One label per sample.
  let labels: [Int32]
  /// The decoders of the samples' formats, as canonical JSON.
  let origin: String
  /// SHA-256 over shape, count, class names, labels, sizes and digests of all pictures, and the origin.
  let fingerprint: Digest
  private let samples: [Sample]

  /// The number of samples.
  var count: Int { labels.count }
  /// Views are made from pictures of any size.
  var picturesHaveOwnSizes: Bool { true }

  /// Joins what was found.
  init(
    name: String, shape: SampleShape, classNames: [String], labels: [Int32], samples: [Sample]
  ) throws {
    self.name = name
    self.shape = shape
    self.classNames = classNames
    self.labels = labels
    self.samples = samples
    origin = try decoders(of: samples)
    guard case .image(let height, let width, let channels) = shape else {
      preconditionFailure("pictures become \(shape)")
    }
    var builder = DigestBuilder(
      dataSetOf: "pictures", [height, width, channels], labels: labels, classNames: classNames)
    for sample in samples {
      let entry = sample.entry
      builder.append(lengths: [entry.height, entry.width, entry.channels])
      builder.append(entry.digest.bytes)
    }
    builder.append(origin: origin)
    fingerprint = builder.finish()
  }

  /// Decodes a sample's file, in its own size and the channels of `shape`.
  ///
  /// - Throws: `Problem(.corrupt)` when the file no longer holds what it held.
  func readPicture(of sample: Int, into picture: inout Picture) throws {
    let (path, entry) = (samples[sample].path, samples[sample].entry)
    _ = try picture.decode(contentsOf: path)
    guard picture.height == entry.height, picture.width == entry.width,
      picture.channels == entry.channels, picture.digest == entry.digest
    else {
      throw Problem(
        .corrupt,
        "\(path) no longer holds the picture that it held when \(name) was first read, or its decoder "
          + "has changed: put it back, or delete the index beside the description to begin anew")
    }
    guard case .image(_, _, let channels) = shape else { return }
    picture.convert(toChannels: channels)
  }

  /// Not for pictures that have sizes of their own.
  func copyPixels(of sample: Int, into pixels: inout MutableSpan<UInt8>) {
    preconditionFailure("\(name) has pictures of their own sizes: read them")
  }

  /// Not for pictures.
  func copyFeatures(of sample: Int, into features: inout MutableSpan<Float>) {
    preconditionFailure("\(name) has pictures, not features")
  }
}

extension ImageFolder {
  /// Finds all files, and decodes those of a range that are new or have changed.
  ///
  /// - Parameters:
  ///   - range: of the first `first` samples; `nil` for all of them.
  ///   - name: what the range is called.
  func open(
    _ range: Range<Int>?, name spec: String, progress: (_ done: Int, _ total: Int) -> Void
  ) throws -> ImageFolderDataSet {
    let (files, classNames) = try files()
    let all = 0..<(first ?? files.count)
    try demand(all, within: files.count, of: name)
    let part = range ?? all
    try demand(part, within: all.count, of: name)
    let entries = try scan(files, part, progress: progress)
    return try ImageFolderDataSet(
      name: range == nil ? name : spec, shape: shape, classNames: classNames,
      labels: files[part].map(\.label),
      samples: zip(files[part], entries).map { .init(path: $0.path, entry: $1) })
  }
}

private func decoders(of samples: [ImageFolderDataSet.Sample]) throws -> String {
  let used = PictureFormat.allCases.filter { format in
    samples.contains { $0.entry.format == format }
  }
  return try canonicalJSON(
    .object(["decoders": .array(used.map { .string($0.decoder) })]) as JSONValue)
}
