extension CacheReader {
  /// The calibration blob; codec 1 learns nothing.
  package var calibration: [UInt8] { [] }
}
