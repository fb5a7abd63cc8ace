import Arrays
import Basics
import Foundation
import LogitCache
import Losses
import Pipelines
import Reports
import Teachers
import TestSupport
import Testing

@Suite struct ImportTests {
  @Test(arguments: UInt64(1)...12)
  func `imported rows are exported to within half a step, whatever their layout, type and file`(
    seed: UInt64
  ) throws {
    let files = RowFiles(seed: seed)
    let (n, views, classes) = (files.samples, files.views, files.classes)
    let report = try importRows(files.job("plain", files.writeRows(), k: classes))
    #expect(report.made.records == n * views && report.made.newRecords == n * views)
    #expect(
      try verifyCache(path: files.folder.file("plain")).cacheDigest == report.made.cacheDigest)
    let exported = try files.export("plain", to: "plain-out.npy", .npy)["logits"]!
    #expect(exported.shape == [n, views, classes])
    for (one, two) in zip(exported.floats, files.rows) {
      #expect(abs(one - two) <= 1 / 32 + 1e-5, "seed \(seed)")
    }
    // The same content in another container is the same cache.
    try Safetensors.write(
      SafetensorsFile(arrays: [
        "rows": NamedArray(shape: [n, views, classes], values: .float32(files.rows)),
        "labels": NamedArray(shape: [n], values: .int64(files.labels.map { Int64($0) })),
      ]), to: files.folder.file("all.safetensors"))
    let tensors = files.folder.file("all.safetensors")
    let contained = try importRows(
      files.job("tensors", tensors + ":rows", k: classes, labels: tensors + ":labels"))
    #expect(contained.made.cacheDigest == report.made.cacheDigest, "seed \(seed)")
    // Other types and layouts are other files, with the same records.
    let wide = try files.write(
      "wide.npy", [n, views, classes], .float64(files.rows.map { Double($0) }))
    try importRows(files.job("wide", wide, k: classes))
    var turned: [Float] = []
    for view in 0..<views { for sample in 0..<n { turned += files.row(sample, view) } }
    var job = try files.job(
      "turned", files.write("turned.npy", [views, n, classes], .float32(turned)), k: classes)
    job.viewsFirst = true
    try importRows(job)
    let exports = try ["wide", "turned"].map { try files.export($0, to: $0 + "-out.npy", .npy) }
    for other in exports { #expect(other["logits"] == exported, "seed \(seed)") }
    // What is exported is imported to the same numbers.
    try importRows(files.job("again", files.folder.file("plain-out.npy"), k: classes))
    #expect(try files.export("again", to: "again.npy", .npy)["logits"] == exported)
  }

  @Test(arguments: UInt64(1)...20)
  func `exported records are imported to the same ids, levels and labels`(seed: UInt64) throws {
    let files = RowFiles(seed: seed)
    var generator = SeededGenerator(seed: seed)
    let k = Int.random(in: 1...files.classes, using: &generator)
    try importRows(files.job("full", files.writeRows(), k: k))
    let full = try files.export("full", to: "full.safetensors", .safetensors)
    let report = try files.importRecords(files.folder.file("full.safetensors"), into: "sparse")
    #expect(report.input.isBound && report.input.k == k)
    let sparse = try files.export("sparse", to: "sparse.safetensors", .safetensors)
    for name in ["ids", "logits", "labels", "label-logits", "label-ranks", "samples", "views"] {
      #expect(sparse[name] == full[name], "seed \(seed), \(name)")
    }
    guard let (ratios, exact) = zip(sparse["log-tail-ratios"], full["log-tail-ratios"]) else {
      #expect(k == files.classes)
      return
    }
    #expect(ratios.shape.last == 1 && exact.shape.last == 3)
    for (index, ratio) in ratios.floats.enumerated() where exact.floats[3 * index] > -20 {
      #expect(ratio == exact.floats[3 * index], "seed \(seed), \(index)")
    }
    // Fewer of the same ids.
    let fewer = (k + 1) / 2
    _ = try files.importRecords(
      files.folder.file("full.safetensors"), into: "fewer", k: fewer)
    let ids = try files.export("fewer", to: "fewer.safetensors", .safetensors)["ids"]!.integers
    for index in 0..<files.samples * files.views {
      let expected = full["ids"]!.integers[index * k..<index * k + fewer]
      #expect(ids[index * fewer..<(index + 1) * fewer] == expected, "seed \(seed)")
    }
  }

  private func zip<A, B>(_ a: A?, _ b: B?) -> (A, B)? {
    if let a, let b { (a, b) } else { nil }
  }

  private func zip<A: Sequence, B: Sequence>(_ a: A, _ b: B) -> Zip2Sequence<A, B> {
    Swift.zip(a, b)
  }

  @Test(arguments: [1, 2, 3])
  func `threads and shards do not change the digest`(threads: Int) throws {
    let files = RowFiles(samples: 4500, views: 2, classes: 5, seed: 3)
    let rows = try files.writeRows()
    let whole = try importRows(files.job("whole", rows, k: 3))
    var job = try files.job("threads", rows, k: 3)
    job.making.threads = threads
    #expect(try importRows(job).made.cacheDigest == whole.made.cacheDigest)
    for index in 1...2 {
      job.making.cache = files.folder.file("shard-\(index)")
      job.making.shard = Shard(index, of: 2)
      #expect(try importRows(job).made.cacheDigest == nil)
    }
    let merged = try mergeCaches(
      [1, 2].map { files.folder.file("shard-\($0)") }, into: files.folder.file("merged"))
    #expect(merged.cacheDigest == whole.made.cacheDigest)
    // A finished import is not done again.
    #expect(try importRows(files.job("whole", rows, k: 3)).made.newRecords == 0)
  }

  @Test(arguments: ["probabilities", "log-probabilities", "sigmoid"])
  func `probabilities become logits`(kind: String) throws {
    let files = RowFiles(samples: 5, views: 1, classes: 4, seed: 4)
    let path = try files.writeRows("p.npy") { rows in
      for start in stride(from: 0, to: rows.count, by: 4) {
        let row = rows[start..<start + 4]
        let sum = row.reduce(0) { $0 + exp($1) }
        for index in row.indices {
          let p = kind == "sigmoid" ? 1 / (1 + exp(-rows[index])) : exp(rows[index]) / sum
          rows[index] = kind == "log-probabilities" ? log(p) : p
        }
      }
    }
    try importRows(files.job("cache", path, kind: kind))
    let exported = try files.export("cache", to: "out.npy", .npy)["logits"]!.floats
    for sample in 0..<5 {
      let (row, found) = (Array(files.row(sample, 0)), exported[sample * 4..<sample * 4 + 4])
      let shift = kind == "sigmoid" ? 0 : log(row.reduce(0) { $0 + exp($1) })
      for (one, two) in zip(row, found) { #expect(abs(one - shift - two) <= 1 / 32 + 1e-4) }
    }
    let logits = try files.writeRows("logits.npy") { $0[6] = 7 }
    let problem = #expect(throws: Problem.self) {
      try importRows(files.job("wrong", logits, kind: kind))
    }
    #expect(problem?.message.contains("--kind is \(kind), is that right?") == true, "\(problem!)")
  }

  @Test func `a row that is not finite is refused with file, sample and view`() throws {
    let files = RowFiles(samples: 3000, views: 2, classes: 3, seed: 5)
    for (value, text) in [(Float.nan, "NaN"), (.infinity, "infinity"), (1e6, "1000000.0")] {
      let path = try files.writeRows { $0[(2500 * 2 + 1) * 3 + 2] = value }
      let problem = #expect(throws: Problem.self) { try importRows(files.job(text, path)) }
      #expect(
        problem?.message.contains("\(path): teacher gave \(text) for sample 2500, view 1, class 2")
          == true, "\(problem!)")
    }
  }

  /// Rows of probabilities of 5 classes, and what is to be done to them.
  private func probabilities(_ files: RowFiles, _ change: (inout [Float]) -> Void = { _ in }) throws
    -> String
  {
    try files.writeRows { rows in
      for start in stride(from: 0, to: rows.count, by: files.classes) {
        let row = start..<start + files.classes
        let sum = rows[row].reduce(0) { $0 + exp($1) }
        for place in row { rows[place] = exp(rows[place]) / sum }
      }
      change(&rows)
    }
  }

  @Test func `rows that look like probabilities are refused until their kind is said`() throws {
    let files = RowFiles(samples: 200, views: 2, classes: 5, seed: 8)
    let path = try probabilities(files)
    let problem = #expect(throws: Problem.self) {
      try importRows(files.job("new", path, kind: nil))
    }
    #expect(problem?.kind == .usage)
    for text in [path, "--kind probabilities", "--kind logits"] {
      #expect(problem?.message.contains(text) == true, "\(problem!)")
    }
    #expect(!Files.exists(files.folder.file("new")))
    for kind in ["probabilities", "logits"] {
      try importRows(files.job(kind, path, kind: kind))
    }
  }

  @Test func `rows that are no probabilities are logits unsaid`() throws {
    let files = RowFiles(samples: 200, views: 2, classes: 5, seed: 8)
    let said = try importRows(files.job("said", files.writeRows(), kind: "logits"))
    let unsaid = try importRows(files.job("unsaid", files.writeRows(), kind: nil))
    #expect(said.made.cacheDigest == unsaid.made.cacheDigest)
    let others: [(String, (inout [Float]) -> Void)] = [
      ("log-probabilities", { for place in $0.indices { $0[place] = log($0[place]) } }),
      ("scores", { for place in $0.indices { $0[place] *= 0.99 } }),
      // One row that shows it, number 318 of 400.
      ("one row", { for place in 1590..<1595 { $0[place] = -0.1 } }),
    ]
    for (name, change) in others {
      try importRows(files.job(name, probabilities(files, change), kind: nil))
    }
    let one = RowFiles(samples: 9, views: 1, classes: 1, seed: 8)
    try importRows(one.job("one", one.writeRows { $0 = $0.map { _ in 1 } }, kind: nil))
  }

  @Test func `features are kept with the rows`() throws {
    let files = RowFiles(samples: 20, views: 2, classes: 3, seed: 6)
    let features = try files.write(
      "features.npy", [20, 2, 2], .float32((0..<80).map { $0 % 2 == 0 ? 3 : 4 }))
    var job = try files.job("cache", files.writeRows())
    job.rows = .full(values: files.folder.file("rows.npy"), kind: .logits, features: features)
    try importRows(job)
    let norms = try files.export("cache", to: "out.safetensors", .safetensors)["feature-norms"]!
    #expect(norms.floats.allSatisfy { abs($0 - 5) < 0.01 } && norms.shape == [20, 2])
    let means = try CacheReader(path: files.folder.file("cache")).classMeans()
    #expect(Set(means).isSubset(of: [0, 3, 4]))
  }

  // MARK: - The data set that rows belong to

  @Test func `rows imported with their data set train as those of the teacher`() throws {
    let workshop = try Workshop()
    var made = workshop.job()
    made.kept.k = 4
    try precompute(made)
    let files = RowFiles(samples: 300, views: 2, classes: 4, seed: 1)
    var export = ExportJob(
      cache: workshop.folder.file("cache"), out: files.folder.file("rows.npy"), format: .npy)
    export.replaces = true
    try exportRecords(export)
    var job = try files.job("imported", files.folder.file("rows.npy"), labels: "")
    job.labels = nil
    job.views = .init(data: workshop.data, recipe: workshop.recipe, seed: 1)
    try importRows(job)
    let imported = try CacheReader(path: files.folder.file("imported"))
    let original = try CacheReader(path: workshop.folder.file("cache"))
    for key in imported.manifest.blockKeys {
      #expect(try imported.blockInfo(key)?.viewDigest == original.blockInfo(key)?.viewDigest)
    }
    let plan = try workshop.plan("kd@4", "cache: \(files.folder.file("imported"))")
    try train(plan, workshop.options("out", check: .all))
    // Labels beside the data set are compared with it.
    job.labels = try files.writeLabels()
    job.making.cache = files.folder.file("other")
    let problem = #expect(throws: Problem.self) { try importRows(job) }
    #expect(problem?.message.contains("data set data says") == true, "\(problem!)")
  }

  @Test func `rows without a data set are sound, and refused by train in a sentence`() throws {
    let workshop = try Workshop()
    let files = RowFiles(samples: 300, views: 2, classes: 4, seed: 1)
    var job = try files.job("cache", files.writeRows(), k: 2)
    (job.name, job.teacherName) = ("mine", "big")
    try importRows(job)
    let cache = try CacheReader(path: files.folder.file("cache"))
    #expect(!cache.manifest.recipe.isKnown && cache.manifest.seed == 0)
    try cache.forEachBlock { _, info in #expect(info.viewDigest == .unknownInputs) }
    let text = try Inspection(of: cache).text
    #expect(text.contains("unknown: rows were imported without their data set"))
    #expect(text.contains("mine, 300 samples") && text.contains("import big, rows "))
    let plan = try workshop.plan("kd@1", "cache: \(files.folder.file("cache"))")
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.message.contains("import the rows again with --data") == true, "\(problem!)")
    let derived = try deriveCache(
      from: files.folder.file("cache"), into: files.folder.file("small"),
      keeping: Derivation(k: 1))
    #expect(derived.records == 600)
    let diff = try CacheDiff(cache, CacheReader(path: files.folder.file("small")), worst: 1) {
      _, _ in
    }
    #expect(diff.records == 600)
  }

  // MARK: - Files that do not fit together

  @Test func `files that do not fit together are refused with both numbers`() throws {
    let files = RowFiles(samples: 6, views: 2, classes: 3, seed: 7)
    let (rows, labels) = (try files.writeRows(), try files.writeLabels())
    func expect(_ text: String, _ change: (inout ImportJob) throws -> Void) throws {
      var job = try files.job("new", rows)
      try change(&job)
      let problem = #expect(throws: Problem.self, "\(text)") { try importRows(job) }
      #expect(problem?.message.contains(text) == true, "\(text): \(problem!)")
      #expect(!Files.exists(files.folder.file("new")))
    }
    func full(_ path: String) -> ImportJob.Rows {
      .full(values: path, kind: .logits, features: nil)
    }
    try expect("has the shape [36]") {
      $0.rows = full(try files.write("flat.npy", [36], .float32(files.rows)))
    }
    try expect("has the shape [6, 2, 3, 1]") {
      $0.rows = full(try files.write("four.npy", [6, 2, 3, 1], .float32(files.rows)))
    }
    try expect("holds int32; floating-point numbers are expected") {
      $0.rows = full(try files.write("whole.npy", [6, 3], .int32(Array(repeating: 1, count: 18))))
    }
    try expect("without an axis of views, leave out --views-first") {
      $0.rows = full(try files.write("two.npy", [12, 3], .float32(files.rows)))
      $0.viewsFirst = true
    }
    try expect("has the shape [6], \(rows) has 2 samples: [2] is expected") {
      $0.viewsFirst = true
    }
    try expect("holds float32; uint8, int32 or int64 is expected") {
      $0.labels = try files.write("f.npy", [6], .float32(Array(repeating: 0, count: 6)))
    }
    try expect("sample 4 has the label 3, the classes are 0..<3") {
      $0.labels = try files.write("l.npy", [6], .int64([0, 1, 2, 0, 3, 0]))
    }
    try expect("names.txt has 2 classes, \(rows) has 3") {
      $0.classNames = try files.folder.write("a\nb", to: "names.txt")
    }
    try expect("line 2 is empty") {
      $0.classNames = try files.folder.write("a\n\nb", to: "gap.txt")
    }
    try expect("rows need labels") { $0.labels = nil }
    try expect("--k is 4, it must be in 1...3") { $0.kept.k = 4 }
    try expect("the first axes must be [6, 2]") {
      let features = try files.write("d.npy", [6, 3], .float32(Array(repeating: 0, count: 18)))
      $0.rows = .full(values: rows, kind: .logits, features: features)
    }
    let workshop = try Workshop()
    try expect("has 6 samples, data set data has 300") {
      $0.views = .init(data: workshop.data, recipe: nil, seed: 1)
    }
    let ids = try files.write("ids.npy", [6, 2], .int32(Array(repeating: 0, count: 12)))
    let values = try files.write("values.npy", [6, 2], .float32(Array(repeating: 0, count: 12)))
    let sums = try files.write("sums.npy", [6], .float32(Array(repeating: 1, count: 6)))
    func sparse(_ sums: String, classes: Int? = 3) -> ImportJob.Rows {
      .sparse(.init(ids: ids, values: values, logSumExp: sums, classes: classes))
    }
    try expect("give --classes or --class-names") { $0.rows = sparse(sums, classes: nil) }
    try expect("has 2 ids of a row, --classes has 1 class") {
      $0.rows = sparse(sums, classes: 1)
    }
    try expect("the first axes must be [6], with no more") { $0.rows = sparse(values) }
    try expect("holds uint8; floating-point numbers are expected") {
      $0.rows = sparse(try files.write("u.npy", [6], .uint8(Array(repeating: 1, count: 6))))
    }
    try expect("need full rows: import them with --logits") {
      $0.rows = sparse(sums)
      $0.kept.ranking = .full
    }
    try expect("--k is 3, it must be in 1...2") {
      $0.rows = sparse(sums)
      $0.kept.k = 3
    }
    _ = labels
    var job = try files.job("begun", rows)
    job.rows = sparse(sums)
    let twice = #expect(throws: Problem.self) { try importRows(job) }
    #expect(
      twice?.message.contains("\(ids): sample 0, view 0: class 0 is among its ids twice") == true,
      "\(twice!)")
  }

  @Test func `a cache of other rows is refused by what differs, untouched`() throws {
    let files = RowFiles(samples: 6, views: 2, classes: 3, seed: 8)
    try importRows(files.job("cache", files.writeRows()))
    let before = try content(ofFolder: files.folder.file("cache"))
    let other = try files.writeRows("other.npy") { $0[0] += 1 }
    let problem = #expect(throws: Problem.self) { try importRows(files.job("cache", other)) }
    #expect(problem?.message.contains("teacher.rows.digest: the cache has") == true)
    #expect(try content(ofFolder: files.folder.file("cache")) == before)
  }
}
