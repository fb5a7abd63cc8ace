import Basics
import Foundation
import Reports
import Schemas
import Testing

@Suite struct PaperPlanTests {
  @Test(arguments: [
    (14_197_122, 90, 21_841, [10, 50, 100]), (60_000, 2, 10, [1, 10]), (1, 1, 1, [1]),
    (1 << 40, 1 << 20, 1 << 24, [1, 1 << 24]),
  ])
  func `sizes are ordered: typical, bound, all logits`(
    samples: Int, views: Int, classes: Int, heads: [Int]
  ) throws {
    let plan = try PaperPlan(samples: samples, views: views, classes: classes, heads: heads)
    let value = try parseJSON(readableJSON(plan).utf8, source: "the plan")
    try Schemas.validate(value, against: .plan, source: "the plan")
    #expect(plan.records == samples * views && plan.rows.map(\.k) == heads)
    #expect(plan.denseFloat32.bytesPerRecord == Double(4 * classes))
    for row in plan.rows {
      for size in [row.sharp, row.soft] {
        #expect(0 < size.bytesPerRecord && size.bytesPerRecord <= row.bound.bytesPerRecord)
        #expect(size.bytes >= size.bytesPerRecord * Double(plan.records))
      }
      #expect(row.sparse.bytesPerRecord == Double((classes <= 65_536 ? 4 : 6) * row.k + 4))
    }
  }

  @Test func `the typical sizes are those of the recorded runs`() throws {
    for (teacher, classes) in [("ocr", 18_709), ("soft1000", 1000)] {
      let path =
        URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path
        + "/Benchmarks/runs/rate-\(teacher).json"
      let run = try parseJSON(try Files.read(path), source: path)
      for rate in try #require(run["rates"]?.array) {
        let k = try #require(rate["k"]?.integer)
        // The character reader's cache was too small to learn lists for k = 5.
        if teacher == "ocr" && k == 5 { continue }
        let measured = try #require(rate["bytesPerRecord"]?.double)
        let row = try PaperPlan(samples: 1, views: 1, classes: classes, heads: [k]).rows[0]
        let typical = teacher == "ocr" ? row.sharp : row.soft
        #expect(abs(typical.bytesPerRecord - measured) < 0.05 * measured, "\(teacher) k \(k)")
      }
    }
  }

  @Test(arguments: [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (1, 1, 5, 6), (1, 1, 1 << 25, 1)])
  func `numbers out of range are refused`(samples: Int, views: Int, classes: Int, k: Int) {
    let problem = #expect(throws: Problem.self) {
      try PaperPlan(samples: samples, views: views, classes: classes, heads: [k])
    }
    #expect(problem?.kind == .usage)
  }

  @Test(
    arguments: [
      ("10GB", 10_000_000_000), ("1.5 TB", 1_500_000_000_000), ("512MiB", 512 << 20),
      ("4096", 4096),
      ("7kb", 7000), ("1B", 1), ("", nil), ("GB", nil), ("-1", nil), ("10 apples", nil), ("0", nil),
      ("1e3", nil), ("99999999PB", nil),
    ] as [(String, Int?)])
  func `sizes are read with their units`(text: String, bytes: Int?) {
    #expect(ByteCount.parse(text) == bytes)
  }

  @Test func `a written size reads back to three digits`() throws {
    var bytes = 1.0
    while bytes < 1e17 {
      let read = try #require(ByteCount.parse(ByteCount.text(bytes)))
      #expect(abs(Double(read) - bytes) <= 0.0051 * bytes + 0.51, "\(ByteCount.text(bytes))")
      bytes *= 1.37
    }
  }
}
