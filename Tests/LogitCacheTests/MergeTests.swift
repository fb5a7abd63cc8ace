import Basics
import Compression
import Foundation
import LMDB
import LogitCache
import TestSupport
import Testing

/// What the tests throw to cut a merge short.
private struct Cut: Error {}

extension Job {
  /// Writes some blocks into an unfinished cache, in a few commits and restarts.
  func write(
    _ blocks: Range<Int>, to path: String, shard: Shard? = nil,
    using generator: inout SeededGenerator
  ) throws {
    let encoder = try BlockEncoder(manifest: manifest)
    var keys = blocks.map { manifest.blockKey(at: $0) }.shuffled(using: &generator)
    repeat {
      let writer = try CacheWriter(path: path, manifest: manifest, labels: labels)
      try writer.note(shard)
      let count = min(keys.count, Int.random(in: 1...4, using: &generator))
      try writer.append(keys[..<count].map { try encode($0, with: encoder) })
      keys.removeFirst(count)
    } while !keys.isEmpty
  }
}

@Suite struct MergeTests {
  private let folder = ScratchFolder()
  private let job = Job(classes: 12, k: 5, samples: 50, views: 2)
  private var featureJob: Job {
    Job(classes: 12, k: 5, samples: 50, views: 2, featureWidth: 7)
  }

  @Test(arguments: [1, 2, 7, 20], UInt64(1)...4)
  func `shards in any order, cut short anywhere, merge to the digest of one run`(
    count: Int, seed: UInt64
  ) throws {
    for job in [job, featureJob] {
      let folder = ScratchFolder()
      var generator = SeededGenerator(seed: seed)
      let wanted = try job.write(to: folder.file("whole"))
      let shards = (1...count).shuffled(using: &generator).map { Shard($0, of: count)! }
      for shard in shards {
        let path = folder.file("\(shard.index)")
        try job.write(
          shard.blocks(of: job.manifest), to: path, shard: shard, using: &generator)
        #expect(try CacheReader(path: path).shard == shard)
      }
      let inputs = shards.map { folder.file("\($0.index)") }
      for _ in 0..<3 {
        let last = Int.random(in: 1...20, using: &generator)
        _ = try? mergeCaches(inputs, into: folder.file("merged"), commitBytes: 1) { done, _ in
          if done >= last { throw Cut() }
        }
        _ = try verifyCache(path: folder.file("merged"))
      }
      let report = try mergeCaches(inputs, into: folder.file("merged"))
      #expect(report.cacheDigest == wanted, "\(count) shards, seed \(seed)")
      #expect(report.missingBlocks == 0 && report.records == 100)
      #expect(try verifyCache(path: folder.file("merged")).cacheDigest == wanted)
      let again = try mergeCaches(inputs, into: folder.file("merged"))
      #expect(again.cacheDigest == wanted && again.newBlocks == 0)
      if job.manifest.encoding.featureWidth != nil {
        #expect(
          try CacheReader(path: folder.file("merged")).classMeans()
            == CacheReader(path: folder.file("whole")).classMeans())
      }
      #expect(
        try CacheReader(path: folder.file("merged")).certificate()
          == CacheReader(path: folder.file("whole")).certificate())
    }
  }

  @Test(arguments: [false, true])
  func `a merge with missing blocks says so, stays open, and precompute can finish it`(
    hasFeatures: Bool
  ) throws {
    let job = hasFeatures ? featureJob : job
    var generator = SeededGenerator(seed: 3)
    try job.write(0..<5, to: folder.file("a"), using: &generator)
    try job.write(9..<14, to: folder.file("b"), using: &generator)
    let inputs = [folder.file("a"), folder.file("b")]
    // Cut while blocks of b are awaited: a writer that makes them itself must not count them twice.
    _ = try? mergeCaches(inputs, into: folder.file("cut"), commitBytes: 1) { done, _ in
      if done == 6 { throw Cut() }
    }
    let report = try mergeCaches(inputs, into: folder.file("merged"))
    #expect(report.cacheDigest == nil)
    #expect(report.missingBlocks == 4 && report.blocks == 10)
    #expect(report.firstMissing == "view 0, block 5")
    let wanted = try job.write(to: folder.file("whole"))
    for name in ["cut", "merged"] {
      #expect(try verifyCache(path: folder.file(name)).cacheDigest == nil)
      #expect(try job.write(to: folder.file(name)) == wanted, "\(name)")
      _ = try verifyCache(path: folder.file(name))
    }
  }

  @Test func `equal overlap is accepted, also with a sealed cache`() throws {
    var generator = SeededGenerator(seed: 4)
    let wanted = try job.write(to: folder.file("whole"))
    try job.write(0..<9, to: folder.file("a"), using: &generator)
    try job.write(4..<14, to: folder.file("b"), using: &generator)
    let inputs = ["a", "b", "a"].map { folder.file($0) }
    let report = try mergeCaches(inputs, into: folder.file("merged"))
    #expect(report.cacheDigest == wanted && report.caches == 2)
    let more = try mergeCaches([folder.file("whole"), folder.file("b")], into: folder.file("two"))
    #expect(more.cacheDigest == wanted && more.newBlocks == 14)
  }

  @Test func `overlap that differs is refused by the block, and nothing is made`() throws {
    var generator = SeededGenerator(seed: 5)
    var other = job
    other.seed = 2
    try job.write(0..<9, to: folder.file("a"), using: &generator)
    try other.write(8..<14, to: folder.file("b"), using: &generator)
    let found = problem {
      _ = try mergeCaches([folder.file("a"), folder.file("b")], into: folder.file("merged"))
    }
    #expect(found.kind == .corrupt)
    #expect(found.message.contains("view 1, block 1 differs"), "\(found)")
    #expect(found.message.contains(folder.file("a")) && found.message.contains(folder.file("b")))
    #expect(!Files.exists(folder.file("merged")))
    // The merged cache itself counts as one of them.
    _ = try mergeCaches([folder.file("a")], into: folder.file("merged"))
    let again = problem { _ = try mergeCaches([folder.file("b")], into: folder.file("merged")) }
    #expect(again.message.contains("view 1, block 1 differs"), "\(again)")
  }

  @Test func `with features a contained cache is fine, a partial overlap is refused`() throws {
    let job = featureJob
    var generator = SeededGenerator(seed: 6)
    let wanted = try job.write(to: folder.file("whole"))
    for (name, blocks) in [("a", 0..<8), ("inside", 2..<5), ("b", 8..<14), ("across", 6..<10)] {
      try job.write(blocks, to: folder.file(name), using: &generator)
    }
    // The last one lies inside the first two together.
    let fine = ["inside", "a", "b", "across"].map { folder.file($0) }
    #expect(try mergeCaches(fine, into: folder.file("merged")).cacheDigest == wanted)
    let found = problem {
      _ = try mergeCaches(
        ["across", "a"].map { folder.file($0) }, into: folder.file("refused"))
    }
    #expect(found.kind == .corrupt)
    #expect(found.message.contains("shares some of its blocks"), "\(found)")
    #expect(found.message.contains("would count twice"))
  }

  @Test func `caches of another job are refused with what differs`() throws {
    var generator = SeededGenerator(seed: 7)
    var other = job
    other.manifest.seed = 9
    other.manifest.encoding.k = 4
    try job.write(0..<9, to: folder.file("a"), using: &generator)
    try other.write(9..<14, to: folder.file("b"), using: &generator)
    let found = problem {
      _ = try mergeCaches([folder.file("a"), folder.file("b")], into: folder.file("merged"))
    }
    #expect(found.kind == .corrupt)
    #expect(
      found.message.contains("seed: \(folder.file("a")) has 7, \(folder.file("b")) has 9"),
      "\(found)")
    #expect(found.message.contains("encoding.k"))
    #expect(!Files.exists(folder.file("merged")))
  }

  @Test(arguments: [false, true])
  func `a damaged block is refused by name, also when its checksum is right`(
    hasRightChecksum: Bool
  ) throws {
    var generator = SeededGenerator(seed: 8)
    try job.write(0..<14, to: folder.file("a"), using: &generator)
    let key = BlockKey(view: 1, block: 3)
    var other = job
    other.seed = 2
    var value = try other.encode(key, with: BlockEncoder(manifest: job.manifest)).storedValue
    if !hasRightChecksum { value[9] ^= 16 }
    let environment = try Environment(
      path: folder.file("a"), tables: ["blocks", "index", "meta"],
      access: .write(mapBytes: 1 << 24))
    try environment.write {
      try $0.put(value, forKey: [0, 0, 0, 1, 0, 0, 0, 3], in: environment.table("blocks"))
    }
    let found = problem { _ = try mergeCaches([folder.file("a")], into: folder.file("merged")) }
    #expect(found.kind == .corrupt)
    #expect(found.message.contains("\(key) is damaged"), "\(found)")
  }

  @Test func `a cache is not merged into itself, nor with nothing`() throws {
    try job.write(to: folder.file("a"))
    let itself = problem {
      _ = try mergeCaches([folder.file("a")], into: folder.file("a") + "/../a")
    }
    #expect(itself.kind == .usage && itself.message.contains("into itself"))
    #expect(problem { _ = try mergeCaches([], into: folder.file("b")) }.kind == .usage)
  }

  @Test func `a cache that another process writes is refused`() async throws {
    let path = folder.file("a")
    try job.write(to: path, seal: false)
    let writer = try CacheWriter(path: path, manifest: job.manifest, labels: job.labels)
    let merged = folder.file("merged")
    await #expect(processExitsWith: .success) {
      [path = path as String, merged = merged as String] in
      let found = problem { _ = try mergeCaches([path], into: merged) }
      try #require(found.kind == .cannotCreate && found.message.contains("is in use"))
    }
    _ = try writer.seal()
  }

  @Test func `a folder of another shard is refused`() throws {
    let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
    try writer.note(Shard(3, of: 16))
    let found = problem { try writer.note(Shard(1, of: 6)) }
    #expect(found.kind == .usage)
    #expect(found.message.contains("is shard 3/16, this run is shard 1/6"))
    try writer.note(Shard(3, of: 16))
    try writer.note(nil)
    try writer.note(Shard(1, of: 6))
  }

  @Test func `the noted shard does not change the digest, nor outlive the seal`() throws {
    let wanted = try job.write(to: folder.file("whole"))
    var generator = SeededGenerator(seed: 1)
    try job.write(0..<14, to: folder.file("a"), shard: Shard(1, of: 1), using: &generator)
    #expect(
      try CacheWriter(path: folder.file("a"), manifest: job.manifest, labels: job.labels).seal()
        == wanted)
    #expect(try CacheReader(path: folder.file("a")).shard == nil)
  }
}

@Suite struct SealedCountTests {
  @Test func `a sealed cache whose manifest claims more blocks is refused at once`() throws {
    let folder = ScratchFolder()
    var job = Job(classes: 12, k: 5, samples: 50, views: 2)
    try job.write(to: folder.path)
    // Everything that can be forged is forged: the manifest, its fingerprint, the seal's digests.
    job.manifest.views = 1 << 20
    let environment = try Environment(
      path: folder.path, tables: ["blocks", "index", "meta"], access: .write(mapBytes: 1 << 24))
    let text = Array(try canonicalJSON(job.manifest).utf8)
    try environment.write {
      try $0.put(
        sealed(text), forKey: Array("manifest".utf8), in: environment.table("meta"))
    }
    let old = try parseJSON(Files.read(folder.file("seal.json")), source: "seal")
    let bytes = try Files.read(folder.file("data.mdb"))
    let seal = JSONValue.object([
      "formatVersion": .integer(1), "cacheDigest": old["cacheDigest"]!,
      "fingerprint": .string(try job.manifest.fingerprint.description),
      "dataBytes": .integer(bytes.count), "chunkBytes": .integer(1 << 20),
      "chunks": .array([.string(Digest(of: bytes).description)]),
    ])
    try Files.writeAtomically(try canonicalJSON(seal) + "\n", to: folder.file("seal.json"))
    for found in [
      problem { _ = try CacheReader(path: folder.path) },
      problem { _ = try verifyCache(path: folder.path) },
    ] {
      #expect(found.kind == .corrupt)
      #expect(found.message.contains("14 entries"), "\(found)")
      #expect(found.message.contains("7340032 blocks"), "\(found)")
    }
  }

  /// Counted one by one, the awaited blocks would take hours.
  @Test func `awaited blocks of millions of views are counted at once`() throws {
    let folder = ScratchFolder()
    var job = Job(classes: 12, k: 5, samples: 50, views: 2, featureWidth: 7)
    try job.write(to: folder.path, seal: false)
    job.manifest.views = 1 << 24
    let environment = try Environment(
      path: folder.path, tables: ["blocks", "index", "meta"], access: .write(mapBytes: 1 << 24))
    let text = Array(try canonicalJSON(job.manifest).utf8)
    let awaited = [14, job.manifest.blockCount].flatMap { position in
      withUnsafeBytes(of: UInt64(position).littleEndian) { Array($0) }
    }
    try environment.write {
      let meta = environment.table("meta")
      try $0.put(sealed(text), forKey: Array("manifest".utf8), in: meta)
      try $0.put(sealed(awaited), forKey: Array("awaited".utf8), in: meta)
    }
    let found = problem { _ = try verifyCache(path: folder.path) }
    let records = (1 << 24) * job.labels.count { $0 == job.labels[0] }
    #expect(
      found.message.contains("the feature sums of class \(job.labels[0]) hold"), "\(found)")
    #expect(found.message.contains("records, the blocks \(records)"), "\(found)")
  }

  @Test func `more records than can be counted are refused`() {
    var manifest = Job(classes: 2, k: 1, samples: 5).manifest
    manifest.dataSet.samples = 1 << 40
    manifest.views = 1 << 24
    manifest.encoding.blockRows = 1 << 16
    let found = problem { try manifest.validate() }
    #expect(found.message.contains("more than the"), "\(found)")
  }

  /// A stored value: CRC-32, then the bytes.
  private func sealed(_ bytes: [UInt8]) -> [UInt8] {
    withUnsafeBytes(of: crc32(of: bytes.span.bytes).littleEndian) { Array($0) } + bytes
  }
}
