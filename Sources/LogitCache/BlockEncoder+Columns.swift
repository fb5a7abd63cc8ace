import Basics

extension BlockEncoder {
  /// Encodes records that did not come from a teacher's rows, such as those of another cache.
  ///
  /// - Parameters:
  ///   - records: columns of this encoding's shape, one row for every sample of the block.
  ///   - header: which block it is, and the digest of the inputs that the teacher saw.
  ///   - certificate: an upper bound of every record's error against the teacher's rows.
  func encode(
    _ records: RecordColumns, _ header: BlockHeader, _ certificate: Certificate
  ) throws -> EncodedBlock {
    precondition(
      records.rows == header.rows && certificate.records == header.rows,
      "\(header.key) has \(header.rows) rows, got \(records.rows) records and a certificate of "
        + "\(certificate.records)")
    columns = records
    return try pack(header, certificate, [:])
  }
}
