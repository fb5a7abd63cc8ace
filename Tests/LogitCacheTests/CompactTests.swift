import Basics
import Foundation
import LMDB
import LogitCache
import TestSupport
import Testing

@Suite struct CompactTests {
  private let folder = ScratchFolder()
  private let job = Job(
    classes: 40, k: 30, samples: 1600, views: 3, blockRows: 64, featureWidth: 3)

  /// Blocks in a random order, one commit each: free pages, and values out of order.
  private func scatter(seal: Bool) throws -> Digest? {
    var generator = SeededGenerator(seed: 5)
    let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
    for block in try job.encodeAll().shuffled(using: &generator) { try writer.append([block]) }
    return seal ? try writer.seal() : nil
  }

  @Test func `a compacted cache has the same digest, no free pages and its values in order`() throws
  {
    let digest = try scatter(seal: true)
    let report = try compactCache(path: folder.path)
    #expect(report.cacheDigest == digest)
    #expect(report.bytes < report.bytesBefore && report.blocks == 75)
    #expect(try verifyCache(path: folder.path).cacheDigest == digest)
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        == ["data.mdb", "seal.json"])
    #expect(!Files.exists(folder.path + ".compact"))
    let bytes = try Files.read(folder.file("data.mdb"))
    #expect(report.bytes == bytes.count)
    let again = try compactCache(path: folder.path)
    #expect(again.bytes == report.bytes && again.cacheDigest == digest)
    var last = 0
    for block in try job.encodeAll() where block.storedValue.count > 2048 {
      let place = try #require(bytes.firstRange(of: block.storedValue)).lowerBound
      #expect(place > last, "\(block.key)")
      last = place
    }
    #expect(last > 0)
  }

  @Test func `a cache that is being written is left alone`() throws {
    let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
    try writer.append([
      job.encode(BlockKey(view: 0, block: 0), with: BlockEncoder(manifest: job.manifest))
    ])
    let busy = problem { _ = try compactCache(path: folder.path) }
    #expect(busy.kind == .cannotCreate && busy.message.contains("is in use"))
    #expect(writer.missingBlocks().count == 74)
  }

  @Test func `an unfinished cache stays unfinished and can be continued`() throws {
    let wanted = ScratchFolder()
    let digest = try job.write(to: wanted.path)
    try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
      .append(Array(job.encodeAll()[20...]))
    let report = try compactCache(path: folder.path)
    #expect(report.cacheDigest == nil && report.blocks == 55)
    #expect(try job.write(to: folder.path) == digest)
  }

  @Test func `damage gets no fresh seal, and nothing is changed`() throws {
    _ = try scatter(seal: true)
    let victim = try job.encodeAll()[3]
    var bytes = try Files.read(folder.file("data.mdb"))
    let place = try #require(bytes.firstRange(of: victim.storedValue)).lowerBound
    bytes[place + victim.storedValue.count / 2] ^= 4
    try Files.writeAtomically(bytes, to: folder.file("data.mdb"))
    let found = problem { _ = try compactCache(path: folder.path) }
    #expect(found.kind == .corrupt)
    #expect(found.message.contains("\(victim.key) is damaged"), "\(found)")
    #expect(!found.message.contains(".compact"))
    #expect(try Files.read(folder.file("data.mdb")) == bytes)
    #expect(Files.exists(folder.file("seal.json")) && !Files.exists(folder.path + ".compact"))
  }

  @Test func `what a killed run left is removed, and a lost seal comes back`() throws {
    let digest = try scatter(seal: true)
    try Files.makeFolder(folder.path + ".compact")
    try Files.writeAtomically("half a copy", to: folder.path + ".compact/data.mdb")
    try FileManager.default.removeItem(atPath: folder.file("seal.json"))
    #expect(try compactCache(path: folder.path).cacheDigest == digest)
    #expect(try CacheReader(path: folder.path).cacheDigest == digest)
    #expect(!Files.exists(folder.path + ".compact"))
  }

  @Test func `a missing cache is refused by its path`() {
    let found = problem { _ = try compactCache(path: folder.file("no")) }
    #expect(found.kind == .noInput && found.message.contains(folder.file("no")))
  }
}
