import Basics
import LogitCache
import Losses
import TestSupport
import Testing

/// Calibrations whose digest may be right and whose content lies, for 12 classes and three temperatures.
@Suite struct HostileCalibrationTests {
  private let encoding = Job(classes: 12, k: 5, samples: 7).manifest.encoding
  private static let width = 4

  private func expectRefusal(
    _ bytes: [UInt8], _ text: String? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    expectCorrupt(
      [problem { _ = try Calibration(bytes, encoding) }],
      ["the calibration is damaged: "] + (text.map { [$0] } ?? []),
      sourceLocation: sourceLocation)
  }

  /// Refuses a sound calibration after a change.
  private func expectRefusal(
    key: Int = 1, _ text: String?, sourceLocation: SourceLocation = #_sourceLocation,
    _ change: (inout CalibrationParts) -> Void
  ) {
    var parts = CalibrationParts.learned(key: key)
    change(&parts)
    expectRefusal(parts.bytes(width: Self.width), text, sourceLocation: sourceLocation)
  }

  @Test(arguments: 0...2)
  func `what all others are made from is sound`(key: Int) throws {
    let bytes = CalibrationParts.learned(key: key).bytes(width: Self.width)
    #expect(try Calibration(bytes, encoding).bytes == bytes)
    #expect(CalibrationParts().bytes(width: Self.width) == Calibration.plain(encoding).bytes)
  }

  @Test(arguments: 0...2)
  func `a calibration cut anywhere, or going on, is refused`(key: Int) {
    let bytes = CalibrationParts.learned(key: key).bytes(width: Self.width)
    for count in bytes.indices { expectRefusal(Array(bytes.prefix(count))) }
    expectRefusal(bytes + [0], "not as many as it says")
    expectRefusal(bytes + bytes, "not as many as it says")
  }

  @Test func `another magic, version, key or number of temperatures is refused`() {
    expectRefusal("LGCC") { $0.magic = Array("LGCB".utf8) }
    for version in [0, 2, 0xFFFF] { expectRefusal("version is") { $0.version = version } }
    for key in [3, 4, 255] { expectRefusal("unknown key") { $0.key = key } }
    for count in [0, 2, 4, 255] { expectRefusal("temperatures") { $0.temperatures = count } }
    expectRefusal("temperatures") { $0.coefficients.removeLast() }
    expectRefusal("not as many as it says") { $0.coefficients[0].append(0) }
  }

  @Test func `counts above C, or not those of the lists, are refused`() {
    for place in 0..<3 {
      for count in [13, 1 << 24, Int(UInt32.max)] {
        expectRefusal("more than 12 classes") {
          $0.counts = [4, 3, 6]
          $0.counts?[place] = count
        }
      }
      for count in [0, 2, 5, 7, 12] {
        expectRefusal(nil) {
          $0.counts = [4, 3, 6]
          $0.counts?[place] = count
        }
      }
    }
  }

  @Test func `only some of key, lists and their length equal to 0 are refused`() {
    for key in 0...2 {
      for (length, count) in [(0, 0), (3, 0), (0, 6), (3, 6)]
      where (key == 0) != (length * count == 0) {
        expectRefusal("its lists are empty") {
          $0.key = key
          $0.counts = [3, length, count]
        }
      }
    }
    expectRefusal(key: 0, "its lists are empty") { $0.counts = [3, 1, 0] }
    expectRefusal(key: 0, "its lists are empty") { $0.counts = [3, 0, 1] }
  }

  @Test func `classes that do not exist are refused in every list`() {
    for id in 12...15 {
      expectRefusal("does not exist") { $0.prefix[1] = id }
      expectRefusal("does not exist") { $0.keys[5] = id }
      expectRefusal("does not exist") { $0.lists[5][2] = id }
      expectRefusal(key: 0, "does not exist") { $0.prefix[0] = id }
    }
  }

  @Test func `lists that name a class twice, and keys that do not ascend, are refused`() {
    expectRefusal("names class 7 twice") { $0.prefix[3] = 7 }
    expectRefusal("names class 7 twice") { $0.lists[0][1] = 7 }
    expectRefusal("names class 3 twice") { $0.lists[5][2] = 3 }
    expectRefusal("not ascending") { $0.keys[1] = 0 }
    expectRefusal("not ascending") { $0.keys.swapAt(2, 3) }
    expectRefusal("not ascending") { $0.keys[5] = 8 }
  }

  @Test func `bits after the last list are refused`() {
    // 3 ids of 4 bits leave half a byte.
    expectRefusal(key: 0, "bits after its end") { $0.fill = 1 }
  }

  @Test func `coefficients beyond 2^20 are refused`() throws {
    let limit = 1 << 20
    for temperature in 0..<3 {
      for place in 0..<3 + temperature {
        for wrong in [limit + 1, -limit - 1, Int(Int32.max), Int(Int32.min)] {
          expectRefusal("a coefficient is \(wrong)") {
            $0.coefficients[temperature][place] = wrong
          }
        }
        for right in [limit, -limit] {
          var parts = CalibrationParts.learned(key: 2)
          parts.coefficients[temperature][place] = right
          _ = try Calibration(parts.bytes(width: Self.width), encoding)
        }
      }
    }
  }

  /// However bad what was learned is, it decides bytes, never values.
  @Test(arguments: UInt64(1)...30)
  func `any calibration gives the same records`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let classes = Int.random(in: 2...40, using: &generator)
    let k = Int.random(in: 1...classes, using: &generator)
    var job = Job(classes: classes, k: k, samples: 19, blockRows: 19, seed: seed)
    let plain = try SoundBlock(job).decode().batch
    var parts = CalibrationParts(key: Int.random(in: 0...2, using: &generator))
    func some(_ count: Int) -> [Int] {
      Array((0..<classes).shuffled(using: &generator).prefix(count))
    }
    parts.prefix = some(Int.random(in: 0...classes, using: &generator))
    if parts.key > 0 {
      parts.keys = some(Int.random(in: 1...classes, using: &generator)).sorted()
      let length = Int.random(in: 1...classes, using: &generator)
      parts.lists = parts.keys.map { _ in some(length) }
    }
    let reach = seed.isMultiple(of: 2) ? 1 << 20 : 5000
    parts.coefficients = job.manifest.encoding.tailTemperatures.indices.map { index in
      (0..<3 + index).map { _ in Int.random(in: -reach...reach, using: &generator) }
    }
    let width = max(1, Int.bitWidth - (classes - 1).leadingZeroBitCount)
    job.calibration = try Calibration(parts.bytes(width: width), job.manifest.encoding)
    let block = try SoundBlock(job)
    let (content, batch) = try block.decode()
    #expect(content.writtenAgain == block.encoded.canonicalBytes, "seed \(seed)")
    #expect(batch.classIDs == plain.classIDs && batch.gaps == plain.gaps, "seed \(seed)")
    #expect(batch.logTailRatios == plain.logTailRatios, "seed \(seed)")
    #expect(batch.labelRanks == plain.labelRanks && batch.labels == plain.labels, "seed \(seed)")
    #expect(batch.labelGaps == plain.labelGaps, "seed \(seed)")
    #expect(batch.largestLogits == plain.largestLogits, "seed \(seed)")
  }
}
