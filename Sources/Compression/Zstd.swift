internal import Basics
internal import CZstd

/// A zstd frame and how many of its bytes each piece took.
public struct ZstdFrame: Sendable {
  /// The whole frame.
  public let bytes: [UInt8]
  /// Compressed bytes of each piece; they sum to `bytes.count`.
  ///
  /// The first piece carries the frame header.
  public let pieceSizes: [Int]
}

/// Compresses whole values into one frame each; keeps its working memory between values.
///
/// Not for use by several threads at once.
public final class ZstdCompressor: @unchecked Sendable {  // holds only its own context
  private let context: OpaquePointer
  private var output: [UInt8] = []

  /// - Parameter level: 1 (fast) to 19 (small).
  public init(level: Int) throws {
    guard let context = ZSTD_createCCtx() else {
      throw Problem(.inputOutput, "zstd: not enough memory for a compressor")
    }
    self.context = context
    try check(
      ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, CInt(level)), "set level \(level)")
    try check(ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 1), "set content size flag")
  }

  deinit { ZSTD_freeCCtx(context) }

  /// Compresses `bytes` into one frame that records its size, starting a new zstd block at every
  /// piece, so that pieces of different kinds do not share one Huffman table.
  ///
  /// - Parameter pieces: lengths of consecutive pieces; they sum to `bytes.count`.
  public func compress(_ bytes: [UInt8], pieces: [Int]) throws -> ZstdFrame {
    let total = pieces.reduce(0, +)
    precondition(total == bytes.count, "pieces sum to \(total), not to \(bytes.count) bytes")
    let bound = ZSTD_compressBound(bytes.count) + 32 * (pieces.count + 1)
    if output.count < bound {
      output.append(contentsOf: repeatElement(0, count: bound - output.count))
    }
    try check(ZSTD_CCtx_reset(context, ZSTD_reset_session_only), "reset")
    try check(ZSTD_CCtx_setPledgedSrcSize(context, UInt64(bytes.count)), "pledge size")
    var sizes: [Int] = []
    let written = try bytes.withUnsafeBytes { source in
      try output.withUnsafeMutableBytes { target in
        try run(source, pieces, into: target, sizes: &sizes)
      }
    }
    return ZstdFrame(bytes: Array(output[..<written]), pieceSizes: sizes)
  }

  private func run(
    _ source: UnsafeRawBufferPointer, _ pieces: [Int], into target: UnsafeMutableRawBufferPointer,
    sizes: inout [Int]
  ) throws -> Int {
    var out = ZSTD_outBuffer(dst: target.baseAddress, size: target.count, pos: 0)
    var end = 0
    for (index, piece) in pieces.enumerated() {
      let start = end
      let before = out.pos
      end += piece
      var input = ZSTD_inBuffer(
        src: source.baseAddress.map { $0 + start }, size: piece, pos: 0)
      let directive = index == pieces.count - 1 ? ZSTD_e_end : ZSTD_e_flush
      var remaining = 1
      while remaining > 0 {
        remaining = ZSTD_compressStream2(context, &out, &input, directive)
        try check(remaining, "compress \(source.count) bytes")
      }
      sizes.append(out.pos - before)
    }
    return out.pos
  }
}

/// Decompresses values whose size is known; keeps its working memory between values.
///
/// Not for use by several threads at once.
public final class ZstdDecompressor: @unchecked Sendable {  // holds only its own context
  private let context: OpaquePointer

  /// Makes a decompressor.
  public init() throws {
    guard let context = ZSTD_createDCtx() else {
      throw Problem(.inputOutput, "zstd: not enough memory for a decompressor")
    }
    self.context = context
  }

  deinit { ZSTD_freeDCtx(context) }

  /// Decompresses one frame into exactly `size` bytes; `output` gets that count.
  ///
  /// - Throws: `Problem(.corrupt)` when the frame claims or yields another size, is damaged, or is
  ///   followed by anything. Nothing is allocated on the frame's word, only on `size`.
  public func decompress(_ frame: RawSpan, to size: Int, into output: inout [UInt8]) throws {
    try frame.withUnsafeBytes { source in
      let claimed = ZSTD_getFrameContentSize(source.baseAddress, source.count)
      guard claimed == UInt64(size) else {
        throw Problem(
          .corrupt, "the zstd frame does not record the expected size of \(size) bytes")
      }
      let length = ZSTD_findFrameCompressedSize(source.baseAddress, source.count)
      guard ZSTD_isError(length) == 0, length == source.count else {
        throw Problem(.corrupt, "the zstd frame does not end with its \(source.count) bytes")
      }
      output.setCount(size, filler: 0)
      let yielded = output.withUnsafeMutableBytes {
        ZSTD_decompressDCtx(
          context, $0.baseAddress, size, source.baseAddress, source.count)
      }
      try check(yielded, "decompress \(source.count) bytes into \(size)")
      guard yielded == size else {
        throw Problem(.corrupt, "the zstd frame yields \(yielded) bytes instead of \(size)")
      }
    }
  }
}

private func check(_ code: Int, _ doing: String) throws {
  if ZSTD_isError(code) == 0 { return }
  throw Problem(.corrupt, "zstd: cannot \(doing): \(String(cString: ZSTD_getErrorName(code)))")
}
