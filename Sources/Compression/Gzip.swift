internal import Basics
internal import CZlib

/// Unpacks and packs single-member gzip files (RFC 1952) held in memory.
public enum Gzip {
  /// Deflate never packs tighter than this; a claim beyond it is a lie told before allocating.
  public static let largestRatio = 1032

  /// Whether bytes begin as a gzip file does.
  public static func isGzip(_ bytes: [UInt8]) -> Bool { bytes.starts(with: [0x1F, 0x8B]) }

  /// The first `count` unpacked bytes, or all of them when there are fewer.
  ///
  /// - Throws: `Problem(.corrupt)` naming `source` when they cannot be unpacked.
  public static func prefix(of bytes: [UInt8], count: Int, source: String) throws -> [UInt8] {
    let result = inflated(bytes, room: count)
    guard result.code == Z_OK || result.code == Z_STREAM_END || result.output.count == count else {
      throw Problem(.corrupt, "cannot unpack \(source): \(explanation(of: result.code))")
    }
    return result.output
  }

  /// Unpacks a whole file that is known to hold `count` bytes.
  ///
  /// - Throws: `Problem(.corrupt)` naming `source` when the file is cut off, fails its checksum,
  ///   holds more or fewer bytes, or goes on after its end.
  public static func unpack(_ bytes: [UInt8], count: Int, source: String) throws -> [UInt8] {
    guard count / largestRatio <= bytes.count else {
      throw Problem(
        .corrupt, "\(source) cannot hold \(count) bytes: it has only \(bytes.count) packed ones")
    }
    // One byte of extra room shows whether there is more than there should be.
    let result = inflated(bytes, room: count + 1)
    guard result.output.count <= count else {
      throw Problem(.corrupt, "\(source) holds more than the \(count) unpacked bytes expected")
    }
    guard result.code == Z_STREAM_END else {
      throw Problem(
        .corrupt,
        "cannot unpack \(source): \(explanation(of: result.code)) "
          + "after \(result.output.count) of \(count) bytes")
    }
    guard result.output.count == count else {
      throw Problem(
        .corrupt, "\(source) holds \(result.output.count) unpacked bytes, \(count) were expected")
    }
    guard result.consumed == bytes.count else {
      throw Problem(
        .corrupt, "\(source) goes on for \(bytes.count - result.consumed) bytes after its end")
    }
    return result.output
  }

  /// Packs bytes; no time stamp, so the same bytes give the same file.
  package static func pack(_ bytes: [UInt8]) -> [UInt8] {
    var stream = z_stream()
    let status = deflateInit2_(
      &stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzipWindow, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
      Int32(MemoryLayout<z_stream>.size))
    precondition(status == Z_OK, "deflateInit2 gave \(status)")
    defer { deflateEnd(&stream) }
    precondition(bytes.count < 1 << 30, "\(bytes.count) bytes are too many to pack in one call")
    let bound = Int(deflateBound(&stream, UInt(bytes.count)))
    return [UInt8](unsafeUninitializedCapacity: bound) { buffer, written in
      bytes.withUnsafeBufferPointer { input in
        stream.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
        stream.avail_in = UInt32(input.count)
        stream.next_out = buffer.baseAddress
        stream.avail_out = UInt32(bound)
        let code = deflate(&stream, Z_FINISH)
        precondition(code == Z_STREAM_END, "deflate gave \(code) with \(bound) bytes of room")
      }
      written = bound - Int(stream.avail_out)
    }
  }
}

/// Largest window, and gzip framing rather than zlib's.
private let gzipWindow: Int32 = 15 + 16

/// zlib counts in 32 bits, so long inputs and outputs are handed over in pieces of this size.
private let pieceSize = 1 << 30

private struct Unpacked {
  var output: [UInt8]
  /// Packed bytes read.
  var consumed: Int
  /// zlib's last code: `Z_STREAM_END` at a sound end, `Z_OK` when the room was used up,
  /// `Z_BUF_ERROR` when the input ended first, negative codes for damage.
  var code: Int32
}

/// Unpacks until the stream ends, the input ends, or `room` bytes are written.
private func inflated(_ bytes: [UInt8], room: Int) -> Unpacked {
  var stream = z_stream()
  var code = inflateInit2_(
    &stream, gzipWindow, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
  precondition(code == Z_OK, "inflateInit2 gave \(code)")
  defer { inflateEnd(&stream) }
  var consumed = 0
  let output = [UInt8](unsafeUninitializedCapacity: room) { buffer, written in
    bytes.withUnsafeBufferPointer { input in
      while code == Z_OK, written < room {
        let inputPiece = min(pieceSize, input.count - consumed)
        let outputPiece = min(pieceSize, room - written)
        stream.next_in = UnsafeMutablePointer(mutating: input.baseAddress.map { $0 + consumed })
        stream.avail_in = UInt32(inputPiece)
        stream.next_out = buffer.baseAddress.map { $0 + written }
        stream.avail_out = UInt32(outputPiece)
        code = inflate(&stream, Z_NO_FLUSH)
        consumed += inputPiece - Int(stream.avail_in)
        written += outputPiece - Int(stream.avail_out)
      }
    }
  }
  return Unpacked(output: output, consumed: consumed, code: code)
}

private func explanation(of code: Int32) -> String {
  switch code {
  case Z_BUF_ERROR, Z_OK: "it is cut off"
  case Z_DATA_ERROR: "its bytes are damaged or it is not gzip"
  case Z_MEM_ERROR: "out of memory"
  default: "zlib code \(code)"
  }
}
