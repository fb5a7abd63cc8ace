import Basics
import Foundation
import TestSupport
import Testing

@Suite struct MemoryTests {
  /// 12,000 records of 40 classes are 4 MB in memory.
  ///
  /// So eight views are 32 MB: what training would need more of if it held them all. It may hold 4 MB.
  @Test func `training with eight views takes no more memory than with one, and opens no teacher`()
    throws
  {
    let desk = try Desk(samples: 12_000, classes: 40)
    try desk.succeed(desk.precompute("one", views: 1))
    try desk.succeed(desk.precompute("eight", views: 8))
    try remove(desk.teacher)
    try remove(desk.folder.file("taught"))
    let one = try trainingPeak(desk, "one")
    let eight = try trainingPeak(desk, "eight")
    #expect(one > 0)
    #expect(eight < one + 15_000_000, "\(one) bytes with one view, \(eight) with eight")
  }

  /// The most memory that eight epochs took, in bytes.
  private func trainingPeak(_ desk: Desk, _ cache: String) throws -> Int {
    var peak = 0
    var opened: Set<String> = []
    try desk.succeed(
      desk.train(
        cache, out: "out-\(cache)", "--loss", "kd@4", "--epochs", "8", "--threads", "1",
        "--decoded-memory", "4")
    ) { program in
      peak = max(peak, program.peakMemory ?? 0)
      opened.formUnion(program.openFiles)
    }
    #expect(opened.contains { $0.hasSuffix("\(cache)/data.mdb") })
    // Only this desk's files: until a child runs the program, it holds those of tests beside it.
    let own = opened.filter { $0.hasPrefix(desk.folder.path) }
    #expect(!own.contains { $0.contains("taught") || $0.contains("teacher") }, "\(own)")
    return peak
  }
}
