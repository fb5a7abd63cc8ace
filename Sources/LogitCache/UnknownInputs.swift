public import Basics

// A cache of rows that were imported without their data set: nobody knows what the teacher saw.

extension RecipeIdentity {
  /// Stands for a recipe that is not known: content `null`.
  public static let unknown = RecipeIdentity(digest: Digest(of: "null"), content: .null)

  /// Whether it says how views are made.
  public var isKnown: Bool { self != .unknown }
}

extension DataSetIdentity {
  /// Identifies samples of which only labels and class names are known.
  ///
  /// The fingerprint is over the text "imported rows" and a line feed, n, the labels' digest, and every class name with its
  /// length in bytes; numbers are UInt64 (docs/FORMAT.md, section 4).
  /// - Parameters:
  ///   - labels: one for each sample, in 0..<C; or [samples, positions], -1 where a position has none.
  ///   - positions: the labels of each sample.
  public init(
    importedRows name: String, labels: [Int32], positions: Int = 1, classNames: [String]
  ) {
    var builder = DigestBuilder()
    builder.append("imported rows\n")
    builder.append(UInt64(labels.count / positions))
    builder.append(LabelTable.digest(labels).bytes)
    for name in classNames { builder.append(sized: name) }
    self.init(
      name: name, fingerprint: builder.finish(), labels: labels, positions: positions,
      classNames: classNames)
  }
}

extension Digest {
  /// The view digest of a block whose inputs are not known: 32 zero bytes.
  public static let unknownInputs = Digest(bytes: [UInt8](repeating: 0, count: 32))!
}
