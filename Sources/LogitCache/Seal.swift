import Basics
import Foundation

/// The file `seal.json` beside a sealed data file: what every byte of it must be.
///
/// LMDB has no checksums; with this file, damage anywhere is found, also in pages that no record
/// uses, before LMDB sees the file.
struct Seal: Codable, Equatable {
  var formatVersion: Int
  var cacheDigest: Digest
  var fingerprint: Digest
  /// Length of the data file.
  var dataBytes: Int
  /// Length of a chunk: a power of two; the last chunk may be shorter.
  var chunkBytes: Int
  /// SHA-256 of each chunk.
  var chunks: [Digest]

  /// 1 MiB, doubled until there are at most 4,096 chunks.
  static func chunkBytes(for dataBytes: Int) -> Int {
    var size = 1 << 20
    while (dataBytes + size - 1) / size > 4096 { size *= 2 }
    return size
  }

  /// Refuses a seal of another cache.
  ///
  /// - Throws: `Problem(.corrupt)` naming the seal's file.
  func checkBelongs(to folder: CacheFolder, fingerprint: Digest, stored: Digest?) throws {
    guard self.fingerprint == fingerprint, cacheDigest == stored else {
      throw Problem(.corrupt, "\(folder.sealFile) belongs to another data.mdb")
    }
  }

  /// Reads the data file once and describes it.
  static func describing(
    _ folder: CacheFolder, cacheDigest: Digest, fingerprint: Digest
  ) throws -> Seal {
    let bytes = folder.fileBytes
    var seal = Seal(
      formatVersion: Manifest.currentVersion, cacheDigest: cacheDigest, fingerprint: fingerprint,
      dataBytes: bytes, chunkBytes: chunkBytes(for: bytes), chunks: [])
    try forEachChunk(of: folder.dataFile, size: seal.chunkBytes) { _, digest in
      seal.chunks.append(digest)
    }
    return seal
  }

  /// Reads `seal.json`; `nil` when there is none.
  ///
  /// - Throws: `Problem(.corrupt)` when it is not exactly what sealing writes.
  static func read(_ folder: CacheFolder) throws -> Seal? {
    guard Files.exists(folder.sealFile) else { return nil }
    let text = try Files.read(folder.sealFile)
    guard let seal = try? JSONDecoder().decode(Seal.self, from: Data(text)),
      (try? seal.text) == text, seal.formatVersion == Manifest.currentVersion,
      seal.dataBytes > 0, seal.chunkBytes == chunkBytes(for: seal.dataBytes),
      seal.chunks.count == (seal.dataBytes + seal.chunkBytes - 1) / seal.chunkBytes
    else {
      throw Problem(
        .corrupt, "\(folder.sealFile) is damaged, or was written by another version")
    }
    return seal
  }

  private var text: [UInt8] {
    get throws { Array(try canonicalJSON(self).utf8) + [UInt8(ascii: "\n")] }
  }

  func write(_ folder: CacheFolder) throws {
    try Files.writeAtomically(try text, to: folder.sealFile)
  }

  /// - Throws: `Problem(.corrupt)` when the data file has another length.
  func checkLength(_ folder: CacheFolder) throws {
    let found = folder.fileBytes
    guard found == dataBytes else {
      throw Problem(
        .corrupt,
        "\(folder.dataFile) has \(found) bytes, it was sealed with \(dataBytes): it is "
          + (found < dataBytes ? "cut off" : "longer than it should be")
          + "; fetch or precompute it again")
    }
  }

  /// The byte ranges whose content is not what was sealed; neighbours are joined.
  func damagedRanges(_ folder: CacheFolder) throws -> [Range<Int>] {
    var damaged: [Range<Int>] = []
    try Seal.forEachChunk(of: folder.dataFile, size: chunkBytes) { range, digest in
      let index = range.lowerBound / chunkBytes
      if index < chunks.count, chunks[index] == digest { return }
      if let last = damaged.last, last.upperBound == range.lowerBound {
        damaged[damaged.count - 1] = last.lowerBound..<range.upperBound
      } else {
        damaged.append(range)
      }
    }
    return damaged
  }

  private static func forEachChunk(
    of path: String, size: Int, _ body: (Range<Int>, Digest) -> Void
  ) throws {
    guard let file = fopen(path, "rb") else {
      throw Problem(.noInput, "cannot open \(path): \(String(cString: strerror(errno)))")
    }
    defer { fclose(file) }
    var start = 0
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      var builder = DigestBuilder()
      var filled = 0
      while filled < size {
        let count = fread(&buffer, 1, min(buffer.count, size - filled), file)
        if count == 0 { break }
        buffer.withUnsafeBytes { builder.append(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        filled += count
      }
      guard ferror(file) == 0 else {
        throw Problem(.inputOutput, "cannot read \(path) after byte \(start + filled)")
      }
      if filled == 0 { return }
      body(start..<start + filled, builder.finish())
      start += filled
    }
  }
}
