import Basics
import Foundation
import TestSupport
import Testing

/// What damage may lead to: a refusal, or nothing where it was not met; never a crash.
private let calmEndings: Set<Int32?> = [0, 65]

@Suite struct DamageTests {
  private let desk: Desk
  private let original: [UInt8]

  init() throws {
    desk = try Desk()
    try desk.succeed(desk.precompute())
    original = try Files.read(desk.folder.file("cache/data.mdb"))
  }

  /// A copy of the cache with another data file.
  private func damaged(_ data: [UInt8], _ name: String, sealed: Bool = true) throws -> String {
    let path = desk.folder.file(name)
    try copy(desk.folder.file("cache"), to: path)
    if !sealed { try remove(path + "/seal.json") }
    try Files.writeAtomically(data, to: path + "/data.mdb")
    return path
  }

  /// Runs every command that reads a cache; none may end by a signal.
  private func checkReaders(_ cache: String, _ allowed: Set<Int32?>, _ comment: String) throws {
    let name = (cache as NSString).lastPathComponent
    for command in [
      ["inspect", cache], ["inspect", cache, "--sample", "299", "--view", "1"],
      desk.train(name, out: "out-\(name)", "--loss", "kd@4", "--check-views", "all"),
      desk.precompute(name),
    ] {
      let result = try Program.run(command)
      #expect(
        allowed.contains(result.exitCode),
        "\(comment), \(command[0]): \(ending(of: result)): \(result.errors)")
    }
  }

  private func checkOriginal() throws { try desk.succeed(["verify", desk.folder.file("cache")]) }

  @Test func `a cache cut anywhere is refused by its length`() throws {
    let half = original.count / 2
    for (index, length) in [half, half + 1, half - 4095, 4096, 1, 8191, original.count - 1]
      .enumerated()
    {
      let cache = try damaged(Array(original.prefix(length)), "cut-\(index)")
      let before = try content(ofFolder: cache)
      try expectRefusal(
        ["verify", cache], .corrupt, "\(cache)/data.mdb has \(length) bytes",
        "it was sealed with \(original.count)", "cut off")
      try checkReaders(cache, [65], "cut to \(length) of \(original.count)")
      #expect(try content(ofFolder: cache) == before)
    }
    try checkOriginal()
  }

  @Test func `a cut cache without its seal does not crash anything`() throws {
    for (index, length) in [original.count / 2, 4096, 1, 8191, original.count - 1].enumerated() {
      let cut = Array(original.prefix(length))
      let cache = try damaged(cut, "unsealed-\(index)", sealed: false)
      let result = try Program.run(["verify", cache])
      #expect(result.exitCode == 65, "cut to \(length): \(ending(of: result))")
      try checkReaders(cache, calmEndings, "cut to \(length)")
    }
    try checkOriginal()
  }

  @Test func `one flipped byte is always found by verify, and crashes nothing`() throws {
    var generator = SeededGenerator(seed: 77)
    for attempt in 0..<24 {
      // The first positions: both meta pages, whose damage is the worst for LMDB.
      let place =
        attempt < 4 ? 16 + attempt * 2050 : Int.random(in: 0..<original.count, using: &generator)
      let mask = UInt8(1) << UInt8.random(in: 0..<8, using: &generator)
      var bytes = original
      bytes[place] ^= mask
      let cache = try damaged(bytes, "flipped-\(attempt)")
      try expectRefusal(["verify", cache], .corrupt, "data.mdb differs from what was sealed")
      try checkReaders(cache, calmEndings, "byte \(place) ^ \(mask)")
      try remove(cache)
    }
    try checkOriginal()
  }

  @Test func `one flipped byte of a cache without its seal crashes nothing`() throws {
    var generator = SeededGenerator(seed: 78)
    for attempt in 0..<8 {
      let place = Int.random(in: 0..<original.count, using: &generator)
      var bytes = original
      bytes[place] ^= 0x10
      let cache = try damaged(bytes, "flipped-\(attempt)", sealed: false)
      try checkReaders(cache, calmEndings, "byte \(place)")
    }
  }

  @Test func `a damaged block is named by its view and number, and by every reader`() throws {
    // In every zstd frame (RFC 8878, section 3.1.1: magic number 28 B5 2F FD) one byte is wrong.
    let magic: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD]
    var bytes = original
    for place in 0..<bytes.count - 40 where original[place..<place + 4].elementsEqual(magic) {
      bytes[place + 32] ^= 1
    }
    let cache = try damaged(bytes, "frames")
    try expectRefusal(["verify", cache], .corrupt, "view 0, block 0", "view 1, block 0")
    try expectRefusal(["inspect", cache], .corrupt, "view 0, block 0")
    try expectRefusal(
      desk.train("frames", out: "frames-out", "--loss", "kd@4"), .corrupt, "view 0, block 0")
  }

  @Test func `a damaged or foreign seal is refused`() throws {
    let cache = try damaged(original, "sealed")
    let seal = try Files.read(cache + "/seal.json")
    try Files.writeAtomically(Array(seal.dropLast(10)), to: cache + "/seal.json")
    try expectRefusal(["verify", cache], .corrupt, "\(cache)/seal.json is damaged")
    try checkReaders(cache, [65], "cut seal")
    let other = desk.precompute("other", views: 1)
    try desk.succeed(other)
    try remove(cache + "/seal.json")
    try copy(other[1] + "/seal.json", to: cache + "/seal.json")
    for command in [["verify", cache], ["inspect", cache], desk.train("sealed", out: "foreign")] {
      let result = try Program.run(command)
      #expect(result.exitCode == 65, "\(command[0]): \(ending(of: result))")
    }
  }

  @Test func `a seal lost after sealing is written again by the same command`() throws {
    let cache = try damaged(original, "unsealed", sealed: false)
    try desk.succeed(desk.precompute("unsealed"))
    let sealed = try content(ofFolder: cache)
    #expect(sealed == (try content(ofFolder: desk.folder.file("cache"))))
  }
}
