import Basics
import Foundation
import LogitCache
import Losses
import TestSupport
import Testing

/// The worked example of docs/FORMAT.md is what the program writes.
@Suite struct FormatTests {
  /// Three rows of four classes, k = 2: an ordinary one; one whose gap needs an escape and whose
  /// label is outside the head; one with all logits equal.
  private func tinyJob(features: Bool = false) -> Job {
    var job = Job(classes: 4, k: 2, samples: 3, blockRows: 4, featureWidth: features ? 2 : nil)
    job.manifest.dataSet.labels =
      DataSetIdentity(
        name: "", fingerprint: Digest(of: ""), labels: [0, 3, 1], classNames: []
      ).labels
    return job
  }

  private func tinyBlock(features: [Float] = []) throws -> EncodedBlock {
    let job = tinyJob(features: !features.isEmpty)
    let logits: [Float] = [
      2, 0.5, -1, 0,
      0, 1, 11, 0.25,
      -1, -1, -1, -1,
    ]
    return try BlockEncoder(manifest: job.manifest).encode(
      logits: logits.span, labels: [0, 3, 1], view: 0, block: 0, firstSample: 0,
      viewDigest: Digest(of: "what the teacher saw"), features: features.span)
  }

  private func hexDump(_ bytes: [UInt8]) -> String {
    stride(from: 0, to: bytes.count, by: 16).map { start in
      let line = bytes[start..<min(start + 16, bytes.count)]
      let offset = String(format: "%04x", start)
      return offset + "  " + line.map { String(format: "%02x", $0) }.joined(separator: " ") + "\n"
    }.joined()
  }

  private func document() throws -> String {
    let path =
      URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().path + "/docs/FORMAT.md"
    return String(decoding: try Files.read(path), as: UTF8.self)
  }

  @Test func `the worked block of the document is what the encoder writes`() throws {
    let block = try tinyBlock()
    let dump = hexDump(block.canonicalBytes)
    let text = try document()
    #expect(text.contains(dump), "FORMAT.md should show\n\(dump)")
    #expect(text.contains(block.digest.description), "FORMAT.md should show \(block.digest)")
  }

  /// Plane 6 and the class sums of the document's second example: features (3, 4), (0, 0),
  /// (-0.5, 0.00001).
  @Test func `the worked features of the document are what the program writes`() throws {
    let job = tinyJob(features: true)
    let block = try tinyBlock(features: [3, 4, 0, 0, -0.5, 0.00001])
    let plain = try tinyBlock()
    let norms = Array(block.canonicalBytes[0xae..<0xb9])
    #expect(
      Array(block.canonicalBytes[0x78..<0x80]) == [6, 0, 1, 0, 11, 0, 0, 0], "the directory's entry"
    )
    #expect(norms == [0, 0, 0, 0, 5, 0x3c, 0x3b, 0x9b, 0xc1, 0xe9, 1], "\(hexDump(norms))")
    #expect(block.canonicalBytes.count == plain.canonicalBytes.count + 8 + 11)
    let folder = ScratchFolder()
    let writer = try CacheWriter(path: folder.path, manifest: job.manifest, labels: [0, 3, 1])
    try writer.append([block])
    let digest = try writer.seal()
    // Class 0: one record, 3 and 4; class 1: -0.5 and 0.00001, which rounds to a step; class 3: 0.
    let entries: [(UInt32, [Int64])] = [
      (0, [196_608, 262_144]), (1, [-32_768, 1]), (3, [0, 0]),
    ]
    var sums = DigestBuilder()
    for (label, steps) in entries {
      sums.append(label)
      sums.append(UInt64(1))
      for step in steps { sums.append(step) }
    }
    var builder = DigestBuilder()
    builder.append("logitcache 1\n")
    builder.append(try job.manifest.fingerprint.bytes)
    builder.append(UInt64(1))
    for number in [0, 0, 3] { builder.append(UInt32(number)) }
    builder.append(block.digest.bytes)
    builder.append(sums.finish().bytes)
    #expect(digest == builder.finish())
    let text = try document()
    for shown in [block.digest, sums.finish(), digest] {
      #expect(text.contains(shown.description), "FORMAT.md should show \(shown)")
    }
  }

  /// The document's fourth example: rows of samples 0, 0 and 2, at positions 0, 2 and 1.
  @Test func `the worked positions of the document are what the encoder writes`() throws {
    let logits: [Float] = [2, 0.5, -1, 0, 0, 1, 11, 0.25, -1, -1, -1, -1]
    var places = RowPlaces()
    for positions in [[0, 2], [], [1]] as [[Int32]] { places.append(sampleAt: positions) }
    func block(_ labels: Positions.Labels, _ ofRows: [Int32]) throws -> EncodedBlock {
      var job = tinyJob()
      job.manifest.encoding.positions = Positions(maximum: 3, labels: labels)
      return try BlockEncoder(manifest: job.manifest).encode(
        logits: logits.span, labels: ofRows, places: places, view: 0, block: 0, firstSample: 0,
        viewDigest: Digest(of: "what the teacher saw"))
    }
    let bySample = try block(.sample, [0, 0, 1])
    let parts = BlockParts(bySample.canonicalBytes)
    #expect(parts.places[..<3] == [[10, 0], [11, 0], [1, 0]])
    let text = try document()
    let entries = hexadecimal(bySample.canonicalBytes[0x48..<0x58])
    let lists = hexadecimal(parts.parts[0].bytes + parts.parts[1].bytes)
    for shown in [entries, lists, bySample.digest.description] {
      #expect(text.contains("`\(shown)`"), "FORMAT.md should show \(shown)")
    }
    // Places are beside the labels: the block is that of the first example.
    #expect(try block(.position, [0, 3, 1]).canonicalBytes == tinyBlock().canonicalBytes)
    var manifest = tinyJob().manifest
    manifest.encoding.positions = Positions(maximum: 3, labels: .position)
    let packed = try BlockProbe(manifest).packLabels(BlockLabels([0, 3, 1], places: places))
    #expect(text.contains(hexadecimal(packed)), "FORMAT.md should show \(hexadecimal(packed))")
    let labels: [Int32] = [0, -1, 3, -1, -1, -1, -1, 1, -1]
    let digest = DataSetIdentity(
      name: "", fingerprint: Digest(of: ""), labels: labels, positions: 3, classNames: []
    ).labels.description
    #expect(text.contains(digest), "FORMAT.md should show \(digest)")
  }

  private func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { String(format: "%02x", $0) }.joined(separator: " ")
  }

  @Test func `the example manifest of the document has the fingerprint it says`() throws {
    let manifest = tinyJob().manifest
    let text = try document()
    let json = try canonicalJSON(manifest)
    let fingerprint = try manifest.fingerprint.description
    #expect(text.contains(json), "FORMAT.md should show \(json)")
    #expect(text.contains(fingerprint), "FORMAT.md should show \(fingerprint)")
  }

  @Test func `the example cache of the document has the digest it says`() throws {
    let manifest = tinyJob().manifest
    let block = try tinyBlock()
    var builder = DigestBuilder()
    builder.append("logitcache 1\n")
    builder.append(try manifest.fingerprint.bytes)
    builder.append(UInt64(1))
    for number in [0, 0, 3] { builder.append(UInt32(number)) }
    builder.append(block.digest.bytes)
    let folder = FileManager.default.temporaryDirectory.path + "/" + UUID().uuidString
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let writer = try CacheWriter(path: folder, manifest: manifest, labels: [0, 3, 1])
    try writer.append([block])
    #expect(try writer.seal() == builder.finish())
    let digest = builder.finish().description
    #expect(try document().contains(digest), "FORMAT.md should show \(digest)")
  }
}
