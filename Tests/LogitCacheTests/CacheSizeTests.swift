import LogitCache
import TestSupport
import Testing

@Suite struct CacheSizeTests {
  @Test(arguments: 1...40)
  func `the first number of records that saves enough is found`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let bytes = Double(Int.random(in: 0...1 << 24, using: &generator))
    let each = Double(Int.random(in: 1...4000, using: &generator)) / 16
    let records = try #require(CacheSize.recordsToSave(bytes, each: each))
    #expect(Double(records) * each > bytes)
    #expect(records == 1 || Double(records - 1) * each <= bytes)
  }

  @Test func `nothing is regained by records that save nothing`() {
    for each in [0, -1, 1e-300, -Double.infinity] {
      #expect(CacheSize.recordsToSave(1000, each: each) == nil)
    }
    #expect(CacheSize.recordsToSave(-5, each: 1) == 1)
  }
}
