public import Basics

/// What a cache learned before its first block, the same for all its blocks and shards: how to write small numbers.
///
/// It decides bytes, never values: any calibration gives the same records; only the axes of a subspace tail
/// decide what full rows are rebuilt as. Stored in the cache; its digest is part of the manifest.
public struct Calibration: Equatable, Sendable {
  let orders: OrderTable
  let tails: TailPredictor
  /// The axes of a subspace tail; nil exactly when the encoding has none.
  public let axes: SubspaceAxes?

  init(orders: OrderTable, tails: TailPredictor, axes: SubspaceAxes?) {
    self.orders = orders
    self.tails = tails
    self.axes = axes
  }

  /// The calibration of a cache that learned nothing.
  public static func plain(_ encoding: Encoding) -> Calibration {
    Calibration(
      orders: .identity(classes: encoding.classes),
      tails: .plain(temperatures: encoding.tailTemperatures.count),
      axes: encoding.subspaceTail.map { .none(classes: encoding.classes, width: $0.axisBytes) })
  }

  /// Digest of the stored form, which the manifest names.
  public var digest: Digest { Digest(of: bytes) }

  /// One line for people: "lists of 64 classes for each of 1000 labels".
  public var summary: String {
    let lists = "lists of \(orders.length) classes for \(orders.keys.count)"
    let order =
      switch orders.key {
      case .none: orders.prefix.isEmpty ? "no order" : "one order of the classes"
      case .label: "\(lists) labels"
      case .first: "\(lists) first classes"
      }
    return order + (axes.map { ", \($0.count) axes (\($0.trellisAxes) by a trellis)" } ?? "")
  }

  /// The stored form (docs/FORMAT.md, "Calibration").
  public var bytes: [UInt8] {
    var writer = ByteWriter()
    writer.append(Calibration.magic)
    writer.append(UInt16(Manifest.currentVersion))
    writer.append(orders.key.rawValue)
    writer.append(UInt8(tails.coefficients.count))
    for count in [orders.prefix.count, orders.length, orders.keys.count] {
      writer.append(UInt32(count))
    }
    let width = Calibration.idWidth(orders.classes)
    var bits = BitWriter()
    for id in orders.prefix + orders.keys + orders.lists { bits.append(id, width: width) }
    writer.append(bits.finish())
    for coefficient in tails.coefficients.joined() { writer.append(coefficient) }
    return writer.bytes + (axes?.bytes ?? [])
  }

  private static let magic: UInt32 = 0x4343_474C  // "LGCC" in file order
  static let headerSize = 20

  /// Bits of a class id.
  static func idWidth(_ classes: Int) -> UInt32 {
    UInt32(max(1, Int.bitWidth - (classes - 1).leadingZeroBitCount))
  }

  /// Reads a stored calibration.
  ///
  /// - Throws: `Problem(.corrupt)` when it is not one for this encoding.
  public init(_ bytes: [UInt8], _ encoding: Encoding) throws {
    do {
      self = try Calibration.read(bytes, encoding)
    } catch let problem as Problem {
      throw Problem(problem.kind, "the calibration is damaged: \(problem.message)")
    }
  }

  private static func read(_ bytes: [UInt8], _ encoding: Encoding) throws -> Calibration {
    let span = bytes.span.bytes
    var reader = ByteReader(span)
    func demand(_ fine: Bool, _ what: String) throws {
      if !fine { throw Problem(.corrupt, what) }
    }
    let classes = encoding.classes
    guard let magic = reader.next(UInt32.self), let version = reader.next(UInt16.self),
      let key = reader.next(UInt8.self).flatMap(OrderTable.Key.init),
      let temperatures = reader.next(UInt8.self), let prefixCount = reader.next(UInt32.self),
      let length = reader.next(UInt32.self), let keyCount = reader.next(UInt32.self)
    else { throw Problem(.corrupt, "its header is cut off or names an unknown key") }
    try demand(magic == Calibration.magic, "it does not begin with LGCC")
    try demand(version == UInt16(Manifest.currentVersion), "its version is \(version)")
    try demand(
      Int(temperatures) == encoding.tailTemperatures.count, "it has \(temperatures) temperatures")
    let (prefix, lists, keys) = (Int(prefixCount), Int(length), Int(keyCount))
    try demand(
      prefix <= classes && lists <= classes && keys <= classes,
      "it has more than \(classes) classes")
    try demand((key == .none) == (keys == 0) && (keys == 0) == (lists == 0), "its lists are empty")
    let count = prefix + keys + keys * lists
    let width = Int(idWidth(classes))
    let packed = (count * width + 7) / 8
    let coefficients = (0..<Int(temperatures)).reduce(0) { $0 + TailPredictor.base + $1 }
    let own = packed + 4 * coefficients
    try demand(
      encoding.subspaceTail == nil ? reader.remaining == own : reader.remaining >= own,
      "it has \(bytes.count) bytes, not as many as it says")
    guard let bits = reader.next(count: packed) else { throw Problem(.corrupt, "it is cut off") }
    let ids = try BitReader.unpack(bits, count: count, width: width)
    let parts = (
      prefix: Array(ids[..<prefix]), keys: Array(ids[prefix..<prefix + keys]),
      lists: Array(ids[(prefix + keys)...])
    )
    try demand(ids.allSatisfy { Int($0) < classes }, "it names a class that does not exist")
    try demand(
      zip(parts.keys, parts.keys.dropFirst()).allSatisfy { $0 < $1 }, "its keys are not ascending")
    var seen = [Int](repeating: -1, count: classes)
    func demandDistinct(_ ids: ArraySlice<UInt32>, mark: Int) throws {
      for id in ids {
        try demand(seen[Int(id)] != mark, "a list names class \(id) twice")
        seen[Int(id)] = mark
      }
    }
    try demandDistinct(parts.prefix[...], mark: keys)
    for list in 0..<keys {
      try demandDistinct(parts.lists[list * lists..<(list + 1) * lists], mark: list)
    }
    let tails = try (0..<Int(temperatures)).map { index in
      try (0..<TailPredictor.base + index).map { _ in
        let value = reader.next(UInt32.self).map { Int32(bitPattern: $0) } ?? 0
        try demand(
          Int64(value).magnitude <= UInt64(TailPredictor.limit), "a coefficient is \(value)")
        return value
      }
    }
    return Calibration(
      orders: OrderTable(
        classes: classes, key: key, prefix: parts.prefix, keys: parts.keys, length: lists,
        lists: parts.lists),
      tails: TailPredictor(coefficients: tails),
      axes: try encoding.subspaceTail.map {
        try SubspaceAxes(
          bytes: span.extracting(droppingFirst: bytes.count - reader.remaining), classes: classes,
          tail: $0)
      })
  }
}
