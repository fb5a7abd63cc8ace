import Basics
import LMDB
import LogitCache
import Losses
import TestSupport
import Testing

/// Lists of places that lie: in blocks, and beside labels.
@Suite struct HostilePositionTests {
  private static let samples = 7
  private static let maximum = 5
  private let job: Job
  private let sound: SoundBlock
  private let parts: BlockParts
  private let places: RowPlaces

  init() throws {
    job = Self.job(.sample)
    sound = try SoundBlock(job)
    parts = sound.parts
    places = try #require(try sound.decode().batch.places)
  }

  private static func job(_ labels: Positions.Labels) -> Job {
    Job(
      classes: 12, k: 5, samples: samples, seed: 4,
      positions: Positions(maximum: maximum, labels: labels))
  }

  private var counts: [Int] { (0..<Self.samples).map { places.rows(of: $0).count } }

  @Test func `the block that all others are made from has samples with all, some and no records`() {
    #expect(Set(counts).isSuperset(of: [0, Self.maximum]) && Set(counts).count > 2)
    #expect(parts.places[0] == [10, 0] && parts.places[1] == [11, 0])
    #expect(parts.canonical == sound.encoded.canonicalBytes)
  }

  @Test func `counts that are not the header's records are refused`() {
    for sample in 0..<Self.samples {
      for change in [-1, 1] where (0...Self.maximum).contains(counts[sample] + change) {
        var wrong = counts
        wrong[sample] += change
        sound.expectRefusal(
          canonical: parts.with(10, .plain(wrong)).canonical, "its samples have", "its header")
      }
    }
    for wrong in [counts + [0], counts.dropLast()] {
      sound.expectRefusal(
        canonical: parts.with(10, .plain(Array(wrong))).canonical, "wrong for its integers")
    }
  }

  @Test func `more records of a sample than positions are refused`() {
    for sample in 0..<Self.samples {
      for value in [Self.maximum + 1, 1 << 16, Int(UInt32.max)] {
        var wrong = counts
        wrong[sample] = value
        sound.expectRefusal(
          canonical: parts.with(10, .plain(wrong)).canonical, "more than 5 positions")
      }
    }
  }

  @Test func `positions at or above the number of positions are refused`() {
    let zeros = [Int](repeating: 0, count: places.rows)
    for row in 0..<places.rows {
      let sample = places.place(ofRow: row).sample
      let before = row - places.rows(of: sample).lowerBound
      for value in [Self.maximum - before, 1 << 20, Int(UInt32.max)] {
        var wrong = zeros
        wrong[row] = value
        sound.expectRefusal(
          canonical: parts.with(11, .plain(wrong)).canonical, "a position is not below 5")
      }
    }
    for count in [places.rows - 1, places.rows + 1] {
      let part = PlanePart.plain(Array(repeating: 0, count: count))
      sound.expectRefusal(canonical: parts.with(11, part).canonical, "wrong for its integers")
    }
  }

  @Test func `any places that are in range are read`() throws {
    let zeros = [Int](repeating: 0, count: places.rows)
    let (content, batch) = try sound.decode(canonical: parts.with(11, .plain(zeros)).canonical)
    let found = try #require(batch.places)
    for sample in 0..<Self.samples {
      let own = found.positions[found.rows(of: sample)]
      #expect(Array(own) == Array(0..<Int32(own.count)))
    }
    // Written in form 16; a list of equal integers is canonical in form 0, which costs nothing.
    #expect(BlockParts(content.writtenAgain).parts[1] == .buckets(zeros))
  }

  @Test func `a header with records that the block has not, or no block can have, is refused`() {
    let rows = places.rows
    for wrong in 0...40 where wrong != rows {
      var block = parts
      block.header.replaceSubrange(24..<28, with: littleEndian(wrong, bytes: 4))
      let text = wrong > Self.samples * Self.maximum ? "the manifest 0 to 35" : "its header"
      sound.expectRefusal(canonical: block.canonical, text)
    }
    for wrong in [1 << 16, Int(UInt32.max)] {
      var block = parts
      block.header.replaceSubrange(24..<28, with: littleEndian(wrong, bytes: 4))
      sound.expectRefusal(canonical: block.canonical, "its header says rows \(wrong)")
    }
  }

  @Test func `where positions have labels a block has their number of records`() throws {
    let sound = try SoundBlock(Self.job(.position))
    let parts = sound.parts
    #expect(!parts.places.contains([10, 0]))
    let rows = try sound.decode().batch.count
    for wrong in 0...36 where wrong != rows {
      var block = parts
      block.header.replaceSubrange(24..<28, with: littleEndian(wrong, bytes: 4))
      sound.expectRefusal(canonical: block.canonical, "its header says rows \(wrong)")
    }
  }

  @Test func `verify refuses an index entry with another number of records`() throws {
    let folder = ScratchFolder()
    // Other rows at other places, of the same samples and labels.
    var other = job
    other.seed = 9
    try job.write(to: folder.file("one"), seal: false)
    try other.write(to: folder.file("other"), seal: false)
    let key = BlockKey(view: 0, block: 0)
    #expect(job.records(of: key).count != other.records(of: key).count)
    let place = [UInt8](repeating: 0, count: 8)
    let source = try environment(folder.file("other"))
    let entry = try source.read {
      try $0.value(forKey: place, in: source.table("index"))?.withUnsafeBytes { Array($0) }
    }
    try put(try #require(entry), place, "index", folder.file("one"))
    expectCorrupt(
      [problem { _ = try verifyCache(path: folder.file("one")) }],
      ["\(key) is damaged: its index entry has another number of records"])
  }

  // MARK: - Beside labels

  @Test func `labels of positions are read as they were written, and nothing else is`() throws {
    let job = Self.job(.position)
    let probe = try BlockProbe(job.manifest)
    let labels = job.blockLabels(BlockKey(view: 0, block: 0))
    let bytes = probe.packLabels(labels)
    #expect(try probe.unpackLabels(bytes, samples: Self.samples) == labels)
    for count in 0..<bytes.count {
      let found = problem {
        _ = try probe.unpackLabels(Array(bytes.prefix(count)), samples: Self.samples)
      }
      #expect(found.kind == .corrupt, "\(count) bytes: \(found)")
    }
    for more in [[0], [255], [0, 0, 0, 0]] as [[UInt8]] {
      let found = problem { _ = try probe.unpackLabels(bytes + more, samples: Self.samples) }
      #expect(found.kind == .corrupt)
    }
    for samples in [0, 3, 20] {
      #expect(
        problem { _ = try probe.unpackLabels(bytes, samples: samples) }.kind == .corrupt)
    }
  }

  /// Whatever bits are wrong: refused, or labels and places in range.
  @Test func `no bit of labels of positions does harm`() throws {
    let job = Self.job(.position)
    let probe = try BlockProbe(job.manifest)
    let bytes = probe.packLabels(job.blockLabels(BlockKey(view: 0, block: 0)))
    for bit in 0..<bytes.count * 8 {
      var wrong = bytes
      wrong[bit / 8] ^= 1 << UInt8(bit % 8)
      do {
        let labels = try probe.unpackLabels(wrong, samples: Self.samples)
        let found = try #require(labels.places)
        #expect(labels.values.count == found.rows && labels.values.allSatisfy { $0 < 12 })
        #expect(found.positions.allSatisfy { (0..<5).contains($0) })
      } catch let problem as Problem {
        #expect(problem.kind == .corrupt, "bit \(bit): \(problem)")
      }
    }
  }

  @Test func `verify refuses places beside labels that are not stored canonically`() throws {
    let job = Self.job(.position)
    let folder = ScratchFolder()
    try job.write(to: folder.path, seal: false)
    let probe = try BlockProbe(job.manifest)
    let packed = probe.packLabels(job.blockLabels(BlockKey(view: 0, block: 0)))
    // The counts in form 16 and width 32: the same integers in more bytes.
    let entries = BlockLists(packed)
    let wide = PlanePart.plain(entries.counts(Self.samples, job), width: 32)
    let value = entries.with(counts: wide)
    #expect(
      try probe.unpackLabels(value, samples: Self.samples)
        == job.blockLabels(BlockKey(view: 0, block: 0)))
    try put(
      BlockProbe.withChecksum(value), Array("labels".utf8) + [0, 0, 0, 0], "meta", folder.path)
    expectCorrupt(
      [problem { _ = try verifyCache(path: folder.path) }], ["not stored canonically"])
  }

  private func environment(_ path: String) throws -> Environment {
    try Environment(
      path: path, tables: ["blocks", "index", "meta"], access: .write(mapBytes: 1 << 24))
  }

  private func put(
    _ value: [UInt8], _ key: [UInt8], _ table: String, _ path: String
  ) throws {
    let environment = try environment(path)
    try environment.write { try $0.put(value, forKey: key, in: environment.table(table)) }
  }
}

/// The lists of places before labels, taken apart.
private struct BlockLists {
  private let directory: [UInt8]
  private let rest: [UInt8]
  private let countBytes: Int

  init(_ packed: [UInt8]) {
    directory = Array(packed[..<16])
    rest = Array(packed[16...])
    countBytes = Int(packed[4])
  }

  func counts(_ samples: Int, _ job: Job) -> [Int] {
    (0..<samples).map { job.positions(view: 0, sample: $0).count }
  }

  /// The same lists and labels, the counts written in another way.
  func with(counts: PlanePart) -> [UInt8] {
    [10, 0, counts.form, counts.width] + littleEndian(counts.bytes.count, bytes: 4)
      + directory[8...] + counts.bytes + rest[countBytes...]
  }
}
