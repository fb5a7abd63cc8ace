import Basics

/// How large a cache will be, foretold from blocks packed as it would pack them.
public struct CacheSize: Equatable, Sendable {
  /// Stored bytes of the blocks, checksums included, per record: all that grows with the records.
  public let bytesPerRecord: Double
  /// Bytes of the index entries per record: digests, sizes and certificates of blocks.
  public let indexBytesPerRecord: Double
  /// Bytes of what is learned before the first block.
  public let calibrationBytes: Int
  /// Bytes of the labels, which all views share.
  public let labelBytes: Int
  /// Bytes of the manifest, the names of all classes included.
  public let manifestBytes: Int
  /// Bytes of the class sums of features; 0 without features.
  public let classSumBytes: Int
  /// Bytes of the whole `data.mdb`, pages that are not full included.
  public let fileBytes: Int

  /// Bytes that do not grow with the views.
  public var fixedBytes: Int { calibrationBytes + labelBytes + manifestBytes + classSumBytes }

  /// From how many records on a cache like this is smaller than another of the same job, when what is written once
  /// stays as it is; `nil` when its records are no smaller.
  package func recordsToUndercut(_ other: CacheSize) -> Int? {
    let saved =
      other.bytesPerRecord + other.indexBytesPerRecord - bytesPerRecord - indexBytesPerRecord
    return CacheSize.recordsToSave(Double(fixedBytes - other.fixedBytes), each: saved)
  }

  /// How many records save more than `bytes` when each saves `each`; `nil` when none do, or only beyond 10^15.
  package static func recordsToSave(_ bytes: Double, each saved: Double) -> Int? {
    guard saved > 0 else { return nil }
    let records = max(0, bytes / saved).rounded(.down) + 1
    return records <= 1e15 ? Int(records) : nil
  }

  /// Foretells the cache of a manifest.
  ///
  /// - Parameters:
  ///   - manifest: the whole cache's.
  ///   - calibration: what the blocks were packed with.
  ///   - sample: packed blocks of the same encoding, at least one.
  public init(
    of manifest: Manifest, _ calibration: Calibration, sample: [EncodedBlock]
  ) throws {
    precondition(!sample.isEmpty, "no blocks to measure")
    let rows = Double(sample.reduce(0) { $0 + $1.rows })
    let stored = Double(sample.reduce(0) { $0 + $1.storedValue.count })
    let entries = sample.reduce(0) { $0 + BlockInfo($1).bytes.count }
    let entry = Double(entries) / Double(sample.count)
    let encoding = manifest.encoding
    let views = Double(manifest.views)
    let blocks = Double(manifest.blocksPerView) * views
    let samples = Double(sample.reduce(0) { $0 + $1.samples })
    let recordsOfSample = rows / samples
    let records = Double(manifest.viewedSamples) * recordsOfSample
    let labelled = encoding.positions?.labels == .position ? recordsOfSample : 1

    bytesPerRecord = stored / rows
    indexBytesPerRecord = entry * blocks / records
    calibrationBytes = Sealed.size + calibration.bytes.count
    let width = Int(Calibration.idWidth(encoding.classes))
    let labels = Int((Double(manifest.dataSet.samples) * labelled).rounded(.up))
    labelBytes = manifest.blocksPerView * Sealed.size + (labels * width + 7) / 8
    manifestBytes = Sealed.size + (try canonicalJSON(manifest)).utf8.count
    classSumBytes =
      encoding.featureWidth.map { encoding.classes * (Sealed.size + 8 + 8 * $0) } ?? 0

    let recordsOfBlock = records / blocks
    let labelsOfBlock = Double(labelBytes) / Double(manifest.blocksPerView)
    var pages = blocks * (Pages.ofValue(bytesPerRecord * recordsOfBlock) + Pages.ofEntry(entry))
    pages += Double(manifest.blocksPerView) * Pages.ofValue(labelsOfBlock)
    for fixed in [calibrationBytes, manifestBytes] { pages += Pages.ofValue(Double(fixed)) }
    pages += Pages.rewritten * Double(classSumBytes) / Pages.size
    fileBytes = Int((pages + Pages.atLeast) * Pages.size)
  }
}

extension Sealed {
  /// Bytes of the checksum before every value.
  fileprivate static let size = 4
}

/// What LMDB takes for values, in pages of 4,096 bytes.
private enum Pages {
  static let size = 4096.0
  private static let header = 16.0
  /// Larger values have pages of their own.
  private static let largestNode = 2030.0
  /// Key, header and pointer of a node, and the page number of a value elsewhere.
  private static let node = 26.0
  /// Meta pages, roots, lists of free pages, and pages that earlier commits left free.
  static let atLeast = 16.0

  /// What is written anew with every commit: pages half full, and those of the two commits before.
  static let rewritten = 6.0

  /// Pages of a value of about this size, half a page of it left empty, and its node.
  static func ofValue(_ bytes: Double) -> Double {
    guard bytes + node > largestNode else { return ofEntry(bytes) }
    return (header + bytes) / size + 0.5 + node / (size - header)
  }

  /// Pages of a small value among others of its size.
  static func ofEntry(_ bytes: Double) -> Double {
    1 / max(1, ((size - header) / (node + bytes)).rounded(.down))
  }
}
