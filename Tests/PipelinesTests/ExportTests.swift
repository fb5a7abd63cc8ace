import Arrays
import Basics
import Foundation
import LogitCache
import Losses
import Pipelines
import TestSupport
import Testing

@Suite struct ExportTests {
  /// Records of the first k of a few classes, two views of samples in more than one block.
  private func imported(_ kept: KeptRecord, samples: Int = 2100) throws -> RowFiles {
    let files = RowFiles(samples: samples, views: 2, classes: 6, seed: 11)
    var job = try files.job("cache", files.writeRows())
    job.kept = kept
    try importRows(job)
    return files
  }

  @Test func `a part is the same part of the whole`() throws {
    let files = try imported(KeptRecord(k: 3))
    let whole = try files.export("cache", to: "whole.safetensors", .safetensors)
    let part = try files.export("cache", to: "part.safetensors", .safetensors) {
      ($0.view, $0.samples) = (1, 2000..<2090)
    }
    #expect(part["ids"]?.shape == [90, 3] && whole["ids"]?.shape == [2100, 2, 3])
    for (row, sample) in (2000..<2090).enumerated() {
      let record = sample * 2 + 1
      #expect(
        part["ids"]!.integers[row * 3..<row * 3 + 3]
          == whole["ids"]!.integers[record * 3..<record * 3 + 3])
      #expect(
        part["logits"]!.floats[row * 3..<row * 3 + 3]
          == whole["logits"]!.floats[record * 3..<record * 3 + 3])
      #expect(part["label-ranks"]!.integers[row] == whole["label-ranks"]!.integers[record])
      #expect(part["labels"]!.integers[row] == files.labels[sample])
    }
    #expect(part["samples"]?.values == .int64((2000..<2090).map { Int64($0) }))
    #expect(part["views"]?.values == .int32([1]))
  }

  @Test func `a tail without mass is spread all the same`() throws {
    let files = RowFiles(samples: 1, views: 1, classes: 100, seed: 1)
    // One class has it all; the label is behind the head.
    let rows = try files.writeRows { values in
      values = [Float](repeating: 0, count: 100)
      values[files.labels[0] == 7 ? 8 : 7] = 1000
    }
    var job = try files.job("cache", rows)
    job.kept = KeptRecord(k: 1)
    try importRows(job)
    let logits = try #require(
      try files.export("cache", to: "out.npy", .npy) { $0.fillsEvenly = true }["logits"])
    for (index, value) in logits.floats.enumerated() {
      #expect(value.isFinite && (value == 1000) == (index == (files.labels[0] == 7 ? 8 : 7)))
    }
  }

  @Test func `arrays are what a reader decodes`() throws {
    let files = try imported(KeptRecord(k: 3, ranking: .full))
    let arrays = try files.export("cache", to: "out.safetensors", .safetensors)
    let cache = try CacheReader(path: files.folder.file("cache"))
    var batch = cache.makeBatch(ranking: true)
    for key in cache.manifest.blockKeys {
      try cache.decode(view: key.view, block: key.block, into: &batch)
      for (row, sample) in cache.manifest.samples(of: key).enumerated() {
        let record = sample * 2 + key.view
        for rank in 0..<3 {
          #expect(arrays["ids"]!.integers[record * 3 + rank] == batch.classIDs[row * 3 + rank])
          #expect(
            arrays["logits"]!.floats[record * 3 + rank]
              == batch.largestLogits[row] - batch.gaps[row * 3 + rank])
          #expect(
            arrays["log-tail-ratios"]!.floats[record * 3 + rank]
              == batch.logTailRatios[row * 3 + rank])
        }
        #expect(
          arrays["ranking"]!.integers[record * 6..<record * 6 + 6]
            == batch.ranking[row * 6..<row * 6 + 6])
        let exact = log(files.row(sample, key.view).reduce(0) { $0 + exp(Double($1)) })
        guard case .float64(let sums)? = arrays["log-sum-exp"]?.values else {
          Issue.record("no log-sum-exp")
          return
        }
        #expect(abs(sums[record] - exact) < 1 / 20)
      }
    }
  }

  @Test func `full rows come from a subspace tail, to within its error`() throws {
    var kept = KeptRecord(k: 2)
    kept.tail = SubspaceTail(step: 0.25)
    let files = try imported(kept)
    let rows = try files.export("cache", to: "out.npy", .npy)["logits"]!.floats
    let distance = zip(rows, files.rows).reduce(0) { $0 + pow($1.0 - $1.1, 2) }
    #expect((distance / Float(4200 * 6)).squareRoot() < 0.15)
    let tensors = try files.export("cache", to: "out.safetensors", .fullRows)
    #expect(tensors["logits"]!.floats == rows && tensors["labels"]!.integers == files.labels)
  }

  @Test func `classes that are not kept are refused, or share their mass evenly`() throws {
    let files = try imported(KeptRecord(k: 2), samples: 300)
    let problem = #expect(throws: Problem.self) {
      try files.export("cache", to: "out.npy", .npy)
    }
    #expect(problem?.kind == .usage && problem!.message.contains("keeps 2 of 6 logits"))
    #expect(!Files.exists(files.folder.file("out.npy")))
    let rows = try files.export("cache", to: "out.npy", .npy) { $0.fillsEvenly = true }["logits"]!
    for record in 0..<600 {
      let found = rows.floats[record * 6..<record * 6 + 6].map { Double($0) }
      let exact = files.row(record / 2, record % 2).map { Double($0) }
      let label = Int(files.labels[record / 2])
      let order = exact.indices.sorted { exact[$0] > exact[$1] }
      for id in order.prefix(2) + [label] { #expect(abs(found[id] - exact[id]) <= 1 / 32 + 1e-5) }
      let others = Set(found.indices.filter { !order.prefix(2).contains($0) && $0 != label })
      #expect(Set(others.map { found[$0] }).count == 1)
      // No class is better than the head, and the mass is that of the row where the label leaves some.
      #expect(found.max() == found[order[0]] || found[order[0]] == found[order[1]])
      let sums = [found, exact].map { row in
        others.reduce(0) { $0 + exp(row[$1] - exact[order[0]]) }
      }
      #expect(sums[0] < sums[1] * 1.1 + 0.05 && sums[0] > sums[1] * 0.9 - 0.05, "\(record)")
    }
  }

  @Test func `lines of JSON hold the numbers of the arrays, in order, the same every time`() throws
  {
    let files = try imported(KeptRecord(k: 3, ranking: .full))
    let arrays = try files.export("cache", to: "out.safetensors", .safetensors)
    try files.export("cache", to: "out.jsonl", .jsonl)
    try files.export("cache", to: "again.jsonl", .jsonl)
    let bytes = try Files.read(files.folder.file("out.jsonl"))
    #expect(try Files.read(files.folder.file("again.jsonl")) == bytes)
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    #expect(lines.count == 4200)
    for record in [0, 1, 2, 4095, 4096, 4199] {
      let value = try parseJSON(lines[record].utf8, source: "line \(record)")
      #expect(value["sample"]?.integer == record / 2 && value["view"]?.integer == record % 2)
      #expect(value["label"]?.integer == Int(files.labels[record / 2]))
      let ids = value["ids"]?.array?.compactMap(\.integer).map { Int32($0) }
      #expect(ids == Array(arrays["ids"]!.integers[record * 3..<record * 3 + 3]))
      let logits = value["logits"]?.array?.compactMap(\.double).map { Float($0) }
      #expect(logits == Array(arrays["logits"]!.floats[record * 3..<record * 3 + 3]))
      #expect(value["logTailRatios"]?.object?.keys.sorted() == ["1", "2", "4"])
      #expect(
        value["logTailRatios"]?["4"]?.double.map { Float($0) }
          == arrays["log-tail-ratios"]!.floats[record * 3 + 2])
      #expect(value["ranking"]?.array?.count == 6)
      let names = value.object!.keys.sorted()
      let places = names.map { lines[record].range(of: "\"\($0)\":")!.lowerBound }
      #expect(places == places.sorted())
    }
  }

  @Test func `what cannot be exported is refused, and an existing file stays`() throws {
    let files = try imported(KeptRecord(k: 2), samples: 30)
    for (view, samples, text) in [
      (2, nil, "there is no view 2"), (nil, 29..<31, "--samples 29:31"),
      (nil, 30..<31, "--samples 30:31"),
    ] as [(Int?, Range<Int>?, String)] {
      let problem = #expect(throws: Problem.self) {
        try files.export("cache", to: "x.jsonl", .jsonl) { ($0.view, $0.samples) = (view, samples) }
      }
      #expect(problem?.kind == .usage && problem!.message.contains(text), "\(problem!)")
    }
    let path = try files.folder.write("mine", to: "there.jsonl")
    let there = #expect(throws: Problem.self) {
      try files.export("cache", to: "there.jsonl", .jsonl)
    }
    #expect(there?.kind == .cannotCreate && there!.message.contains("--force"))
    #expect(try Files.read(path) == Array("mine\n".utf8))
    try files.export("cache", to: "there.jsonl", .jsonl) { $0.replaces = true }
    #expect(try Files.read(path).count > 1000)
  }

  @Test func `an unfinished cache is exported only when that was asked for, and what it holds`()
    throws
  {
    let files = try imported(KeptRecord(k: 2))
    var job = try files.job("shard", files.folder.file("rows.npy"), k: 2)
    job.making.shard = Shard(1, of: 2)
    try importRows(job)
    let problem = #expect(throws: Problem.self) {
      try files.export("shard", to: "s.jsonl", .jsonl)
    }
    #expect(problem?.kind == .corrupt && problem!.message.contains("--unfinished"))
    let held = try files.export("shard", to: "s.safetensors", .safetensors) {
      ($0.allowsUnfinished, $0.view) = (true, 0)
    }
    #expect(held["ids"]?.shape == [2100, 2])
    let missing = #expect(throws: Problem.self) {
      try files.export("shard", to: "all.safetensors", .safetensors) { $0.allowsUnfinished = true }
    }
    #expect(missing?.kind == .noInput && !Files.exists(files.folder.file("all.safetensors")))
    #expect(!Files.exists(files.folder.file("all.safetensors.part")))
  }
}
