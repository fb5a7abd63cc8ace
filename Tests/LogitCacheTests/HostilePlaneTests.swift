import Basics
import LogitCache
import Losses
import Testing

/// Blocks whose lengths add up and whose planes lie.
///
/// Of seven records, so that bits never fill their last byte.
@Suite struct HostilePlaneTests {
  private static let rows = 7
  private static let classes = 12
  private static let k = 5
  private let sound: SoundBlock
  private let parts: BlockParts
  private let batch: TeacherBatch

  init() throws {
    sound = try SoundBlock(Self.job)
    parts = sound.parts
    batch = try sound.decode().batch
  }

  private static var job: Job { Job(classes: classes, k: k, samples: rows, featureWidth: 2) }

  /// Seven integers: zero but for one.
  private func zeros(but value: Int, at row: Int = 3) -> [Int] {
    (0..<Self.rows).map { $0 == row ? value : 0 }
  }

  // MARK: - Integers out of range

  /// Groups of ids: ranks 0, 1, 2...3, 4.
  @Test(arguments: 0...2, [(0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 3, 0)])
  func `a digit that no class is left for is refused`(
    key: Int, place: (rank: Int, group: Int, column: Int)
  ) throws {
    var job = Self.job
    let width = 4
    job.calibration = try Calibration(
      CalibrationParts.learned(key: key).bytes(width: width), job.manifest.encoding)
    let block = try SoundBlock(job)
    let columns = place.group == 2 ? 2 : 1
    for row in 0..<Self.rows {
      for (excess, isRefused) in [(-1, false), (0, true), (1, true), (Int(UInt32.max) - 12, true)] {
        var digits = [Int](repeating: 0, count: columns * Self.rows)
        digits[place.column * Self.rows + row] = Self.classes - place.rank + excess
        let wrong = block.parts.with(1, group: UInt8(place.group), .plain(digits)).canonical
        let found = problem { _ = try block.decode(canonical: wrong) }
        #expect(
          found.message.contains("a class is out of range") == isRefused,
          "row \(row), digit \(digits): \(found)")
      }
    }
  }

  /// Groups of gaps: ranks 1, 2, 3...4.
  @Test func `gaps beyond 2^28, alone or together, are refused`() {
    let limit = 1 << 28
    for row in 0..<Self.rows {
      for group in 0..<3 as Range<UInt8> {
        for value in [limit + 1, 1 << 31, Int(UInt32.max)] {
          let wrong = zeros(but: value, at: row) + (group == 2 ? zeros(but: 0) : [])
          sound.expectRefusal(
            canonical: parts.with(2, group: group, .plain(wrong)).canonical, "a gap is out of range"
          )
        }
      }
      let sum = parts.with(2, group: 0, .plain(zeros(but: limit, at: row)))
        .with(2, group: 1, .plain(zeros(but: 1, at: row)))
      sound.expectRefusal(canonical: sum.canonical, "a gap is out of range")
    }
  }

  @Test(arguments: [
    (1 << 30 + 1, 0), (-1 << 30 - 1, 0), (Int(Int32.max), 0), (Int(Int32.min), 0), (1 << 30, 1),
    (-1, Int(UInt32.max)), (Int(Int32.min), 1 << 30 - 1), (1, 1 << 30),
  ])
  func `a largest logit beyond 2^30 is refused`(smallest: Int, more: Int) {
    let part = PlanePart.plain(zeros(but: more)).from(smallest: smallest)
    sound.expectRefusal(canonical: parts.with(3, part).canonical, "a value is out of range")
  }

  @Test func `a plane without a whole smallest integer is refused`() {
    for plane in [3, 6] as [UInt8] {
      for count in 0..<4 {
        let part = PlanePart(form: 0, bytes: Array(repeating: 0, count: count))
        sound.expectRefusal(canonical: parts.with(plane, part).canonical, "cut off")
      }
      let none = PlanePart(form: 0, bytes: [0, 0, 0, 0])
      sound.expectRefusal(canonical: parts.with(plane, none).canonical, "wrong for its integers")
    }
  }

  /// 0 stands for a label in the head, r - k + 1 for rank r.
  @Test func `label ranks that the head contradicts, or that no class has, are refused`() throws {
    let stored = batch.labelRanks.map { $0 < Self.k ? 0 : Int($0) - Self.k + 1 }
    try #require(stored.contains(0) && stored.contains { $0 > 0 })
    for row in 0..<Self.rows {
      let inHead = stored[row] == 0
      let wrongs: [(Int, String)] =
        inHead
        ? [(1, "contradict"), (Int(UInt32.max), "contradict")]
        : [(0, "contradict"), (8, "a label rank"), (Int(UInt32.max), "a label rank")]
      for (wrong, text) in wrongs {
        var values = stored
        values[row] = wrong
        sound.expectRefusal(canonical: parts.with(4, .plain(values)).canonical, text)
      }
    }
  }

  @Test func `label gaps too many, too few or beyond 2^28 are refused`() {
    let outside = batch.labelRanks.count { $0 >= Self.k }
    for count in [outside - 1, outside + 1] {
      let part = PlanePart.plain(Array(repeating: 1, count: count))
      sound.expectRefusal(canonical: parts.with(5, part).canonical, "wrong for its integers")
    }
    for value in [1 << 28 + 1, Int(UInt32.max)] {
      let part = PlanePart.plain(Array(repeating: value, count: outside))
      sound.expectRefusal(canonical: parts.with(5, part).canonical, "a label's gap is out of range")
    }
  }

  @Test(arguments: [(1, 0), (0, 1), (0, 16_383), (16_384, 32_769), (-1, 0), (-1, 1), (49_153, 0)])
  func `codes that no feature norm has are refused`(smallest: Int, more: Int) {
    let part = PlanePart.plain(zeros(but: more)).from(smallest: smallest)
    sound.expectRefusal(canonical: parts.with(6, part).canonical, "a feature norm is out of range")
  }

  /// Zigzag of about ±2^31, far from any prediction of this block.
  @Test(arguments: 0..<3 as Range<UInt8>)
  func `tail ratios beyond 2^30 are refused`(tail: UInt8) {
    for row in 0..<Self.rows {
      for value in [Int(UInt32.max), Int(UInt32.max) - 1, Int(UInt32.max) - 1 << 20] {
        let part = PlanePart.plain(zeros(but: value, at: row))
        sound.expectRefusal(
          canonical: parts.with(16 + tail, part).canonical, "a tail ratio is out of range")
      }
    }
  }

  // MARK: - Forms

  @Test func `buckets that do not exist, or bits too few, too many or after the end, are refused`()
  {
    let none: [UInt8] = [0, 0, 0, 0, 0, 0]
    let wrongs: [(bytes: [UInt8], text: String)] = [
      ([128] + none, "names bucket 128"), ([255] + none + [1, 2, 3, 4], "names bucket 255"),
      ([], "wrong for its integers"), (none, "wrong for its integers"),
      (none + [0, 0], "wrong for its integers"),
      // Bucket 16 has 2 bits, 127 has 29.
      ([16] + none, "wrong for its integers"), ([16] + none + [0, 0], "wrong for its integers"),
      ([127] + none + [0, 0, 0], "wrong for its integers"),
      ([16] + none + [0b100], "bits after its end"), ([16] + none + [0x80], "bits after its end"),
    ]
    for wrong in wrongs {
      let part = PlanePart(form: 0, bytes: wrong.bytes)
      sound.expectRefusal(canonical: parts.with(4, part).canonical, wrong.text)
    }
  }

  @Test(arguments: [1, 2, 4] as [UInt8])
  func `codes too few, too many or after the end, and lying escapes, are refused`(bits: UInt8) {
    let escape = 1 << Int(bits) - 1
    let length = (Self.rows * Int(bits) + 7) / 8
    let zero = [UInt8](repeating: 0, count: length)
    let escaped = packBits(zeros(but: escape), width: Int(bits))
    let wrongs: [(bytes: [UInt8], text: String)] = [
      (Array(zero.dropLast()), "wrong for its integers"), (zero + [0], "wrong for its integers"),
      (escaped, "wrong for its integers"), (escaped + [0, 0], "wrong for its integers"),
      (escaped + [128], "names bucket 128"), (escaped + [16], "wrong for its integers"),
      (escaped + [16, 4], "bits after its end"),
      (zero.dropLast() + [0x80], "bits after its end"),
      // 2^32 - 1 more than the escape.
      (escaped + [127, 0xFF, 0xFF, 0xFF, 0x1F], "above 2^32"),
    ]
    for wrong in wrongs {
      let part = PlanePart(form: bits, bytes: wrong.bytes)
      sound.expectRefusal(canonical: parts.with(4, part).canonical, wrong.text)
    }
  }

  @Test(arguments: 0...32)
  func `a width that the plane's bytes do not have is refused`(width: Int) {
    let length = (Self.rows * width + 7) / 8
    for wrong in [length - 1, length + 1] where wrong >= 0 {
      let bytes = [UInt8](repeating: 0, count: wrong)
      let part = PlanePart(form: 16, width: UInt8(width), bytes: bytes)
      sound.expectRefusal(canonical: parts.with(4, part).canonical, "wrong for its integers")
    }
    guard Self.rows * width % 8 != 0 else { return }
    let filled = PlanePart(
      form: 16, width: UInt8(width), bytes: packBits(zeros(but: 0), width: width, fill: 1))
    sound.expectRefusal(canonical: parts.with(4, filled).canonical, "bits after its end")
  }

  /// Readers need not care which form a writer chose; `verify` does.
  @Test func `every form of the same integers gives the same records, one is canonical`() throws {
    // The digits of rank 0, when nothing was learned.
    let first = (0..<Self.rows).map { Int(batch.classIDs[$0 * Self.k]) }
    let needed = Int.bitWidth - first.max()!.leadingZeroBitCount
    let others =
      [.buckets(first)] + [1, 2, 4].map { PlanePart.codes(first, bits: $0) }
      + (needed...32).map { .plain(first, width: $0) }
    for part in others {
      let given = parts.with(1, part).canonical
      let (content, same) = try sound.decode(canonical: given)
      #expect(content.canonicalBytes == given)
      #expect(content.writtenAgain == sound.encoded.canonicalBytes, "form \(part.form)")
      #expect(same.classIDs == batch.classIDs && same.gaps == batch.gaps, "form \(part.form)")
      #expect(same.logTailRatios == batch.logTailRatios, "form \(part.form)")
    }
    #expect(others.count { $0 == parts.parts[0] } == 1)
  }
}
