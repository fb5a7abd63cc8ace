import Arrays
import Basics
import DataSets
import LogitCache
import Losses
import Networks
import Pipelines
import Reports
import Schemas
import Teachers
import TestSupport
import Testing
import Views

/// Caches with a record for each of several positions, from teacher to reports.
@Suite struct PositionCacheTests {
  /// Pictures of 8 x 8, and a teacher with a distribution for each of 4 columns.
  private func columns(samples: Int = 300) throws -> Workshop {
    let workshop = try Workshop(samples: samples, classes: 12)
    try workshop.writeTeacher(network: "cnn-6-columns", classes: 12, seed: 7)
    return workshop
  }

  /// Features [n, 5, 3] with labels [n, 5], of which about a third are missing.
  private struct Tokens {
    let folder = ScratchFolder()
    let data: String
    let labels: [Int32]

    /// - Parameter masked: samples without any label.
    init(samples: Int = 90, classes: Int = 6, masked: Set<Int> = []) throws {
      var random = SeededGenerator(seed: 5)
      let features = (0..<samples * 15).map { _ in Float(random.normal()) }
      labels = (0..<samples * 5).map { _ in
        Int32.random(in: -Int32(classes) / 2..<Int32(classes), using: &random)
      }.enumerated().map { masked.contains($0 / 5) ? -1 : max($1, -1) }
      try NumPy.write(
        NamedArray(shape: [samples, 5, 3], values: .float32(features)),
        to: folder.file("tokens.npy"))
      try NumPy.write(
        NamedArray(shape: [samples, 5], values: .int32(labels)), to: folder.file("labels.npy"))
      let names = (0..<classes).map { "class \($0)" }.joined(separator: ", ")
      data = try folder.write(
        "{kind: arrays, name: tokens, features: tokens.npy, labels: labels.npy, "
          + "classNames: [\(names)]}", to: "data.yaml")
    }

    /// A perceptron for all positions, or for one that is applied to each.
    func job(_ name: String, inputs: Int, positions: Int, classes: Int = 6) throws
      -> PrecomputeJob
    {
      let network = try Network(
        Architecture("mlp-8"), input: LayerShape(features: inputs), classes: classes,
        positions: positions, seed: 3)
      let model = Model(network: network, normalisation: Normalisation(mean: 0, deviation: 1))
      try model.save(to: folder.file("\(name).safetensors"))
      let teacher = try folder.write(
        "{version: 1, kind: native, weights: \(name).safetensors, batch: 16}", to: "\(name).yaml")
      return PrecomputeJob(
        data: data, teacher: teacher, recipe: nil, views: 1, seed: 1,
        kept: KeptRecord(k: 3), making: folder.making("cache-\(name)", threads: 2))
    }
  }

  private func json(_ report: some Encodable, _ schema: Schemas.Name) throws -> JSONValue {
    let value = try parseJSON(readableJSON(report).utf8, source: "the report")
    try Schemas.validate(value, against: schema, source: "the report")
    return value
  }

  @Test func `every column's row of the teacher is recorded with the sample's label`() throws {
    let workshop = try columns(samples: 70)
    var job = workshop.job()
    job.kept.k = 5
    let result = try precompute(job)
    #expect(result.records == 70 * 2 * 4 && result.newRecords == result.records)
    #expect(try precompute(job).newRecords == 0)
    let cache = try CacheReader(path: job.making.cache)
    #expect(cache.manifest.encoding.positions == Positions(maximum: 4, labels: .sample))
    let model = try Model.load(from: workshop.folder.file("teacher.safetensors"))
    let augmenter = try matchingAugmenter(for: cache, openDataSet(workshop.data))
    var views = augmenter.makeBatch()
    var reader = RecordReader(cache)
    var one = cache.makeBatch()
    one.resize(to: 1)
    for view in 0..<2 {
      // The teacher's own batches: 32 from a block's first sample on.
      for first in stride(from: 0, to: 70, by: 32) {
        let samples = first..<min(first + 32, 70)
        try augmenter.render(samples: samples, view: view, into: &views)
        let logits = model.network.infer(model.inputBatch(of: views)).withValues { values in
          (0..<values.count).map { values[$0] }
        }
        for (index, sample) in samples.enumerated() {
          for position in 0..<4 {
            let row = Array(logits[(index * 4 + position) * 12..<(index * 4 + position + 1) * 12])
            try reader.read(sample: sample, view: view, position: position, into: &one, row: 0)
            let best = row.indices.sorted { (row[$1], $0) < (row[$0], $1) }
            #expect(one.classIDs.map { Int($0) } == Array(best[..<5]))
            #expect(one.labels[0] == workshop.pictures.labels[sample])
          }
        }
      }
    }
  }

  @Test func `reports count records and positions`() throws {
    let workshop = try columns(samples: 1200)
    var job = workshop.job()
    job.kept.k = 5
    let said = try plan(PlanJob(job, heads: [5], sampleRecords: 4096))
    let planned = try json(said, .plan)
    #expect(planned["job"]?["records"]?.integer == 9600)
    #expect(planned["job"]?["positions"]?["mean"]?.double == 4)
    #expect(said.text.contains("x 4.00 of 4 positions = 9600 records"))
    #expect(said.text.contains("B/view"))
    try precompute(job)
    let cache = try CacheReader(path: job.making.cache)
    #expect(said.rows[0].blockRows == cache.manifest.encoding.blockRows)
    let report = try Inspection(of: cache)
    let inspected = try json(report, .inspect)
    #expect(inspected["records"]?.integer == 9600)
    #expect(inspected["positions"]?["min"]?.integer == 4)
    #expect(inspected["positions"]?["mean"]?.double == 4)
    #expect(inspected["certificate"]?["records"]?.integer == 9600)
    let real = try #require(inspected["bytesPerRecord"]?.double)
    #expect(abs(said.rows[0].bytesPerRecord - real) < 0.1 * real)
    let file = Double(cache.fileBytes)
    #expect(abs(Double(said.rows[0].cacheBytes) - file) < 0.1 * file + 65_536)
    #expect(report.text.contains("x 4.00 of 4 positions (4 to 4 a view, with labels of the sample"))
    let text = try describeRecord(of: cache, sample: 3, view: 1, augmenter: nil)
    #expect(text.contains("records at 4 of 4 positions"))
    #expect(text.split(separator: "\n").count == 7)
    let status = try CacheStatus(of: [job.making.cache], shards: nil)
    #expect(try json(status, .status)["totalRecords"]?.integer == 9600)
    #expect(status.records == 9600)
  }

  @Test(arguments: [nil, SubspaceTail(stepSixteenths: 16)], [nil, Ranking.full])
  func `shards and threads make the same cache`(tail: SubspaceTail?, ranking: Ranking?) throws {
    guard tail == nil || ranking == nil else { return }
    let workshop = try columns()
    func job(_ cache: String, threads: Int) -> PrecomputeJob {
      var job = workshop.job(cache)
      (job.kept.k, job.kept.tail, job.kept.ranking, job.making.threads) = (
        4, tail, ranking, threads
      )
      return job
    }
    let whole = try precompute(job("whole", threads: 2))
    let paths = try (1...3).map { index in
      var part = job("part-\(index)", threads: 1)
      part.making.shard = Shard(index, of: 3)
      _ = try precompute(part)
      return part.making.cache
    }
    let status = try CacheStatus(of: paths, shards: nil)
    #expect(status.records == 2400 && status.totalRecords == 2400)
    let first = try CacheStatus(of: [paths[0]], shards: nil)
    #expect(first.totalRecords == nil && first.text.contains("\(first.records) records"))
    let merged = try mergeCaches(paths, into: workshop.folder.file("merged"))
    #expect(merged.cacheDigest == whole.cacheDigest && merged.records == 2400)
    #expect(try verifyCache(path: workshop.folder.file("merged")).records == 2400)
  }

  @Test func `positions with labels have records, the others none`() throws {
    let tokens = try Tokens()
    let several = try tokens.job("several", inputs: 15, positions: 5)
    let one = try tokens.job("one", inputs: 3, positions: 1)
    let result = try precompute(several)
    #expect(result.records == tokens.labels.count { $0 >= 0 })
    #expect(try precompute(one).records == result.records)
    let caches = try [several, one].map { try CacheReader(path: $0.making.cache) }
    #expect(
      caches[0].manifest.encoding.positions == Positions(maximum: 5, labels: .position))
    #expect(try caches[0].labels == tokens.labels)
    var batches = caches.map { $0.makeBatch() }
    for block in 0..<caches[0].manifest.blocksPerView {
      for index in caches.indices {
        try caches[index].decode(view: 0, block: block, into: &batches[index])
      }
      // The same weights, applied to all positions at once or to each.
      #expect(batches[0].classIDs == batches[1].classIDs)
      #expect(batches[0].places == batches[1].places)
      let samples = caches[0].manifest.samples(of: BlockKey(view: 0, block: block))
      let labels = tokens.labels[samples.lowerBound * 5..<samples.upperBound * 5]
      #expect(batches[0].labels == labels.filter { $0 >= 0 })
    }
    _ = try verifyCache(path: several.making.cache)
    let report = try plan(PlanJob(several, heads: [3], sampleRecords: 10_000))
    #expect(report.sample.records == result.records && report.job.records == result.records)
  }

  @Test func `a plan that finds no record to count bytes on says so`() throws {
    let tokens = try Tokens(samples: 2, masked: [1])
    let job = try tokens.job("several", inputs: 15, positions: 5)
    let problem = #expect(throws: Problem.self) {
      try plan(PlanJob(job, heads: [3], sampleRecords: 10))
    }
    #expect(problem?.message.contains("take a larger --sample-rows") == true, "\(problem!)")
  }

  /// Only one of four samples has records: it is among the two that are learned from, or those that are counted.
  @Test func `a plan leaves out tails where what it learns from has no record`() throws {
    var (reports, problems) = (0, 0)
    for only in 0..<4 {
      let tokens = try Tokens(samples: 4, classes: 140, masked: Set(0..<4).subtracting([only]))
      let job = try tokens.job("several", inputs: 15, positions: 5, classes: 140)
      do {
        let report = try plan(PlanJob(job, heads: [10]))
        #expect(report.rows.map(\.tail) == ["ratios"])
        #expect(report.notes.count == 1 && report.text.contains("subspace tails are left out"))
        reports += 1
      } catch let problem as Problem {
        #expect(problem.message.contains("take a larger --sample-rows"), "\(problem)")
        problems += 1
      }
    }
    #expect(reports == 2 && problems == 2)
  }

  @Test func `a teacher that does not speak where labels are is refused`() throws {
    let tokens = try Tokens()
    let other = try tokens.job("three", inputs: 15, positions: 3)
    let problem = #expect(throws: Problem.self) { try precompute(other) }
    #expect(
      problem?.message.contains("speaks at 3 positions of a view, data set tokens has labels for 5")
        == true)
    let narrow = try tokens.job("narrow", inputs: 4, positions: 1)
    #expect(throws: Problem.self) { try precompute(narrow) }
    let workshop = try columns()
    var job = workshop.job(features: true)
    job.kept.k = 5
    let refused = #expect(throws: Problem.self) { try precompute(job) }
    #expect(refused?.message.contains("leave out --features") == true)
    #expect(!Files.exists(job.making.cache))
  }

  @Test func `records are compared at the same position`() throws {
    let workshop = try columns()
    var job = workshop.job("a")
    job.kept.k = 5
    try precompute(job)
    let a = try CacheReader(path: job.making.cache)
    let same = try json(CacheDiff(a, a), .diff)
    #expect(same["records"]?.integer == 2400 && same["topOneAgreement"]?.double == 1)
    #expect(same["unmatched"]?["a"]?.integer == 0)
    job.teacher = try workshop.writeTeacher(
      "other", network: "cnn-6-columns", classes: 12, seed: 8)
    job.making.cache = workshop.folder.file("b")
    try precompute(job)
    let diff = try CacheDiff(a, CacheReader(path: job.making.cache))
    #expect(diff.text.contains(", position "))
    _ = try json(diff, .diff)
    job.teacher = try workshop.writeTeacher("plain", network: "mlp-8", classes: 12, seed: 8)
    job.making.cache = workshop.folder.file("c")
    try precompute(job)
    let problem = #expect(throws: Problem.self) {
      _ = try CacheDiff(a, CacheReader(path: job.making.cache))
    }
    #expect(
      problem?.message.contains("4 with labels of the sample and one record per view") == true)
  }
}

/// Positions of ONNX models.
@Suite(.enabled(if: InstalledRuntime.isThere, "\(InstalledRuntime.absence)"))
struct ONNXPositionTests {
  private let samples = 20
  private let side = 8
  private let classes = 5
  private let blank = 2

  /// The logits of all rows of pixels [samples, side, classes], the plain way.
  private func rows(_ bench: ONNXBench) throws -> [[Float]] {
    let layer = ONNXModel.randomLayer(from: side, to: classes, 1, 4)
    let pixels = try bench.views(0..<samples).pixels
    return (0..<samples * side).map { row in
      (0..<classes).map { c in
        Float(
          (0..<side).reduce(Double(layer[1].values[c])) { sum, i in
            sum + Double(pixels[row * side + i]) / 255 * Double(layer[0].values[i * classes + c])
          })
      }
    }
  }

  private func precomputed(
    _ rule: String, classes: Int, isPositionFirst: Bool = false, ending: ONNXModel.Ending = .logits
  ) throws -> (ONNXBench, CacheReader) {
    let bench = try ONNXBench(samples: samples, classes: classes)
    try bench.describe(
      .rowClassifier(isPositionFirst: isPositionFirst, ending: ending),
      """
      output: {kind: \(ending == .logits ? "logits" : "log-probabilities"),
               layout: \(isPositionFirst ? "tnc" : "ntc"), position: {\(rule)}}
      batch: 7
      """)
    try precompute(bench.job())
    return (bench, try CacheReader(path: bench.job().making.cache))
  }

  private func order(_ row: [Float]) -> [Int32] {
    row.indices.sorted { (row[$1], $0) < (row[$0], $1) }.map { Int32($0) }
  }

  @Test(arguments: [false, true], [ONNXModel.Ending.logits, .logProbabilities])
  func `every position is recorded, with the blank or without it`(
    isPositionFirst: Bool, ending: ONNXModel.Ending
  ) throws {
    for removes in [false, true] {
      let (bench, cache) = try precomputed(
        "rule: every" + (removes ? ", blank: \(blank)" : ""), classes: removes ? 4 : 5,
        isPositionFirst: isPositionFirst, ending: ending)
      #expect(cache.manifest.encoding.positions == Positions(maximum: side, labels: .sample))
      let rows = try rows(bench)
      var batch = cache.makeBatch()
      try cache.decode(view: 0, block: 0, into: &batch)
      #expect(batch.count == samples * side)
      for (index, row) in rows.enumerated() {
        var row = row
        if removes { row.remove(at: blank) }
        #expect(
          Array(batch.classIDs[index * row.count..<(index + 1) * row.count]) == order(row))
      }
    }
  }

  @Test(arguments: [false, true])
  func `positions where blank is likeliest have no record`(keepsBlank: Bool) throws {
    let (bench, cache) = try precomputed(
      "rule: nonblank, blank: \(blank), keep-blank: \(keepsBlank)", classes: keepsBlank ? 5 : 4)
    let rows = try rows(bench)
    var batch = cache.makeBatch()
    try cache.decode(view: 0, block: 0, into: &batch)
    let places = try #require(batch.places)
    let counting = rows.indices.filter { order(rows[$0])[0] != Int32(blank) }
    #expect(counting.count > 20 && counting.count < rows.count - 20)
    #expect(
      (0..<places.rows).map { row in
        let place = places.place(ofRow: row)
        return place.sample * side + place.position
      } == counting)
    for (index, place) in counting.enumerated() {
      var row = rows[place]
      if !keepsBlank { row.remove(at: blank) }
      #expect(Array(batch.classIDs[index * row.count..<(index + 1) * row.count]) == order(row))
    }
    _ = try verifyCache(path: cache.path)
    let report = try Inspection(of: cache)
    #expect(report.records == counting.count)
    let empty = try #require(
      (0..<samples).min { places.rows(of: $0).count < places.rows(of: $1).count })
    let text = try describeRecord(of: cache, sample: empty, view: 0, augmenter: nil)
    #expect(text.contains("records at \(places.rows(of: empty).count) of \(side) positions"))
  }

  @Test func `teachers that speak at other positions are compared where both do`() throws {
    let (bench, a) = try precomputed("rule: nonblank, blank: \(blank)", classes: 4)
    var job = bench.job("other")
    try ONNXModel.rowClassifier(seed: 9).write(to: bench.folder, name: "other.onnx")
    job.teacher = try bench.folder.write(
      """
      {version: 1, kind: onnx, model: other.onnx,
       output: {kind: logits, layout: ntc, position: {rule: nonblank, blank: \(blank)}}, batch: 7}
      """, to: "other.yaml")
    try precompute(job)
    let b = try CacheReader(path: job.making.cache)
    let diff = try CacheDiff(a, b)
    let found = try #require(diff.unmatched)
    let (recordsA, recordsB) = (
      try verifyCache(path: a.path).records, try verifyCache(path: b.path).records
    )
    let value = try parseJSON(readableJSON(found).utf8, source: "unmatched")
    #expect(value["a"]?.integer == recordsA - diff.records)
    #expect(value["b"]?.integer == recordsB - diff.records)
    #expect(diff.records > 0 && diff.records < recordsA)
    #expect(diff.text.contains("at positions without the other"))
  }

  @Test(arguments: [
    ("rule: nonblank", "position"), ("rule: best", "position"),
    ("rule: every, keep-blank: true", "position"), ("rule: every, blank: 5", "blank is 5"),
  ])
  func `rules that say too little or too much are refused`(rule: String, text: String) throws {
    let problem = #expect(throws: Problem.self) { _ = try precomputed(rule, classes: 5) }
    #expect(problem?.message.contains(text) == true, "\(problem?.message ?? "")")
  }
}
