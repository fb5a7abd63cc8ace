import Basics
import DataSets
import TestSupport
import Testing

private let fontPath = "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"
private let isInstalled = Files.exists(fontPath)

/// A folder with descriptions of glyph data sets.
private struct Bench {
  let folder = ScratchFolder()

  /// Opens the data set of a description; `fonts` are YAML, one for each face.
  func open(
    characters: String = "[中, 国, 字, 一]", fonts: [String] = ["{file: \(fontPath)}"],
    _ rest: String = ""
  ) throws -> InMemoryDataSet {
    try Files.writeAtomically(
      """
      kind: glyphs
      name: test
      characters: \(characters)
      fonts: [\(fonts.joined(separator: ", "))]
      \(rest)
      """, to: folder.file("glyphs.yaml"))
    return try #require(try openDataSet(folder.file("glyphs.yaml")) as? InMemoryDataSet)
  }
}

extension InMemoryDataSet {
  fileprivate func picture(_ sample: Int) -> [UInt8] {
    var pixels = [UInt8](repeating: 0, count: shape.elementCount)
    do {
      var span = pixels.mutableSpan
      copyPixels(of: sample, into: &span)
    }
    return pixels
  }
}

@Suite(.enabled(if: isInstalled, "needs the Debian package fonts-wqy-microhei"))
struct GlyphTests {
  @Test func `the two levels of GB 2312 are its characters in its order`() throws {
    let common = try Bench().open(characters: "gb2312-1", "missing: skip\nsize: 8").classNames
    #expect(common.count == 3755 && Set(common).count == 3755)
    #expect(common.first == "啊" && common[93] == "剥" && common.last == "座")
    let all = try Bench().open(characters: "gb2312", "missing: skip\nsize: 8").classNames
    #expect(all.count == 6763 && Set(all).count == 6763)
    #expect(Array(all.prefix(3755)) == common)
    #expect(all[3755] == "亍" && all.last == "齄")
    #expect(all.allSatisfy { ("一"..."龥").contains($0) }, "all are unified ideographs")
  }

  @Test func `samples are font after font, each with the characters in order`() throws {
    let bench = Bench()
    let one = try bench.open()
    #expect(one.count == 4 && one.classNames == ["中", "国", "字", "一"])
    #expect(one.labels == [0, 1, 2, 3])
    #expect(one.shape == .image(height: 48, width: 48, channels: 1))
    let two = try bench.open(fonts: ["{file: \(fontPath), face: 1}", "{file: \(fontPath)}"])
    #expect(two.labels == [0, 1, 2, 3, 0, 1, 2, 3] && two.classNames == one.classNames)
    for sample in 0..<4 { #expect(two.picture(4 + sample) == one.picture(sample)) }
  }

  @Test func `ink is dark on white and stands in the middle`() throws {
    let bench = Bench()
    for (side, em) in [(48, 40), (31, 20), (64, 30)] {
      let glyphs = try bench.open("size: \(side)\nem: \(em)")
      for sample in 0..<glyphs.count {
        let picture = glyphs.picture(sample)
        let rows = (0..<side).filter { y in picture[y * side..<(y + 1) * side].contains { $0 < 255 }
        }
        let columns = (0..<side).filter { x in (0..<side).contains { picture[$0 * side + x] < 255 }
        }
        for ink in [rows, columns] {
          let (before, after) = (ink.first!, side - 1 - ink.last!)
          #expect(after - before == 0 || after - before == 1, "\(side), sample \(sample)")
        }
        #expect(picture.min()! < 100)
      }
    }
  }

  @Test func `ink beyond the picture is cut off evenly`() throws {
    let bench = Bench()
    let (whole, cut) = (try bench.open("size: 80\nem: 60"), try bench.open("size: 30\nem: 60"))
    for sample in 0..<4 {
      let (large, small) = (whole.picture(sample), cut.picture(sample))
      let middle = (25..<55).flatMap { large[$0 * 80 + 25..<$0 * 80 + 55] }
      #expect(small == middle, "sample \(sample)")
    }
  }

  @Test func `the fingerprint knows face, em, font and rule, not the path`() throws {
    let bench = Bench()
    let base = try bench.open().fingerprint
    #expect(try Bench().open().fingerprint == base)
    try Files.writeAtomically(try Files.read(fontPath), to: bench.folder.file("copy.ttc"))
    #expect(try bench.open(fonts: ["{file: copy.ttc}"]).fingerprint == base)
    // The two faces of this file draw these characters alike.
    let others = [
      try bench.open(fonts: ["{file: \(fontPath), face: 1}"]), try bench.open("em: 39"),
      try bench.open("missing: skip"), try bench.open("size: 47"),
      try bench.open(characters: "[国, 中, 字, 一]"),
    ].map(\.fingerprint)
    #expect(Set(others + [base]).count == 6)
  }

  @Test func `a range keeps what drew it in its fingerprint`() throws {
    let bench = Bench()
    let (plain, thin) = (try bench.open(), try bench.open("missing: skip"))
    let parts = try [plain, thin].map { try $0.slice(0..<2, name: "part") }
    #expect(parts[0].picture(1) == parts[1].picture(1))
    #expect(parts[0].fingerprint != parts[1].fingerprint)
    #expect(try bench.open("first: 2").fingerprint == parts[0].fingerprint)
  }

  @Test func `characters come from a text file, less some, and only the first`() throws {
    let bench = Bench()
    try Files.writeAtomically("中 国\n字\u{3000}一\n", to: bench.folder.file("text.txt"))
    #expect(try bench.open(characters: "text.txt").fingerprint == bench.open().fingerprint)
    #expect(try bench.open("without: 国一").classNames == ["中", "字"])
    #expect(try bench.open("without: 中\nfirstCharacters: 2").classNames == ["国", "字"])
  }

  @Test func `a character that a font lacks is refused, or skipped when told to`() throws {
    let bench = Bench()
    let characters = #"[中, "\uE000", 国]"#
    let problem = try #require(throws: Problem.self) { try bench.open(characters: characters) }
    #expect(problem.kind == .configuration)
    #expect(problem.message.contains("lacks 1 of 3 characters: \u{E000}"), "\(problem)")
    #expect(problem.message.contains("missing: skip"), "\(problem)")
    let rest = try bench.open(characters: characters, "missing: skip")
    #expect(rest.labels == [0, 2] && rest.classNames.count == 3)
  }

  @Test(arguments: [
    ("[中, 国, 中]", "", "the character '中' twice"),
    ("[中, 国字]", "", "'国字' is not one character"),
    ("[中]", "", "characters must be a list of at least 2 elements"),
    ("absent.txt", "", "absent.txt"),
    ("[中, 国]", "without: 字", "'without' has '字'"),
    ("[中, 国]", "firstCharacters: 3", "there are 2 characters, 3 are asked for"),
    ("[中, 国]", "size: 2", "size must be an integer of at least 4"),
    ("[中, 国]", "missing: ignore", "missing must be one of 'refuse', 'skip'"),
  ])
  func `a wrong description is refused in words`(
    characters: String, rest: String, words: String
  ) throws {
    let problem = try #require(throws: Problem.self) {
      try Bench().open(characters: characters, rest)
    }
    #expect(problem.message.contains(words), "\(problem)")
  }

  @Test func `a font that is not installed is named`() throws {
    let problem = try #require(throws: Problem.self) {
      try Bench().open(fonts: ["{file: /usr/share/fonts/absent.ttf}"])
    }
    #expect(problem.kind == .noInput && problem.message.contains("absent.ttf"), "\(problem)")
  }

  /// One version of FreeType and one font file: what is drawn must never change by our doing.
  @Test func `drawing is frozen`() throws {
    let glyphs = try Bench().open(characters: "gb2312-1", "firstCharacters: 50")
    let origin = try #require(glyphs.origin)
    guard origin == frozenOrigin else { return }
    #expect(glyphs.fingerprint.description == frozenFingerprint, "\(glyphs.fingerprint)")
  }
}

private let frozenOrigin =
  #"{"em":40,"fonts":[{"digest":"2420e8078af796b19a3f6ef13de527a1a91c1e7171eea115926c614ced1009b3","face":0}],"#
  + #""missing":"refuse","renderer":"FreeType 2.12.1, outlines, no hinting, 256 greys"}"#
private let frozenFingerprint =
  "5c8318ded4eb5a28b22d6d33635331014dcf629f09eab2ab91401fc67d705fd4"
