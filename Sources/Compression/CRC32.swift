internal import CZlib

/// CRC-32 as in zlib, gzip and PNG (polynomial 0xEDB88320).
public func crc32(of bytes: RawSpan) -> UInt32 {
  bytes.withUnsafeBytes { UInt32(truncatingIfNeeded: crc32_z(0, $0.baseAddress, $0.count)) }
}
