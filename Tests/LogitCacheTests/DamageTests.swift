import Basics
import Foundation
import LMDB
import LogitCache
import TestSupport
import Testing

/// A file whose bytes can be changed in place and put back.
private struct Patient {
  let path: String
  let sound: [UInt8]

  init(_ path: String) throws {
    self.path = path
    sound = try Files.read(path)
  }

  func overwrite(at offset: Int, _ bytes: [UInt8]) throws {
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try handle.seek(toOffset: UInt64(offset))
    try handle.write(contentsOf: bytes)
    try handle.close()
  }

  func flip(bit: Int) throws {
    try overwrite(at: bit / 8, [sound[bit / 8] ^ UInt8(1 << (bit % 8))])
  }

  func heal(byte: Int, count: Int = 1) throws {
    try overwrite(at: byte, Array(sound[byte..<byte + count]))
  }
}

/// The key of every value stored in an unfinished cache, and where in the data file the value is.
private func storedValues(_ path: String) throws -> [(key: [UInt8], place: Range<Int>)] {
  let file = try Files.read(path + "/data.mdb")
  let environment = try Environment(
    path: path, tables: ["blocks", "index", "meta"],
    access: .readUnchanging(mapBytes: file.count))
  var values: [(key: [UInt8], place: Range<Int>)] = []
  for name in ["blocks", "index", "meta"] {
    try environment.read { transaction in
      try transaction.forEach(in: environment.table(name)) { key, value in
        let (key, value) = (key.withUnsafeBytes { Array($0) }, value.withUnsafeBytes { Array($0) })
        let end = try offset(of: key + value, in: file) + key.count + value.count
        values.append((key, end - value.count..<end))
        return true
      }
    }
  }
  return values
}

private func offset(of value: [UInt8], in file: [UInt8]) throws -> Int {
  try #require((0...file.count - value.count).last { file[$0...].starts(with: value) })
}

@Suite struct DamageTests {
  private let job = Job(classes: 12, k: 5, samples: 20, views: 2)

  /// Of every table, and so without the seal's digests of the file; sealed, the table `meta` has one
  /// value more.
  @Test(arguments: [
    (Job(classes: 12, k: 3, samples: 5), true), (Job(classes: 12, k: 3, samples: 5), false),
    (Job(classes: 12, k: 3, samples: 5, featureWidth: 2), true),
    (Job(classes: 12, k: 3, samples: 5, featureWidth: 2), false),
    (
      Job(
        classes: 12, k: 3, samples: 5, seed: 4, positions: Positions(maximum: 3, labels: .sample)),
      true
    ),
    (
      Job(
        classes: 12, k: 3, samples: 5, seed: 4, positions: Positions(maximum: 3, labels: .position)),
      false
    ),
  ])
  func `every flipped bit of every stored value is detected`(
    shape: Job, sealed: Bool
  ) throws {
    let folder = ScratchFolder()
    var small = shape
    small.calibration = try Calibration(
      CalibrationParts.learned(key: 1).bytes(width: 4), small.manifest.encoding)
    try small.write(to: folder.path, seal: sealed)
    if sealed { try remove(folder.file("seal.json")) }
    let patient = try Patient(folder.file("data.mdb"))
    let values = try storedValues(folder.path)
    for key in ["manifest", "calibration", "labels\0\0\0\0"] + (sealed ? ["seal"] : []) {
      try #require(values.contains { $0.key == Array(key.utf8) }, "\(key)")
    }
    var flips = 0
    for (_, place) in values {
      for bit in 8 * place.lowerBound..<8 * place.upperBound {
        try patient.flip(bit: bit)
        let found = problem { _ = try verifyCache(path: folder.path) }
        #expect(found.kind == .corrupt, "bit \(bit): \(found)")
        try patient.heal(byte: bit / 8)
        flips += 1
      }
    }
    #expect(flips > 5000)
    _ = try verifyCache(path: folder.path)
  }

  @Test(arguments: UInt64(1)...4)
  func `any flipped bit of a sealed file is detected and located`(seed: UInt64) throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let patient = try Patient(folder.file("data.mdb"))
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<400 {
      let bit = Int.random(in: 0..<8 * patient.sound.count, using: &generator)
      try patient.flip(bit: bit)
      let found = problem { _ = try verifyCache(path: folder.path) }
      #expect(found.kind == .corrupt, "seed \(seed), bit \(bit): \(found)")
      #expect(found.message.contains("bytes 0..<"), "seed \(seed), bit \(bit): \(found)")
      try patient.heal(byte: bit / 8)
    }
    _ = try verifyCache(path: folder.path)
  }

  @Test(arguments: UInt64(1)...6)
  func `an unsealed file survives any damage: an error, or nothing lost`(seed: UInt64) throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path, seal: false)
    let patient = try Patient(folder.file("data.mdb"))
    let sound = try verifyCache(path: folder.path)
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<500 {
      let count = [1, 2, 8, 64].randomElement(using: &generator)!
      // Mostly where pages keep their structure.
      let page = Int.random(in: 0..<patient.sound.count / 4096, using: &generator) * 4096
      let within = Bool.random(using: &generator) ? 200 : 4096 - count
      let start = page + Int.random(in: 0..<within, using: &generator)
      var bytes = Array(patient.sound[start..<start + count])
      switch Int.random(in: 0..<3, using: &generator) {
      case 0: bytes[0] ^= UInt8(1 << Int.random(in: 0..<8, using: &generator))
      case 1: bytes = bytes.map { _ in .random(in: 0...255, using: &generator) }
      default: bytes = bytes.map { _ in Bool.random(using: &generator) ? 0 : 255 }
      }
      try patient.overwrite(at: start, bytes)
      do {
        let report = try verifyCache(path: folder.path)
        #expect(
          report.blocks < sound.blocks || report == sound, "seed \(seed), byte \(start)")
        let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
        _ = writer.missingBlocks()
      } catch let problem as Problem {
        #expect(
          problem.kind == .corrupt || problem.kind == .noInput,
          "seed \(seed), byte \(start): \(problem)")
      }
      try patient.heal(byte: start, count: count)
    }
  }

  /// Before LMDB maps it: reading a page that is not there would end the process.
  @Test(arguments: [true, false])
  func `a file cut to any length is refused by the reader`(sealed: Bool) throws {
    let folder = ScratchFolder()
    try Job(classes: 6, k: 3, samples: 5).write(to: folder.path, seal: sealed)
    let file = folder.file("data.mdb")
    for length in (0..<(try Files.read(file).count)).reversed() {
      try #require(truncate(file, length) == 0)
      let found = problem { _ = try CacheReader(path: folder.path) }
      #expect(found.kind == (length > 0 ? .corrupt : .noInput), "length \(length): \(found)")
    }
  }

  @Test(arguments: [true, false])
  func `a cut file is refused at every page and in between`(sealed: Bool) throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path, seal: sealed)
    let file = folder.file("data.mdb")
    let sound = try Files.read(file)
    let cuts = stride(from: 0, to: sound.count, by: 4096).flatMap {
      [$0 - 1, $0, $0 + 1, $0 + 2000]
    }
    for cut in cuts where cut > 0 {
      try Data(sound[..<cut]).write(to: URL(fileURLWithPath: file))
      #expect(problem { _ = try CacheReader(path: folder.path) }.kind == .corrupt, "cut \(cut)")
      #expect(problem { _ = try verifyCache(path: folder.path) }.kind == .corrupt, "cut \(cut)")
      let found = problem {
        _ = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
      }
      #expect(found.kind == .corrupt, "cut \(cut)")
    }
    try Data(sound + [0]).write(to: URL(fileURLWithPath: file))
    if sealed {
      #expect(problem { _ = try verifyCache(path: folder.path) }.message.contains("longer"))
    }
    try Data().write(to: URL(fileURLWithPath: file))
    #expect(problem { _ = try CacheReader(path: folder.path) }.kind == .noInput)
  }

  @Test func `damaged blocks are named with view and block`() throws {
    let folder = ScratchFolder()
    let blocks = try job.encodeAll()
    try job.write(to: folder.path)
    let patient = try Patient(folder.file("data.mdb"))
    for index in [1, 4] {
      let start = try offset(of: blocks[index].storedValue, in: patient.sound)
      try patient.flip(bit: 8 * (start + 30))
    }
    let found = problem { _ = try verifyCache(path: folder.path) }
    #expect(found.message.contains("view 0, block 1 is damaged"), "\(found)")
    #expect(found.message.contains("view 1, block 1 is damaged"), "\(found)")
    #expect(!found.message.contains("block 2"), "\(found)")
    let reader = try CacheReader(path: folder.path)
    var batch = reader.makeBatch()
    try reader.decode(view: 0, block: 0, into: &batch)
    #expect(problem { try reader.decode(view: 0, block: 1, into: &batch) }.kind == .corrupt)
  }

  @Test func `a block under another key is refused`() throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path, seal: false)
    let blocks = try job.encodeAll()
    try replace(folder.path, "blocks", blocks[1].key, blocks[0].storedValue)
    let found = problem { _ = try verifyCache(path: folder.path) }
    #expect(found.message.contains("view 0, block 1 is damaged"), "\(found)")
    #expect(found.message.contains("block 0, the manifest 1"), "\(found)")
  }

  @Test func `a block of another cache with the same shape is refused`() throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path, seal: false)
    var other = job
    other.seed = 5
    let foreign = try other.encodeAll()[0]
    try replace(folder.path, "blocks", foreign.key, foreign.storedValue)
    #expect(problem { _ = try verifyCache(path: folder.path) }.kind == .corrupt)
  }

  @Test func `foreign keys are refused`() throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path, seal: false)
    let block = try job.encodeAll()[0]
    try replace(folder.path, "blocks", BlockKey(view: 9, block: 0), block.storedValue)
    let found = problem { _ = try verifyCache(path: folder.path) }
    #expect(found.message.contains("foreign"), "\(found)")
  }

  private func replace(
    _ path: String, _ table: String, _ key: BlockKey, _ value: [UInt8]
  ) throws {
    let environment = try Environment(
      path: path, tables: ["blocks", "index", "meta"], access: .write(mapBytes: 1 << 24))
    let bytes = [key.view, key.block].flatMap { number in
      (0..<4).reversed().map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }
    try environment.write { try $0.put(value, forKey: bytes, in: environment.table(table)) }
  }

  @Test func `the seal of another cache is refused by readers and writers`() throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let own = try #require(try CacheReader(path: folder.path).cacheDigest)
    let seal = String(decoding: try Files.read(folder.file("seal.json")), as: UTF8.self)
    try Files.writeAtomically(
      seal.replacingOccurrences(of: own.description, with: Digest(of: "another").description),
      to: folder.file("seal.json"))
    for found in [
      problem { _ = try CacheReader(path: folder.path) },
      problem {
        _ = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
      },
    ] {
      #expect(found.kind == .corrupt)
      #expect(found.message.contains("seal.json"))
    }
  }

  @Test func `a damaged seal json is refused`() throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let patient = try Patient(folder.file("seal.json"))
    for bit in 0..<8 * patient.sound.count {
      try patient.flip(bit: bit)
      let found = problem { _ = try verifyCache(path: folder.path) }
      #expect(found.kind == .corrupt, "bit \(bit): \(found)")
      try patient.heal(byte: bit / 8)
    }
  }

  @Test func `a seal json cut to any length is refused`() throws {
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    for length in (0..<(try Files.read(folder.file("seal.json")).count)).reversed() {
      try #require(truncate(folder.file("seal.json"), length) == 0)
      for found in [
        problem { _ = try CacheReader(path: folder.path) },
        problem {
          _ = try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
        },
      ] {
        #expect(found.kind == .corrupt, "length \(length): \(found)")
      }
    }
  }
}
