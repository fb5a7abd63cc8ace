import Basics
import LMDB
package import Losses

/// The labels of a block, the same in every view.
package struct BlockLabels: Equatable {
  /// One for each sample of the block; where positions have labels, one for each record.
  package var values: [UInt32]
  /// Which positions have labels; nil when samples have them.
  package var places: RowPlaces?

  /// Labels of samples, or of the records at some places.
  package init(_ values: [UInt32], places: RowPlaces? = nil) {
    self.values = values
    self.places = places
  }
}

/// The labels of a cache's samples or positions: entries of table `meta`, one for each block of samples.
///
/// A label belongs to a sample or its position, not to its views: stored once, it is known before a record is read,
/// and orders of classes can depend on it. Where positions have labels, so do the places of records.
enum LabelTable {
  private static let prefix = Array("labels".utf8)

  private static func key(_ block: Int) -> [UInt8] {
    var writer = ByteWriter()
    writer.append(prefix)
    writer.append(UInt32(block).byteSwapped)
    return writer.bytes
  }

  /// Whether table `meta` of a cache has labels under a key.
  static func has(_ key: [UInt8], _ manifest: Manifest) -> Bool {
    guard key.count == prefix.count + 4, key.starts(with: prefix) else { return false }
    let block = key[prefix.count...].reduce(0) { $0 << 8 | Int($1) }
    return block < manifest.blocksPerView
  }

  /// Digest of labels as UInt32, in sample order: what the manifest names.
  static func digest(_ labels: [Int32]) -> Digest {
    var builder = DigestBuilder()
    builder.append(labels)
    return builder.finish()
  }

  /// Refuses labels that are not one class for each sample or, where positions have them, for some of these.
  ///
  /// - Throws: `Problem(.configuration)` with the label and its place.
  static func demandClasses(_ labels: [Int32], _ manifest: Manifest) throws {
    let (samples, classes) = (manifest.dataSet.samples, manifest.encoding.classes)
    let positions = manifest.encoding.positions.flatMap {
      $0.labels == .position ? $0.maximum : nil
    }
    guard labels.count == samples * (positions ?? 1) else {
      throw Problem(
        .configuration,
        "there are \(counted(labels.count, "label")) for \(counted(samples, "sample"))"
          + (positions.map { " of \(counted($0, "position"))" } ?? ""))
    }
    let least: Int32 = positions == nil ? 0 : -1
    guard let index = labels.firstIndex(where: { $0 < least || Int($0) >= classes }) else { return }
    let place =
      positions.map { "sample \(index / $0), position \(index % $0)" } ?? "sample \(index)"
    throw Problem(
      .configuration,
      "\(place) has the label \(labels[index]), the classes are 0..<\(classes)"
        + (positions == nil ? "" : ", and -1 where a position has no label"))
  }

  /// Stores all labels.
  ///
  /// - Parameter labels: [samples]; where positions have them [samples, M], -1 for none.
  static func write(
    _ labels: [Int32], _ transaction: borrowing WriteTransaction, _ environment: Environment,
    _ manifest: Manifest
  ) throws {
    for block in 0..<manifest.blocksPerView {
      let samples = manifest.samples(of: BlockKey(view: 0, block: block))
      let packed = pack(BlockLabels(labels, of: samples, manifest.encoding), manifest.encoding)
      try transaction.put(Sealed.wrap(packed), forKey: key(block), in: environment.table("meta"))
    }
  }

  /// The labels of a block as they are stored after their checksum.
  static func pack(_ labels: BlockLabels, _ encoding: Encoding) -> [UInt8] {
    var lists = PlaneWriter()
    if let places = labels.places {
      lists.append(PlaneID.positionCounts, PlaceLists.counts(places))
      lists.append(PlaneID.positionGaps, PlaceLists.gaps(places))
    }
    let width = Calibration.idWidth(encoding.classes)
    var bits = BitWriter()
    for label in labels.values { bits.append(label, width: width) }
    return lists.directory.bytes + lists.bytes + bits.finish()
  }

  /// Reads what `pack` wrote: the labels of `samples` samples, all below C.
  ///
  /// - Throws: `Problem(.corrupt)` when the bytes are not that.
  static func unpack(
    _ bytes: [UInt8], samples: Int, _ encoding: Encoding
  ) throws -> BlockLabels {
    var (start, count, places) = (0, samples, nil as RowPlaces?)
    if let positions = encoding.positions, positions.labels == .position {
      let found = try readPlaces(bytes, samples: samples, positions)
      (start, count, places) = (found.end, found.places.rows, found.places)
    }
    let width = Int(Calibration.idWidth(encoding.classes))
    let labels = try BitReader.unpack(Array(bytes[start...]), count: count, width: width)
    guard labels.allSatisfy({ $0 < UInt32(encoding.classes) }) else {
      throw Problem(.corrupt, "one is not a class")
    }
    return BlockLabels(labels, places: places)
  }

  /// The places, and where their lists end.
  private static func readPlaces(
    _ bytes: [UInt8], samples: Int, _ positions: Positions
  ) throws -> (places: RowPlaces, end: Int) {
    let span = bytes.span.bytes
    var reader = ByteReader(span)
    let lists = [PlaneID.positionCounts, PlaneID.positionGaps].map { PlanePlace(plane: $0) }
    let entries = try PlaneEntry.readDirectory(from: &reader, expecting: lists)
    let (start, ends) = (reader.offset, entries[0].length)
    let end = start + ends + entries[1].length
    guard end <= bytes.count else { throw Problem(.corrupt, "their places are cut off") }
    var counts = [UInt32](repeating: 0, count: samples)
    func decode(_ entry: PlaneEntry, _ part: Range<Int>, _ values: inout [UInt32]) throws {
      try bytes[part].withUnsafeBytes { bytes in
        try values.withUnsafeMutableBufferPointer { try entry.decode(bytes, into: $0) }
      }
    }
    try decode(entries[0], start..<start + ends, &counts)
    let rows = try PlaceLists.total(of: counts, positions)
    var gaps = [UInt32](repeating: 0, count: rows)
    try decode(entries[1], start + ends..<end, &gaps)
    let places = try gaps.withUnsafeBufferPointer {
      try PlaceLists.places(counts: counts, gaps: $0, positions)
    }
    return (places, end)
  }

  /// The labels of a block, all below C.
  ///
  /// - Throws: `Problem(.corrupt)` when they are missing or damaged.
  static func read(
    _ block: Int, _ transaction: borrowing ReadTransaction, _ environment: Environment,
    _ manifest: Manifest
  ) throws -> BlockLabels {
    try readStored(block, transaction, environment, manifest).labels
  }

  private static func readStored(
    _ block: Int, _ transaction: borrowing ReadTransaction, _ environment: Environment,
    _ manifest: Manifest
  ) throws -> (labels: BlockLabels, bytes: [UInt8]) {
    let samples = manifest.samples(of: BlockKey(view: 0, block: block)).count
    do {
      guard
        let value = try transaction.value(forKey: key(block), in: environment.table("meta"))
      else { throw Problem(.corrupt, "they are missing") }
      let bytes = try Sealed.bytes(of: value)
      return (try unpack(bytes, samples: samples, manifest.encoding), bytes)
    } catch let problem as Problem {
      throw Problem(
        problem.kind,
        "\(environment.path): the labels of block \(block) are damaged: \(problem.message)")
    }
  }

  /// Checks all labels against the manifest's digest, and that they are stored canonically.
  static func check(
    _ transaction: borrowing ReadTransaction, _ environment: Environment, _ manifest: Manifest
  ) throws {
    var builder = DigestBuilder()
    for block in 0..<manifest.blocksPerView {
      let (labels, bytes) = try readStored(block, transaction, environment, manifest)
      for label in labels.all(manifest.encoding) { builder.append(UInt32(bitPattern: label)) }
      // Lists of places could be in another form.
      guard labels.places == nil || pack(labels, manifest.encoding) == bytes else {
        throw Problem(
          .corrupt,
          "\(environment.path): the labels of block \(block) are not stored canonically")
      }
    }
    guard builder.finish() == manifest.dataSet.labels else {
      throw Problem(
        .corrupt, "\(environment.path): the labels are not those that the manifest names")
    }
  }
}

extension BlockLabels {
  /// The labels of some of all samples.
  ///
  /// - Parameter labels: [samples]; where positions have them [samples, M], -1 for none.
  init(_ labels: [Int32], of samples: Range<Int>, _ encoding: Encoding) {
    guard let positions = encoding.positions, positions.labels == .position else {
      self.init(labels[samples].map { UInt32($0) })
      return
    }
    let maximum = positions.maximum
    let part = labels[samples.lowerBound * maximum..<samples.upperBound * maximum]
    self.init(
      part.filter { $0 >= 0 }.map { UInt32($0) },
      places: RowPlaces(labels: part, maximum: maximum))
  }

  /// The labels as a data set has them: [samples], or [samples, M], -1 for none.
  func all(_ encoding: Encoding) -> [Int32] {
    guard let places, let positions = encoding.positions else {
      return values.map { Int32(bitPattern: $0) }
    }
    var all = [Int32](repeating: -1, count: places.samples * positions.maximum)
    for sample in 0..<places.samples {
      for row in places.rows(of: sample) {
        all[sample * positions.maximum + Int(places.positions[row])] = Int32(
          bitPattern: values[row])
      }
    }
    return all
  }
}

/// Integers of a fixed number of bits.
enum BitReader {
  /// Reads all of `bytes` as `count` integers of `width` bits, 1...32.
  static func unpack(_ bytes: [UInt8], count: Int, width: Int) throws -> [UInt32] {
    let entry = PlaneEntry(
      plane: PlaneID.header, group: 0, form: .plain, width: UInt8(width), length: bytes.count)
    return try [UInt32](unsafeUninitializedCapacity: count) { values, filled in
      try bytes.withUnsafeBytes {
        try entry.decode($0, into: UnsafeMutableBufferPointer(rebasing: values[..<count]))
      }
      filled = count
    }
  }
}
