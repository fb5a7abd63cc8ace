import Basics
import DataSets
import Foundation
import LogitCache
import Pipelines
import Teachers
import TestSupport
import Testing
import Views

@Suite struct WorkerTeacherTests {
  @Test func `rows come back as the worker computes them, short batches too`() throws {
    let bench = try WorkerBench()
    #expect(try bench.bench.logits(0..<20) == bench.expected(0..<20))
  }

  @Test func `features are numbers and come with rows`() throws {
    let bench = try WorkerBench()
    try bench.describe(["features=5"])
    let data = try SmallPictures(count: 20).writeFeatures(to: bench.folder)
    let dataSet = try openDataSet(data)
    let teacher = try openTeacher(configuration: bench.bench.teacher, for: dataSet)
    #expect(teacher.featureWidth == 5)
    let augmenter = try Augmenter(dataSet: dataSet, recipe: .identity, seed: 1)
    var views = augmenter.makeBatch()
    try augmenter.render(samples: 3..<9, view: 0, into: &views)
    let session = try teacher.makeSession()
    var rows = [Float](repeating: .nan, count: 6 * 4)
    do {
      var span = rows.mutableSpan
      try session.logits(of: views, into: &span)
    }
    let samples = (0..<6).map { views.features[$0 * 64..<($0 + 1) * 64] }
    // Summed in the worker in double precision.
    for (given, exact) in zip(rows, samples.flatMap { FakeWorker.row(of: $0, classes: 4) }) {
      #expect(abs(given - exact) < 1e-5)
    }
    var features = [Float](repeating: .nan, count: 6 * 5)
    do {
      var span = features.mutableSpan
      try session.features(into: &span)
    }
    #expect(features == samples.flatMap { $0.prefix(5).map { $0 / 256 } })
  }

  @Test(arguments: ["logits", "probabilities", "log-probabilities", "sigmoid"])
  func `every kind of row becomes logits, and is part of the identity`(output: String) throws {
    let bench = try WorkerBench()
    try bench.describe(["output=\(output)", "shares=1"])
    #expect(try bench.bench.open().identity["output"]?["kind"] == .string(output))
    let sums = try bench.expected(0..<20).map { Double($0) * 512 + 4096 }
    let expected = (0..<20).flatMap { row in
      let total = sums[row * 4..<(row + 1) * 4].reduce(0, +)
      return sums[row * 4..<(row + 1) * 4].map { sum -> Double in
        let share = sum / total
        return switch output {
        case "sigmoid": log(share / (1 - share))
        default: log(share)
        }
      }
    }
    for (given, exact) in zip(try bench.bench.logits(0..<20), expected) {
      #expect(abs(Double(given) - exact) < 1e-5)
    }
  }

  @Test(arguments: ["probabilities", "log-probabilities", "sigmoid"])
  func `rows that cannot be what the worker calls them are refused`(output: String) throws {
    let bench = try WorkerBench()
    try bench.describe(["output=\(output)", "shares=-1"])
    bench.expectRefusal(.corrupt, "worker sums gave", "output.kind is \(output), is that right?")
  }

  @Test func `identities name the worker, the protocol, the batch and the classes, no commands`()
    throws
  {
    let bench = try WorkerBench()
    try bench.describe(["weights=abc"], "parameters: {depth: 3}", "restarts: 9", "in-flight: 7")
    let identity = try bench.bench.open().identity
    #expect(
      identity.object?.keys.sorted() == [
        "batch", "classes", "kind", "output", "protocol", "worker",
      ])
    #expect(identity["protocol"] == .integer(1))
    #expect(identity["batch"] == .integer(8))
    #expect(identity["worker"]?["weights"] == .string("abc"))
    #expect(identity["worker"]?["parameters"]?["depth"] == .integer(3))
    #expect(identity["classes"]?["of"] == .integer(4))
    #expect(!(try canonicalJSON(identity)).contains("python"))
  }

  @Test func `classes are kept by the names that the worker tells`() throws {
    let bench = try WorkerBench(classes: 3)
    try bench.describe(
      ["classes=5", "names=class 2,other,class 0,class 1,more"], "keep-classes: data-set")
    let all = try WorkerBench(classes: 5).expected(0..<4)
    let kept = (0..<4).flatMap { row in [2, 3, 0].map { all[row * 5 + $0] } }
    #expect(try bench.bench.logits(0..<4) == kept)
    try bench.describe(["classes=5"], "keep-classes: data-set")
    bench.expectRefusal(.configuration, "keep-classes by name needs class-names")
    try bench.folder.write("a\nclass 0\nclass 1\nclass 2\nb", to: "names.txt")
    try bench.describe(
      ["classes=5"], "keep-classes: data-set", "class-names: {file: names.txt}")
    #expect(
      try bench.bench.logits(0..<4) == (0..<4).flatMap { row in (1...3).map { all[row * 5 + $0] } })
  }

  @Test func `other classes than the data set's are refused`() throws {
    let bench = try WorkerBench()
    try bench.describe(["classes=5"])
    bench.expectRefusal(
      .corrupt, "worker sums gives rows of 5 classes, the data set has 4", "keep-classes")
    try bench.describe(["names=class 0,class 2,class 1,class 3"])
    bench.expectRefusal(
      .corrupt, "class 1 is 'class 2' for worker sums, but 'class 1' for the data")
  }

  @Test func `a command that is not there is named`() throws {
    let bench = try WorkerBench()
    try bench.describe(command: "[no-such-worker-here, --fast]", [])
    bench.expectRefusal(
      .noInput, "cannot run no-such-worker-here in \(bench.folder.path): No such file")
    try bench.describe(command: "[./teacher.yaml]", [])
    bench.expectRefusal(.noInput, "cannot run ./teacher.yaml", "Permission denied")
  }

  @Test(arguments: [
    ("early", ProblemKind.unavailable, "worker python3 ended with exit code 1 before it was ready"),
    (
      "greeting", .corrupt,
      "worker python3 wrote 'hello, this is a teacher' in the place of a frame"
    ),
    ("refusal", .unavailable, "worker python3 says: no GPU here"),
  ])
  func `a worker that does not get ready says why`(
    fault: String, kind: ProblemKind, text: String
  ) throws {
    let bench = try WorkerBench()
    try bench.describe(["fault=\(fault)", "state=\(bench.folder.file("state"))"])
    bench.expectRefusal(kind, text)
    // It is not tried again.
    #expect(try Files.read(bench.folder.file("state")).count == 1)
  }

  @Test(arguments: [
    (#"{"output": "rows"}"#, #"welcome whose output is "rows": it must be logits, log-"#),
    (#"{"classes": 1}"#, "classes is 1: it must be a whole number in 2...1048576"),
    (#"{"positions": 4097}"#, "positions is 4097: it must be a whole number in 1...4096"),
    (#"{"positions": 2, "ragged": 1}"#, "ragged is 1: it must be true or false"),
    (#"{"ragged": true}"#, "ragged is true: it must be left out where positions is 1"),
    (#"{"positions": 2, "featureWidth": 3}"#, "featureWidth is 3: it must be 0 where positions is"),
    (#"{"featureWidth": -1}"#, "featureWidth is -1"),
    (#"{"identity": {"weights": "1"}}"#, "an object with a name"),
    (#"{"identity": {"name": "a", "scales": [1, 0.5]}}"#, "identity.scales[1] is a number with a"),
    (#"{"classNames": ["a", "b"]}"#, "classNames is"),
  ])
  func `welcomes that are not what they must be are refused by the member`(
    welcome: String, text: String
  ) throws {
    let bench = try WorkerBench()
    try bench.describe(["welcome=\(welcome)"])
    bench.expectRefusal(.corrupt, "worker python3 sent a welcome whose", text)
  }

  @Test(arguments: [
    ("magic", ["worker sums wrote the bytes 01020304", "in the place of a frame"]),
    ("print", ["worker sums wrote 'Epoch 1 of 3' in the place", "print to standard error"]),
    ("version", ["worker sums speaks version 2 of the worker protocol, this program speaks 1"]),
    ("checksum", ["wrong checksum"]),
    ("kind", ["unknown type 9"]),
    ("length", ["2147483648 bytes, at most 1073741824"]),
    ("request", ["answered the request 8, which is not open"]),
    ("again", ["sent a frame of type welcome for the request 1"]),
    ("few-bytes", ["answered with 140 bytes for 8 rows of 4 classes; these are 144 bytes"]),
    ("few-rows", ["a batch of 8 views with 7 rows of 4 classes; 8 rows of 4 classes were"]),
    ("classes", ["a batch of 8 views with 8 rows of 5 classes; 8 rows of 4 classes were"]),
  ])
  func `answers that break the protocol are refused at once`(fault: String, texts: [String]) throws
  {
    let bench = try WorkerBench()
    try bench.describe(["fault=\(fault)", "state=\(bench.folder.file("state"))"])
    for text in texts { bench.expectRefusal(.corrupt, text) }
    #expect(try Files.read(bench.folder.file("state")).count == texts.count)
  }

  @Test(arguments: [
    ("nan", 13, "nan for class 1 of view 3"), ("inf", 31, "inf for class 3 of view 7"),
  ])
  func `numbers that are not finite are refused by class and view`(
    fault: String, place: Int, text: String
  ) throws {
    let bench = try WorkerBench()
    try bench.describe(["fault=\(fault)", "place=\(place)"])
    bench.expectRefusal(.corrupt, "worker sums gave \(text) of a batch of 8")
    try bench.describe(["fault=\(fault)", "place=\(8 * 4 + 6)", "features=2"])
    let teacher = try bench.bench.open()
    let session = try teacher.makeSession()
    var numbers = [Float](repeating: 0, count: 32)
    do {
      var span = numbers.mutableSpan
      try session.logits(of: bench.bench.views(0..<8), into: &span)
    }
    let problem = #expect(throws: Problem.self) {
      var features = [Float](repeating: 0, count: 16)
      var span = features.mutableSpan
      try session.features(into: &span)
    }
    #expect(problem?.message.contains("\(fault) for feature 0 of view 3") == true)
  }

  @Test func `an error in words is passed on as it is`() throws {
    let bench = try WorkerBench()
    try bench.describe(["fault=error", "at=2"])
    bench.expectRefusal(.unavailable, "worker sums says: the GPU is on fire: 摄氏 900")
  }

  @Test func `batches and answers beyond a frame are refused before anything is sent`() throws {
    let bench = try WorkerBench()
    try bench.describe(["welcome={\"classes\": 131072}"], "batch: 4096")
    bench.expectRefusal(.configuration, "the answer to a batch of 4096 is 2147483664 bytes")
  }

  @Test(arguments: [
    ("command: []", "command must be a list of at least 1 element"),
    ("command: [a]\nin-flight: 0", "in-flight must be an integer of at least 1"),
    ("command: [a]\nweights: b", "weights is not known here"),
    ("command: [a]\nclass-names: {metadata: names}", "class-names.file is missing"),
    ("batch: 3", "command is missing"),
  ])
  func `configurations that do not fit the schema are refused`(lines: String, text: String) throws {
    let bench = try WorkerBench()
    try bench.folder.write("version: 1\nkind: worker\n" + lines, to: "teacher.yaml")
    bench.expectRefusal(.configuration, text)
  }
}
