import Basics
import Pipelines
import TestSupport
import Testing

@Suite(.enabled(if: InstalledRuntime.isThere, "\(InstalledRuntime.absence)"))
struct ONNXClassTests {
  private func bench(_ names: [String]) throws -> ONNXBench { try ONNXBench(classNames: names) }

  /// The logits of all of a model's seven classes, and their names "class 0" to "class 6".
  private func all() throws -> (ONNXModel, [Float]) {
    let model = ONNXModel.classifier(classes: 7)
    let bench = try ONNXBench(classes: 7)
    try bench.describe(model, "output: {kind: logits}")
    return (model, try bench.logits(0..<20))
  }

  private func columns(_ chosen: [Int], of rows: [Float]) -> [Float] {
    (0..<20).flatMap { row in chosen.map { rows[row * 7 + $0] } }
  }

  @Test func `a teacher is restricted to the data set's classes, in their order`() throws {
    let (model, rows) = try all()
    let bench = try bench(["class 5", "class 0", "class 2"])
    try bench.describe(
      model, "output: {kind: logits}", "class-names: {metadata: names}", "keep-classes: data-set")
    #expect(try bench.logits(0..<20) == columns([5, 0, 2], of: rows))
    let result = try precompute(bench.job())
    #expect(result.records == 20)
  }

  @Test func `classes are chosen by a file of names or of indices`() throws {
    let (model, rows) = try all()
    let bench = try bench(["five", "nought", "two"])
    try bench.folder.write("class 5\nclass 0\r\nclass 2", to: "names.txt")
    try bench.describe(
      model, "output: {kind: logits}", "class-names: {metadata: names}",
      "keep-classes: {names: names.txt}")
    #expect(try bench.logits(0..<20) == columns([5, 0, 2], of: rows))
    try bench.folder.write("5\n0\n2", to: "indices.txt")
    try bench.describe(
      model, "output: {kind: logits}", "keep-classes: {indices: indices.txt}")
    #expect(try bench.logits(0..<20) == columns([5, 0, 2], of: rows))
  }

  @Test func `names come from metadata or a file, with names before and after`() throws {
    let (model, rows) = try all()
    let bench = try bench([" ", "b", "blank"])
    try bench.folder.write("a\nb\nc\nd\ne", to: "list.txt")
    try bench.describe(
      model, "output: {kind: logits}",
      #"class-names: {file: list.txt, first: [blank], last: [" "]}"#, "keep-classes: data-set")
    #expect(try bench.logits(0..<20) == columns([6, 2, 0], of: rows))
  }

  @Test(arguments: [
    ("class-names: {metadata: characters}", "data-set", "no metadata 'characters'"),
    ("class-names: {metadata: names, first: [blank]}", "data-set", "1 + 7 + 0 names"),
    ("threads: 1", "data-set", "needs class-names"),
    ("class-names: {metadata: names}", "data-set", "lacks 2 of the 3 classes"),
    ("class-names: {file: twice.txt}", "data-set", "2 classes named 'a'"),
    ("class-names: {metadata: names}", "{names: twice.txt}", "has 7 lines"),
    ("threads: 1", "{indices: indices.txt}", "indices.txt, line 2: '7'"),
  ])
  func `classes that do not fit are refused in words`(
    setting: String, keep: String, named: String
  ) throws {
    let bench = try bench(named.contains("named 'a'") ? ["a", "b", "c"] : ["class 1", "x", "y"])
    try bench.folder.write("a\na\nb\nc\nd\ne\nf", to: "twice.txt")
    try bench.folder.write("5\n7\n2", to: "indices.txt")
    var settings = setting
    if keep.contains("twice") { settings = "class-names: {file: twice.txt}" }
    try bench.describe(
      .classifier(classes: 7), "output: {kind: logits}", settings, "keep-classes: \(keep)")
    let problem = #expect(throws: Problem.self) { try bench.open() }
    #expect(problem?.message.contains(named) == true, "\(problem?.message ?? "")")
  }

  @Test func `names in another order than the data set's are refused by the first`() throws {
    let bench = try bench((0..<7).map { "class \($0 == 3 ? 4 : $0 == 4 ? 3 : $0)" })
    try bench.describe(
      .classifier(classes: 7), "output: {kind: logits}", "class-names: {metadata: names}")
    let problem = #expect(throws: Problem.self) { try bench.open() }
    #expect(problem?.message.contains("class 3 is 'class 3'") == true)
    #expect(problem?.message.contains("'class 4' for the data set") == true)
  }
}
