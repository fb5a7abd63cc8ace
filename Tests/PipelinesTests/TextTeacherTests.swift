import Basics
import DataSets
import Teachers
import TestSupport
import Testing
import Views

/// Texts in front of teachers of each kind.
@Suite struct TextTeacherTests {
  private let folder = ScratchFolder()

  private func open() throws -> any DataSet {
    try folder.write("a\tone\nb\tzwei\na\tτρία\nc\t四", to: "texts.tsv")
    try folder.write(
      "{kind: text, name: t, texts: texts.tsv, classNames: [a, b, c], bytes: 12}",
      to: "texts.yaml")
    return try openDataSet(folder.file("texts.yaml"))
  }

  @Test func `a worker is told that views are texts and gets their bytes`() throws {
    let dataSet = try open()
    let configuration = try folder.write(
      "{version: 1, kind: worker, command: \(FakeWorker.command([])), batch: 4}",
      to: "teacher.yaml")
    let teacher = try openTeacher(configuration: configuration, for: dataSet)
    #expect(teacher.identity["worker"]?["input"] == .string("text"))
    let augmenter = try Augmenter(dataSet: dataSet, recipe: .identity, seed: 1)
    var views = augmenter.makeBatch()
    try augmenter.render(samples: 0..<4, view: 0, into: &views)
    var rows = [Float](repeating: .nan, count: 4 * 3)
    let session = try teacher.makeSession()
    do {
      var span = rows.mutableSpan
      try session.logits(of: views, into: &span)
    }
    let expected = ["one", "zwei", "τρία", "四"].flatMap { text in
      FakeWorker.row(of: text.utf8.map { Float($0) }, classes: 3)
    }
    #expect(rows == expected)
  }

  @Test(.enabled(if: InstalledRuntime.isThere, "\(InstalledRuntime.absence)"))
  func `an ONNX model as teacher of texts is refused in words`() throws {
    let dataSet = try open()
    let bench = try ONNXBench(classes: 12)
    try bench.describe(.echo(.uint8, "n", 12), "output: {kind: logits}")
    let problem = try #require(throws: Problem.self) {
      try openTeacher(
        configuration: bench.teacher, for: dataSet, onnxRuntime: InstalledRuntime.folder)
    }
    #expect(problem.kind == .configuration)
    #expect(problem.message.contains("the data set has 12 bytes of text"), "\(problem)")
  }
}
