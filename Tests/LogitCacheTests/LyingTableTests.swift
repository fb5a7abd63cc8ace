import Basics
import Foundation
import LMDB
import LogitCache
import Losses
import TestSupport
import Testing

/// Entries of `meta`, `index` and `blocks` whose checksums are right and whose content lies.
@Suite struct LyingTableTests {
  private let job = Job(classes: 12, k: 5, samples: 20)
  private let folder = ScratchFolder()
  private let firstBlock = [UInt8](repeating: 0, count: 8)

  init() throws { try job.write(to: folder.path, seal: false) }

  /// Rewrites what follows the checksum of an entry, and the checksum with it; or makes a new entry.
  private func rewrite(
    _ table: String, _ key: [UInt8], _ change: (inout [UInt8]) -> Void
  ) throws {
    let environment = try Environment(
      path: folder.path, tables: ["blocks", "index", "meta"], access: .write(mapBytes: 1 << 24))
    try environment.write { transaction in
      let stored = try transaction.value(forKey: key, in: environment.table(table))
      var payload = Array((stored ?? []).dropFirst(4))
      change(&payload)
      try transaction.put(
        BlockProbe.withChecksum(payload), forKey: key, in: environment.table(table))
    }
  }

  private func rewriteManifest(_ text: String, _ other: String) throws {
    try rewrite("meta", Array("manifest".utf8)) { payload in
      let manifest = String(decoding: payload, as: UTF8.self)
      precondition(manifest.contains(text), "no \(text) in \(manifest)")
      payload = Array(manifest.replacingOccurrences(of: text, with: other).utf8)
    }
  }

  private var whenVerified: Problem { problem { _ = try verifyCache(path: folder.path) } }

  private var whenRead: Problem {
    problem {
      let reader = try CacheReader(path: folder.path)
      var batch = reader.makeBatch()
      for key in try reader.storedBlocks() {
        try reader.decode(view: key.view, block: key.block, into: &batch)
      }
    }
  }

  private var whenContinued: Problem {
    problem { _ = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels) }
  }

  /// What `precompute` asks before it learns.
  private var whenAskedForItsCalibration: Problem {
    problem { _ = try CacheWriter.storedCalibration(path: folder.path, manifest: job.manifest) }
  }

  // MARK: - Manifest

  @Test(arguments: [
    ("\"formatVersion\":1", "\"formatVersion\":2", "format version 2 is not known"),
    ("\"formatVersion\":1", "\"formatVersion\":0", "format version 0 is not known"),
    ("\"zstdLevel\":1", "\"zstdLevel\":99", "zstdLevel is 99"),
    ("\"k\":5", "\"k\":13", "k is 13, it must be in 1...12"),
    ("\"k\":5", "\"k\":0", "k is 0"),
    ("\"classes\":12", "\"classes\":16777217", "classes is 16777217"),
    ("\"classes\":12", "\"classes\":13", "names 12 classes"),
    ("\"blockRows\":8", "\"blockRows\":65537", "blockRows is 65537"),
    ("\"blockRows\":8", "\"blockRows\":0", "blockRows is 0"),
    ("\"stepsPerNat\":32", "\"stepsPerNat\":257", "stepsPerNat is 257"),
    ("\"temperatures\":[1,2,4]", "\"temperatures\":[]", "number of temperatures is 0"),
    ("\"temperatures\":[1,2,4]", "\"temperatures\":[1,2,2]", "must be ascending"),
    ("\"temperatures\":[1,2,4]", "\"temperatures\":[\"2/2\",2,4]", "'2/2' is not a temperature"),
    ("\"samples\":20", "\"samples\":1099511627777", "cannot be cached"),
    ("\"samples\":20", "\"samples\":0", "cannot be cached"),
    ("\"views\":1", "\"views\":16777217", "cannot be cached"),
    ("\"views\":1", "\"views\":-1", "cannot be cached"),
    ("\"views\":1", "\"views\": 1", "not canonical JSON"),
    ("\"views\":1", "\"views\":1,\"wishes\":3", "not canonical JSON"),
    ("\"seed\":7", "\"seed\":9223372036854775808", "must be below 2^63"),
  ])
  func `a manifest out of its limits is refused`(
    text: String, other: String, complaint: String
  ) throws {
    try rewriteManifest(text, other)
    expectCorrupt([whenVerified, whenRead, whenContinued], [complaint])
  }

  @Test func `a codec that this program does not know is refused`() throws {
    try rewriteManifest("\"codec\":\(job.manifest.encoding.codec)", "\"codec\":99")
    expectCorrupt([whenVerified, whenRead, whenContinued], ["codec is 99"])
  }

  // MARK: - Calibration

  private let calibration = Array("calibration".utf8)

  @Test func `a calibration that is not the manifest's is refused`() throws {
    try rewrite("meta", calibration) { $0[$0.count - 1] ^= 1 }
    expectCorrupt(
      [whenVerified, whenRead, whenContinued, whenAskedForItsCalibration],
      ["the calibration is not the manifest's"])
  }

  /// What a calibration may not say is in `HostileCalibrationTests`.
  @Test func `a calibration that lies is refused although the manifest names its digest`() throws {
    var wrong: [UInt8] = []
    try rewrite("meta", calibration) {
      $0[6] = 3  // the key
      wrong = $0
    }
    try rewriteManifest(job.manifest.calibration.description, Digest(of: wrong).description)
    expectCorrupt(
      [whenVerified, whenRead, whenAskedForItsCalibration], ["the calibration is damaged"])
  }

  @Test func `with another calibration a cache is not the one that was sealed`() throws {
    let sealed = ScratchFolder()
    let own = try job.write(to: sealed.path)
    var other = job
    let parts = CalibrationParts.learned(key: 1)
    other.calibration = try Calibration(parts.bytes(width: 4), job.manifest.encoding)
    let found = problem {
      _ = try CacheWriter(
        path: sealed.path, manifest: other.manifest, labels: job.labels,
        calibration: other.calibration)
    }
    #expect(found.message.contains("calibration: the cache has"), "\(found)")
    #expect(try other.write(to: ScratchFolder().path) != own)
  }

  // MARK: - Labels

  /// The labels of 20 samples, 8 a block and 4 bits each.
  private func labelKey(_ block: UInt8) -> [UInt8] { Array("labels".utf8) + [0, 0, 0, block] }

  @Test(arguments: [(0, 8), (2, 4)])
  func `labels of fewer or more samples than the block has are refused`(
    block: Int, samples: Int
  ) throws {
    var sound: [UInt8] = []
    try rewrite("meta", labelKey(UInt8(block))) { sound = $0 }
    #expect(sound.count == samples / 2)
    for wrong in sound.indices.map({ Array(sound.prefix($0)) }) + [sound + [0], sound + sound] {
      try rewrite("meta", labelKey(UInt8(block))) { $0 = wrong }
      expectCorrupt(
        [whenVerified, whenRead, whenContinued],
        ["the labels of block \(block) are damaged: ", "wrong for its integers"])
    }
  }

  @Test(arguments: 12...15)
  func `labels that are no class are refused`(label: UInt8) throws {
    for place in 0..<4 {
      var sound: [UInt8] = []
      try rewrite("meta", labelKey(1)) {
        sound = $0
        $0[place] = $0[place] & 0x0F | label << 4
      }
      expectCorrupt(
        [whenVerified, whenRead, whenContinued],
        ["the labels of block 1 are damaged: one is not a class"])
      try rewrite("meta", labelKey(1)) { $0 = sound }
    }
  }

  @Test func `labels that are classes, but others, are refused`() throws {
    let label = UInt8(job.labels[8])
    try rewrite("meta", labelKey(1)) { $0[0] = $0[0] & 0xF0 | (label + 1) % 12 }
    expectCorrupt(
      [whenVerified, whenContinued], ["the labels are not those that the manifest names"])
  }

  @Test func `keys of table meta that the format does not know are refused by verify`() throws {
    let keys = [labelKey(3), Array("labels".utf8), labelKey(0) + [0], [0]]
    for (index, key) in keys.enumerated() {
      try rewrite("meta", key) { $0 = [0] }
      expectCorrupt([whenVerified], ["table 'meta' holds \(index + 1) foreign keys"])
    }
  }

  // MARK: - Index

  /// Rows, canonical length, stored length, both digests and the planes' sizes, then the certificate.
  @Test(arguments: [
    (0, "malformed"), (4, "canonical length"), (8, "stored length"), (12, "another digest"),
    (44, "view digest"), (76, "damaged"), (78, "damaged"), (80, "damaged"),
  ])
  func `an index entry that the block does not bear out is refused`(
    offset: Int, complaint: String
  ) throws {
    for change in [1, 0x80] as [UInt8] {
      try rewrite("index", firstBlock) { $0[offset] ^= change }
      expectCorrupt([whenVerified], ["view 0, block 0", complaint])
      try rewrite("index", firstBlock) { $0[offset] ^= change }
    }
    _ = try verifyCache(path: folder.path)
  }

  @Test func `an index entry cut anywhere, or going on, is refused`() throws {
    var sound: [UInt8] = []
    try rewrite("index", firstBlock) { sound = $0 }
    for wrong in (0..<sound.count).map({ Array(sound.prefix($0)) }) + [sound + [0]] {
      try rewrite("index", firstBlock) { $0 = wrong }
      #expect(whenVerified.kind == .corrupt, "\(wrong.count) bytes")
    }
  }

  // MARK: - Blocks

  /// Puts a block with these canonical bytes in the first one's place, and an index entry that agrees.
  private func replaceFirstBlock(by canonical: [UInt8]) throws {
    let value = try BlockProbe(job.manifest).storedValue(ofCanonical: canonical)
    try rewrite("blocks", firstBlock) { $0 = Array(value.dropFirst(4)) }
    try rewrite("index", firstBlock) { entry in
      // After the sizes of its planes, two variable integers each, comes the certificate.
      var certificate = 77
      for _ in 0..<entry[76] {
        certificate += 1
        for _ in 0..<2 {
          while entry[certificate] >= 128 { certificate += 1 }
          certificate += 1
        }
      }
      let sizes = [1, 0] + variable(canonical.count) + variable(value.count - 8)
      entry =
        entry[..<4] + littleEndian(canonical.count, bytes: 4) + littleEndian(value.count, bytes: 4)
        + Digest(of: canonical).bytes + entry[44..<76] + sizes + entry[certificate...]
    }
  }

  private func variable(_ value: Int) -> [UInt8] {
    value < 128 ? [UInt8(value)] : [UInt8(value & 127 | 128)] + variable(value >> 7)
  }

  @Test func `a block in another form than the canonical one is read, and refused by verify`()
    throws
  {
    let sound = try SoundBlock(job)
    let batch = try sound.decode().batch
    try replaceFirstBlock(by: sound.encoded.canonicalBytes)
    _ = try verifyCache(path: folder.path)
    // The digits of rank 0, when nothing was learned.
    let first = (0..<batch.count).map { Int(batch.classIDs[$0 * batch.k]) }
    try replaceFirstBlock(by: sound.parts.with(1, .plain(first)).canonical)
    let reader = try CacheReader(path: folder.path)
    var same = reader.makeBatch()
    try reader.decode(view: 0, block: 0, into: &same)
    #expect(same.classIDs == batch.classIDs && same.gaps == batch.gaps)
    expectCorrupt([whenVerified], ["view 0, block 0 is damaged: it is not stored canonically"])
  }
}
