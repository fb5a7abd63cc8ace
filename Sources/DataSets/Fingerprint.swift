import Basics

// What all fingerprints of data sets begin and end with, byte for byte as docs/VIEWS.md ("Data sets") says.

extension DigestBuilder {
  /// Begins the fingerprint of a data set.
  ///
  /// - Parameters:
  ///   - kind: what samples are.
  ///   - lengths: the axes of a sample.
  ///   - labels: [samples, positions].
  init(
    dataSetOf kind: String, _ lengths: [Int], labels: [Int32], positions: Int = 1,
    classNames: [String]
  ) {
    self.init()
    append("logitcache data set 1\n")
    if positions > 1 {
      append("positions\n")
      append(UInt64(positions))
    }
    append(kind + "\n")
    append(lengths: lengths)
    append(UInt64(labels.count / positions))
    append(UInt64(classNames.count))
    for name in classNames { append(sized: name) }
    append(labels)
  }

  /// Hashes the axes of a sample.
  mutating func append(lengths: [Int]) { append(lengths.map { UInt64($0) }) }

  /// Hashes what made the samples.
  mutating func append(origin: String) {
    append("origin\n")
    append(sized: origin)
  }
}
