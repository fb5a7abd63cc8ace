import Basics
import Foundation
import LogitCache
import Testing

/// The worked example of docs/FORMAT.md is what the program writes.
@Suite struct FormatTests {
  /// Three rows of four classes, k = 2: an ordinary one; one whose gap needs an escape and whose
  /// label is outside the head; one with all logits equal.
  private func tinyBlock() throws -> EncodedBlock {
    let job = Job(classes: 4, k: 2, samples: 3, blockRows: 4)
    let logits: [Float] = [
      2, 0.5, -1, 0,
      0, 1, 11, 0.25,
      -1, -1, -1, -1,
    ]
    return try BlockEncoder(manifest: job.manifest).encode(
      logits: logits.span, labels: [0, 3, 1], view: 0, block: 0, firstSample: 0,
      viewDigest: Digest(of: "what the teacher saw"))
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

  @Test func `the example manifest of the document has the fingerprint it says`() throws {
    let manifest = Job(classes: 4, k: 2, samples: 3, blockRows: 4).manifest
    let text = try document()
    let json = try canonicalJSON(manifest)
    let fingerprint = try manifest.fingerprint.description
    #expect(text.contains(json), "FORMAT.md should show \(json)")
    #expect(text.contains(fingerprint), "FORMAT.md should show \(fingerprint)")
  }

  @Test func `the example cache of the document has the digest it says`() throws {
    let manifest = Job(classes: 4, k: 2, samples: 3, blockRows: 4).manifest
    let block = try tinyBlock()
    var builder = DigestBuilder()
    builder.append("logitcache 1\n")
    builder.append(try manifest.fingerprint.bytes)
    builder.append(UInt64(1))
    for number in [0, 0, 3] { builder.append(UInt32(number)) }
    builder.append(block.digest.bytes)
    let folder = FileManager.default.temporaryDirectory.path + "/" + UUID().uuidString
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let writer = try CacheWriter(path: folder, manifest: manifest)
    try writer.append([block])
    #expect(try writer.seal() == builder.finish())
    let digest = builder.finish().description
    #expect(try document().contains(digest), "FORMAT.md should show \(digest)")
  }
}
