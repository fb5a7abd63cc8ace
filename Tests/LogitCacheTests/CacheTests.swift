import Basics
import Foundation
import LogitCache
import Losses
import TestSupport
import Testing

private func contents(_ folder: String) throws -> [String: [UInt8]] {
  try FileManager.default.contentsOfDirectory(atPath: folder).reduce(into: [:]) {
    $0[$1] = try Files.read(folder + "/" + $1)
  }
}

@Suite struct CacheTests {
  private let job = Job(classes: 12, k: 5, samples: 50, views: 2)

  @Test(arguments: [1, 3, 9, 19])
  func `canonical bytes and cache digest do not depend on the zstd level`(level: Int) throws {
    var other = job
    other.manifest.encoding.zstdLevel = level
    let (a, b) = (try job.encodeAll(), try other.encodeAll())
    #expect(a.map(\.canonicalBytes) == b.map(\.canonicalBytes))
    #expect(try job.manifest.fingerprint == other.manifest.fingerprint)
    let (one, two) = (ScratchFolder(), ScratchFolder())
    #expect(try job.write(to: one.path) == other.write(to: two.path))
  }

  @Test(arguments: UInt64(1)...6)
  func `any order of commits and any number of restarts gives the same cache digest`(
    seed: UInt64
  ) throws {
    let straight = ScratchFolder()
    let wanted = try job.write(to: straight.path)
    var generator = SeededGenerator(seed: seed)
    var blocks = try job.encodeAll().shuffled(using: &generator)
    let folder = ScratchFolder()
    while !blocks.isEmpty {
      let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
      #expect(writer.missingBlocks() == blocks.map(\.key).sorted(), "seed \(seed)")
      #expect(problem { _ = try writer.seal() }.kind == .interrupted, "seed \(seed)")
      let count = Int.random(in: 1...blocks.count, using: &generator)
      try writer.append(Array(blocks[..<count]))
      blocks.removeFirst(count)
    }  // the writer goes away without a word, as when the process is killed
    let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
    #expect(try writer.seal() == wanted, "seed \(seed)")
    _ = try verifyCache(path: folder.path)
  }

  @Test(arguments: [-1, 12, Int32.max, .min])
  func `a label that is no class is refused by its sample before anything is made`(
    label: Int32
  ) throws {
    let folder = ScratchFolder()
    var labels = job.labels
    labels[17] = label
    var manifest = job.manifest
    manifest.dataSet = DataSetIdentity(
      name: "toys", fingerprint: Digest(of: "toys"), labels: labels,
      classNames: job.manifest.dataSet.classNames)
    let found = problem {
      _ = try CacheWriter(path: folder.file("new"), manifest: manifest, labels: labels)
    }
    #expect(found.kind == .configuration)
    #expect(found.message == "sample 17 has the label \(label), the classes are 0..<12")
    manifest.dataSet.samples = 49
    let other = problem {
      _ = try CacheWriter(path: folder.file("new"), manifest: manifest, labels: labels)
    }
    #expect(other.message == "there are 50 labels for 49 samples")
    #expect(!Files.exists(folder.file("new")))
  }

  @Test func `sealing again is a no-op that returns the digest`() throws {
    let folder = ScratchFolder()
    let digest = try job.write(to: folder.path)
    let before = try contents(folder.path)
    let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
    #expect(writer.sealedDigest == digest)
    #expect(writer.missingBlocks().isEmpty)
    #expect(try writer.seal() == digest)
    #expect(problem { try writer.append([]) }.message.contains("is sealed"))
    #expect(try contents(folder.path) == before)
    #expect(before.keys.sorted() == ["data.mdb", "seal.json"])
  }

  @Test func `a run killed between the last commit and seal json is finished`() throws {
    let folder = ScratchFolder()
    let digest = try job.write(to: folder.path)
    let seal = try Files.read(folder.file("seal.json"))
    try FileManager.default.removeItem(atPath: folder.file("seal.json"))
    #expect(try !CacheReader(path: folder.path).isSealed)
    #expect(
      try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels).seal()
        == digest)
    #expect(try Files.read(folder.file("seal.json")) == seal)
  }

  @Test(arguments: [true, false])
  func `another job is refused with a list of what differs and nothing is touched`(
    sealed: Bool
  ) throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path, seal: sealed)
    let before = try contents(folder.path)
    var other = job.manifest
    other.seed = 8
    other.encoding.k = 4
    other.teacher = .object(["weights": .string("huge"), "runtime": .string("x")])
    let found = problem {
      _ = try CacheWriter(path: folder.path, manifest: other, labels: job.labels)
    }
    #expect(found.kind == .corrupt)
    for line in [
      "seed: the cache has 7, this run has 8", "encoding.k: the cache has 5, this run has 4",
      "teacher.weights: the cache has tiny, this run has huge",
      "teacher.runtime: the cache has nothing, this run has x",
    ] {
      #expect(found.message.contains(line), "\(found)")
    }
    #expect(try contents(folder.path) == before)
  }

  @Test func `a second writer is refused`() throws {
    let folder = ScratchFolder()
    let first = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
    let asked = problem {
      _ = try CacheWriter.storedCalibration(path: folder.path, manifest: job.manifest)
    }
    #expect(asked.kind == .cannotCreate, "\(asked)")
    let found = problem {
      _ = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
    }
    #expect(found.kind == .cannotCreate)
    #expect(found.message.contains("is in use"))
    try first.append(try job.encodeAll())
  }

  @Test func `an unfinished cache can be read and verified`() throws {
    let folder = ScratchFolder()
    let blocks = try job.encodeAll()
    try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels).append(
      Array(blocks[..<5]))
    let report = try verifyCache(path: folder.path)
    #expect(report.blocks == 5)
    #expect(report.missingBlocks == blocks.count - 5)
    #expect(report.cacheDigest == nil)
    let reader = try CacheReader(path: folder.path)
    #expect(try reader.storedBlocks() == blocks[..<5].map(\.key))
    #expect(try reader.blockInfo(blocks[6].key) == nil)
    var batch = reader.makeBatch()
    #expect(problem { try reader.decode(view: 1, block: 6, into: &batch) }.kind == .noInput)
    let found = problem {
      _ = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
    }
    #expect(found.kind == .cannotCreate)
  }

  @Test func `an unfinished cache can be read beside a writer in another process`() async throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path, seal: false)
    let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
    let path = folder.path
    await #expect(processExitsWith: .success) { [path = path as String] in
      let reader = try CacheReader(path: path)
      try #require(try reader.storedBlocks().count == 14)
    }
    #expect(problem { _ = try CacheReader(path: path) }.kind == .usage)
    _ = try writer.seal()
  }

  @Test func `a cache can be opened again while child processes are being spawned`() async throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path, seal: false)
    // A child holds copies of our descriptors until it replaces its program.
    let children = Task.detached {
      while !Task.isCancelled {
        let child = Process()
        child.executableURL = URL(fileURLWithPath: "/bin/true")
        try child.run()
        child.waitUntilExit()
      }
    }
    for _ in 0..<200 {
      _ = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
    }
    children.cancel()
    _ = await children.result
  }

  @Test func `a block damaged before sealing is named and not sealed`() throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path, seal: false)
    let victim = try job.encodeAll()[3]
    let file = folder.file("data.mdb")
    var bytes = try Files.read(file)
    let place = try #require(bytes.firstRange(of: victim.storedValue)).lowerBound
    bytes[place + victim.storedValue.count / 2] ^= 4
    try Files.writeAtomically(bytes, to: file)
    let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
    let found = problem { _ = try writer.seal() }
    #expect(found.kind == .corrupt)
    #expect(found.message.contains("\(victim.key) is damaged"))
  }

  @Test func `a block that comes out differently is refused`() throws {
    let folder = ScratchFolder()
    let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
    let blocks = try job.encodeAll()
    try writer.append(blocks)
    try writer.append(blocks)  // the same again is fine
    var other = job
    other.seed = 2
    let found = problem { try writer.append(try other.encodeAll()) }
    #expect(found.kind == .corrupt)
    #expect(found.message.contains("does not repeat itself"))
  }

  @Test func `a full disk is reported, earlier commits stay, and the rest can follow`() async throws
  {
    let folder = ScratchFolder()
    let path = folder.path
    await #expect(processExitsWith: .success) { [path = path as String] in
      let job = Job(classes: 300, k: 300, samples: 256, views: 4, blockRows: 64)
      let blocks = try job.encodeAll()
      let writer = try CacheWriter(path: path, manifest: job.manifest, labels: job.labels)
      try writer.append(Array(blocks[..<4]))
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit()
      getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
      let size = try FileManager.default.attributesOfItem(atPath: path + "/data.mdb")[.size]
      var small = limit
      small.rlim_cur = rlim_t(size as! Int + 4096)
      setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &small)
      let found = problem { try writer.append(blocks) }
      try #require(found.kind == .inputOutput)
      try #require(found.message.contains(path) && found.message.contains("earlier commits"))
      setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
      try #require(writer.missingBlocks() == blocks[4...].map(\.key))
      try writer.append(blocks)
      _ = try writer.seal()
      _ = try verifyCache(path: path)
    }
  }

  @Test func `the map grows when a cache is larger than expected`() throws {
    let big = Job(
      classes: 2000, k: 2000, samples: 600, views: 8, blockRows: 300, featureWidth: 8)
    let folder = ScratchFolder()
    let writer = try CacheWriter(path: folder.path, manifest: big.manifest, labels: big.labels)
    let encoder = try BlockEncoder(manifest: big.manifest)
    for key in big.manifest.blockKeys { try writer.append([try big.encode(key, with: encoder)]) }
    _ = try writer.seal()
    #expect(try verifyCache(path: folder.path).records == 4800)
  }

  @Test func `several threads decode through one reader`() async throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let reader = try CacheReader(path: folder.path)
    let sums = await withTaskGroup(of: Int.self) { group in
      for _ in 0..<8 {
        group.addTask {
          var batch = reader.makeBatch()
          return job.manifest.blockKeys.reduce(0) { sum, key in
            try! reader.decode(view: key.view, block: key.block, into: &batch)
            return sum + batch.classIDs.reduce(0) { $0 + Int($1) }
          }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(Set(sums).count == 1)
  }

  @Test func `a manifest with fractional numbers or a wrong class count is refused`() throws {
    var manifest = job.manifest
    manifest.teacher = .object(["scale": .number(0.5)])
    #expect(problem { try manifest.validate() }.message.contains("teacher.scale"))
    manifest = job.manifest
    manifest.dataSet.classNames.removeLast()
    #expect(problem { try manifest.validate() }.message.contains("11 classes"))
  }

  @Test(arguments: [("3/2", 3, 2), ("4", 4, 1), ("1/4", 1, 4)])
  func `temperatures are exact fractions`(text: String, top: Int, bottom: Int) throws {
    let temperature = try #require(Temperature(text))
    #expect(temperature.numerator == top && temperature.denominator == bottom)
    #expect(temperature.description == text)
    #expect(Temperature("0") == nil && Temperature("1/0") == nil && Temperature("x") == nil)
    let json = try canonicalJSON([temperature])
    #expect(try JSONDecoder().decode([Temperature].self, from: Data(json.utf8)) == [temperature])
  }
}
