import Basics
import Foundation
import LMDB
import LogitCache
import TestSupport
import Testing

/// Entries of `meta` and `index` whose checksums are right and whose content lies.
@Suite struct LyingTableTests {
  private let job = Job(classes: 12, k: 5, samples: 20)
  private let folder = ScratchFolder()
  private let firstBlock = [UInt8](repeating: 0, count: 8)

  init() throws { try job.write(to: folder.path, seal: false) }

  /// Rewrites what follows the checksum of an entry, and the checksum with it.
  private func rewrite(
    _ table: String, _ key: [UInt8], _ change: (inout [UInt8]) -> Void
  ) throws {
    let environment = try Environment(
      path: folder.path, tables: ["blocks", "index", "meta"], access: .write(mapBytes: 1 << 24))
    try environment.write { transaction in
      let stored = try transaction.value(forKey: key, in: environment.table(table))
      var payload = Array(try #require(stored).dropFirst(4))
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

  private func expectRefusals(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) {
    for found in [
      problem { _ = try verifyCache(path: folder.path) },
      problem { _ = try CacheReader(path: folder.path) },
      problem { _ = try CacheWriter(path: folder.path, manifest: job.manifest) },
    ] {
      #expect(found.kind == .corrupt, "\(found)", sourceLocation: sourceLocation)
      #expect(found.message.contains(text), "\(found)", sourceLocation: sourceLocation)
    }
  }

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
    expectRefusals(complaint)
  }

  @Test func `a codec that this program does not know is refused`() throws {
    try rewriteManifest("\"codec\":\(job.manifest.encoding.codec)", "\"codec\":99")
    expectRefusals("codec is 99")
  }

  @Test func `a calibration that is not the manifest's is refused`() throws {
    try rewrite("meta", Array("calibration".utf8)) { $0.append(1) }
    let found = problem { _ = try verifyCache(path: folder.path) }
    #expect(found.kind == .corrupt)
    #expect(found.message.contains("calibration"), "\(found)")
  }

  /// Rows, canonical length, stored length, both digests and the planes' sizes, then the certificate.
  @Test(arguments: [
    (0, "malformed"), (4, "canonical length"), (8, "stored length"), (12, "another digest"),
    (44, "view digest"), (76, "damaged"), (78, "damaged"),
    (80, "damaged"),
  ])
  func `an index entry that the block does not bear out is refused`(
    offset: Int, complaint: String
  ) throws {
    for change in [1, 0x80] as [UInt8] {
      try rewrite("index", firstBlock) { $0[offset] ^= change }
      let found = problem { _ = try verifyCache(path: folder.path) }
      #expect(found.kind == .corrupt, "\(found)")
      #expect(found.message.contains("view 0, block 0"), "\(found)")
      #expect(found.message.contains(complaint), "\(found)")
      try rewrite("index", firstBlock) { $0[offset] ^= change }
    }
    _ = try verifyCache(path: folder.path)
  }

  @Test func `an index entry cut anywhere, or going on, is refused`() throws {
    var sound: [UInt8] = []
    try rewrite("index", firstBlock) { sound = $0 }
    for wrong in (0..<sound.count).map({ Array(sound.prefix($0)) }) + [sound + [0]] {
      try rewrite("index", firstBlock) { $0 = wrong }
      let found = problem { _ = try verifyCache(path: folder.path) }
      #expect(found.kind == .corrupt, "\(wrong.count) bytes: \(found)")
    }
  }
}
