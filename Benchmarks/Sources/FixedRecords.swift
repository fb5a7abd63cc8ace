import Basics
import Foundation
import LogitCache
import Losses

/// A file of records of one size, as other tools keep them: int32 seed, uint16 ids [k], float16
/// probabilities at T = 1 [k] (the layout of TinyViT).
struct FixedRecords {
  /// Bytes of a record.
  let size: Int
  private let file: CInt
  private let k: Int

  /// Opens a file that `write` made.
  init(path: String, k: Int) throws {
    size = 4 + 4 * k
    self.k = k
    file = open(path, O_RDONLY)
    guard file >= 0 else { throw Problem(.noInput, "cannot open \(path)") }
  }

  /// Writes the records of view 0 of a cache.
  static func write(_ cache: CacheReader, to path: String) throws {
    var bytes: [UInt8] = []
    var batch = cache.makeBatch()
    for block in 0..<cache.manifest.blocksPerView {
      try cache.decode(view: 0, block: block, into: &batch)
      for row in 0..<batch.count { append(row, of: batch, to: &bytes) }
    }
    try Files.writeAtomically(bytes, to: path)
  }

  private static func append(_ row: Int, of batch: TeacherBatch, to bytes: inout [UInt8]) {
    let places = row * batch.k..<(row + 1) * batch.k
    let weights = batch.gaps[places].map { exp(-$0) }
    let tail = batch.k < batch.classes ? exp(batch.logTailRatio(row: row, temperature: 1)) : 0
    let total = weights.reduce(0, +) * Float(1 + tail)
    withUnsafeBytes(of: Int32(0).littleEndian) { bytes.append(contentsOf: $0) }
    for id in batch.classIDs[places] {
      withUnsafeBytes(of: UInt16(id).littleEndian) { bytes.append(contentsOf: $0) }
    }
    for weight in weights {
      withUnsafeBytes(of: Float16(weight / total).bitPattern.littleEndian) {
        bytes.append(contentsOf: $0)
      }
    }
  }

  /// Reads records into rows of ids [B, k] and probabilities [B, k], one `pread` each.
  func read(_ samples: some Sequence<Int>, ids: inout [Int32], probabilities: inout [Float]) throws
  {
    let complete = ids.withUnsafeMutableBufferPointer { ids in
      probabilities.withUnsafeMutableBufferPointer { probabilities in
        withUnsafeTemporaryAllocation(byteCount: size, alignment: 4) { record in
          var row = 0
          for sample in samples {
            guard pread(file, record.baseAddress, size, off_t(sample * size)) == size else {
              return false
            }
            for j in 0..<k {
              let id = record.load(fromByteOffset: 4 + 2 * j, as: UInt16.self)
              let value = record.load(fromByteOffset: 4 + 2 * (k + j), as: UInt16.self)
              ids[row * k + j] = Int32(UInt16(littleEndian: id))
              probabilities[row * k + j] = Float(
                Float16(bitPattern: UInt16(littleEndian: value)))
            }
            row += 1
          }
          return true
        }
      }
    }
    guard complete else { throw Problem(.inputOutput, "a fixed record cannot be read") }
  }
}
