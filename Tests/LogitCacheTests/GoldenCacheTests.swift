import Basics
import Foundation
import LogitCache
import Losses
import Testing

/// Caches of past versions of the program read as they always did (Tests/Golden/README.md).
@Suite struct GoldenCacheTests {
  @Test(arguments: GoldenCacheTests.folders)
  func `a golden cache is sound and decodes to the expected integers`(path: String) throws {
    let text = try Files.read(path + "/expected.json")
    let expected = try JSONDecoder().decode(Expected.self, from: Data(text))
    let report = try verifyCache(path: path)
    #expect(report.records == expected.records)
    #expect(report.fingerprint == expected.fingerprint)
    let reader = try CacheReader(path: path)
    #expect(reader.cacheDigest == expected.cacheDigest)
    #expect(try reader.columnsDigest() == expected.columnsDigest)
    #expect(try expected.coefficientsDigest.map { try coefficientsDigest(reader) == $0 } ?? true)
  }

  static var folders: [String] {
    let version =
      URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path
      + "/Golden/v1"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: version)) ?? []
    return names.sorted().map { version + "/" + $0 }
  }
}

private struct Expected: Decodable {
  var fingerprint: Digest
  var cacheDigest: Digest
  var records: Int
  var columnsDigest: Digest
  var coefficientsDigest: Digest?
}

/// The coefficients of a cache as Tests/Golden/README.md digests them.
func coefficientsDigest(_ cache: CacheReader) throws -> Digest {
  let halfStep = try #require(cache.manifest.encoding.subspaceTail).step / 2
  var batch = cache.makeBatch(coefficients: true)
  var builder = DigestBuilder()
  for key in cache.manifest.blockKeys {
    try cache.decode(view: key.view, block: key.block, into: &batch)
    for coefficient in batch.coefficients {
      builder.append(try #require(Int64(exactly: coefficient / halfStep)))
    }
  }
  return builder.finish()
}
