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
        + "/Benchmarks/runs/rate-\(teacher)-large-job.json"
      let run = try parseJSON(try Files.read(path), source: path)
      for rate in try #require(run["rates"]?.array) {
        let k = try #require(rate["k"]?.integer)
        let measured = try #require(rate["bytesPerRecord"]?.double)
        let row = try PaperPlan(samples: 1, views: 1, classes: classes, heads: [k]).rows[0]
        let typical = teacher == "ocr" ? row.sharp : row.soft
        #expect(abs(typical.bytesPerRecord - measured) < 0.05 * measured, "\(teacher) k \(k)")
      }
    }
  }

  @Test(arguments: [
    ("ocr", 18_709, 4), ("ocr", 18_709, 8), ("soft1000", 1000, 4), ("soft1000", 1000, 8),
  ])
  func `the subspace tails are those of the recorded runs`(
    teacher: String, classes: Int, step: Int
  ) throws {
    let path =
      URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().path
      + "/Benchmarks/runs/rate-\(teacher)-tail-\(step).json"
    let rate = try #require(parseJSON(try Files.read(path), source: path)["rates"]?[0])
    let axes = try #require(rate["tail"]?["axes"]?.integer)
    let plan = try PaperPlan(
      samples: 1_000_000, views: 2, classes: classes, heads: [100], axes: axes)
    let value = try parseJSON(readableJSON(plan).utf8, source: "the plan")
    try Schemas.validate(value, against: .plan, source: "the plan")
    let tail = try #require(plan.tails?.first { $0.step == Double(step) })
    #expect(tail.k == rate["k"]?.integer && tail.blockRows == rate["blockRows"]?.integer)
    let typical = teacher == "ocr" ? tail.sharp : tail.soft
    let measured = try #require(rate["bytesPerRecord"]?.double)
    #expect(abs(typical.bytesPerRecord - measured) < 0.01)
    #expect(typical.bytesPerRecord < tail.bound.bytesPerRecord)
    #expect(tail.axesBytes == 16 + 4 * classes + 4 * axes + classes * axes)
    #expect(tail.axesBytes < rate["calibrationBytes"]?.integer ?? 0)
    #expect(typical.bytes >= typical.bytesPerRecord * 2e6 + Double(tail.axesBytes))
    // From so many records on it is smaller than the head of 100.
    let pays = try #require(teacher == "ocr" ? tail.sharpPaysFromRecords : tail.softPaysFromRecords)
    let head = teacher == "ocr" ? plan.rows[0].sharp : plan.rows[0].soft
    let saved = (head.bytesPerRecord - typical.bytesPerRecord) * Double(pays)
    #expect(saved > Double(tail.axesBytes) && saved < 1.01 * Double(tail.axesBytes) + 100)
    #expect(plan.text.contains("full rows on \(axes) axes"))
  }

  @Test(arguments: [2, 40, 4096])
  func `positions multiply records and leave their sizes`(positions: Int) throws {
    let one = try PaperPlan(samples: 1_000_000, views: 10, classes: 1000, heads: [20], axes: 64)
    let many = try PaperPlan(
      samples: 1_000_000, views: 10, positions: positions, classes: 1000, heads: [20], axes: 64)
    let value = try parseJSON(readableJSON(many).utf8, source: "the plan")
    try Schemas.validate(value, against: .plan, source: "the plan")
    #expect(one.positions == nil && many.positions == positions)
    #expect(many.records == positions * one.records)
    #expect(many.text.contains("10 views x \(positions) positions = \(many.records) records"))
    #expect(many.rows[0].sharp.bytesPerRecord == one.rows[0].sharp.bytesPerRecord)
    let times = many.rows[0].soft.bytes / one.rows[0].soft.bytes
    #expect(abs(times / Double(positions) - 1) < 0.1, "\(times)")
    // A block holds as many records, or a sample.
    #expect(many.rows[0].blockRows == max(1, one.rows[0].blockRows / positions))
    #expect(many.tails?.count == 2)
  }

  @Test(arguments: [(1, 1, 0), (1, 1, 4097), (1 << 40, 1 << 20, 4096)])
  func `positions out of range are refused`(samples: Int, views: Int, positions: Int) {
    let problem = #expect(throws: Problem.self) {
      try PaperPlan(samples: samples, views: views, positions: positions, classes: 2, heads: [1])
    }
    #expect(problem?.kind == .usage && problem?.message.contains("positions") == true)
  }

  @Test(arguments: [(1000, 0), (1000, 1001), (10, 5), (20_000, 4097), (1 << 24, 17)])
  func `axes that are not stored are refused`(classes: Int, axes: Int) {
    let problem = #expect(throws: Problem.self) {
      try PaperPlan(samples: 10, views: 1, classes: classes, heads: [10], axes: axes)
    }
    #expect(problem?.kind == .usage && problem?.message.contains("--axes is \(axes)") == true)
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
