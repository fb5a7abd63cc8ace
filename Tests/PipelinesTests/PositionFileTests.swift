import Arrays
import Basics
import DataSets
import Foundation
import LogitCache
import Losses
import Pipelines
import TestSupport
import Testing

/// Rows at several positions of a view, imported and exported.
@Suite struct PositionFileTests {
  @Test(arguments: UInt64(1)...8)
  func `rows of every position are recorded, and exported to within half a step`(seed: UInt64)
    throws
  {
    let files = PositionFiles(seed: seed)
    let report = try importRows(files.job("cache"))
    #expect(report.made.records == files.samples * files.views * files.positions, "seed \(seed)")
    let cache = try files.open("cache")
    #expect(
      cache.manifest.encoding.positions == Positions(maximum: files.positions, labels: .sample))
    #expect(try verifyCache(path: cache.path).cacheDigest == report.made.cacheDigest)
    let rows = try #require(try files.export("cache", to: "out.npy", .npy)["logits"])
    #expect(rows.shape == [report.made.records, files.classes])
    for (one, two) in zip(rows.floats, files.rows) {
      #expect(abs(one - two) <= 1 / 32 + 1e-5, "seed \(seed)")
    }
    // Views first are the same rows.
    let perView = files.positions * files.classes
    var turned: [Float] = []
    for view in 0..<files.views {
      for sample in 0..<files.samples {
        let start = (sample * files.views + view) * perView
        turned += files.rows[start..<start + perView]
      }
    }
    var job = try files.job(
      "turned",
      files.write(
        "turned.npy", [files.views, files.samples, files.positions, files.classes],
        .float32(turned)))
    job.viewsFirst = true
    try importRows(job)
    #expect(try files.open("turned").columnsDigest() == cache.columnsDigest(), "seed \(seed)")
  }

  @Test(arguments: UInt64(1)...12, [false, true])
  func `rows at some positions are recorded there, and exported to an equal cache`(
    seed: UInt64, hasPositionLabels: Bool
  ) throws {
    let files = PositionFiles(seed: seed, hasPositionLabels: hasPositionLabels)
    guard files.records > 0 else { return }
    #expect(try importRows(files.packedJob("cache")).made.records == files.records)
    let cache = try files.open("cache")
    #expect(cache.manifest.encoding.positions?.maximum == files.positions)
    #expect(try cache.labels == files.labels, "seed \(seed)")
    var batch = cache.makeBatch()
    for key in cache.manifest.blockKeys {
      try cache.decode(view: key.view, block: key.block, into: &batch)
      let places = try #require(batch.places)
      for (index, sample) in cache.manifest.samples(of: key).enumerated() {
        let expected = files.places[sample * files.views + key.view]
        #expect(places.positions[places.rows(of: index)].map { Int($0) } == expected)
      }
    }
    let full = try files.export("cache", to: "full.safetensors", .fullRows)
    for (one, two) in zip(full["logits"]!.floats, files.packed) {
      #expect(abs(one - two) <= 1 / 32 + 1e-5, "seed \(seed)")
    }
    let counts = files.places.map { Int32($0.count) }
    #expect(
      full["counts"] == NamedArray(shape: [files.samples, files.views], values: .int32(counts)))
    #expect(full["record-positions"]!.integers == files.places.joined().map { Int32($0) })
    let owners = files.places.indices.flatMap {
      Array(repeating: $0, count: files.places[$0].count)
    }
    #expect(full["record-samples"]?.values == .int64(owners.map { Int64($0 / files.views) }))
    #expect(full["record-views"]!.integers == owners.map { Int32($0 % files.views) })
    #expect(full["labels"]!.integers == files.labels)
    let again = try importRows(files.exportedJob("again", "full.safetensors", full: true))
    #expect(again.made.records == files.records)
    #expect(try files.export("again", to: "again.safetensors", .fullRows) == full, "seed \(seed)")
  }

  @Test(arguments: UInt64(1)...12, [false, true])
  func `exported records are imported to the same ids, levels, labels and places`(
    seed: UInt64, hasPositionLabels: Bool
  ) throws {
    let files = PositionFiles(seed: seed, hasPositionLabels: hasPositionLabels)
    guard files.records > 0 else { return }
    let k = max(1, files.classes / 3)
    try importRows(files.packedJob("cache", k: k))
    let records = try files.export("cache", to: "records.safetensors", .safetensors)
    let report = try importRows(
      files.exportedJob("sparse", "records.safetensors", full: false, k: k))
    #expect(report.input.isBound && report.made.records == files.records)
    #expect(try verifyCache(path: files.folder.file("sparse")).records == files.records)
    let again = try files.export("sparse", to: "again.safetensors", .safetensors)
    for name in [
      "ids", "logits", "labels", "label-logits", "label-ranks", "samples", "views", "counts",
      "record-samples", "record-views", "record-positions",
    ] { #expect(again[name] == records[name], "seed \(seed), \(name)") }
  }

  @Test func `lengths of an axis of positions are the rows one after the other`() throws {
    let files = PositionFiles(
      samples: 700, views: 2, positions: 5, classes: 6, hasPositionLabels: false, seed: 3)
    let lengths = (0..<1400).map { $0 * 7 % 6 }
    let counts = try files.write("counts.npy", [700, 2], .uint8(lengths.map { UInt8($0) }))
    try importRows(files.job("padded", nil, .init(counts: counts)))
    let rows = lengths.indices.flatMap { view in (0..<lengths[view]).flatMap { files.row(view, $0) }
    }
    let packed = try files.write("first.npy", [rows.count / 6, 6], .float32(rows))
    try importRows(files.job("packed", packed, .init(counts: counts, maximum: 5)))
    #expect(try files.open("padded").columnsDigest() == files.open("packed").columnsDigest())
    // As many positions as occur; threads and shards change nothing.
    let whole = try importRows(files.job("found", packed, .init(counts: counts), k: 4))
    #expect(try files.open("found").manifest.encoding.positions?.maximum == 5)
    var job = try files.job("parts", packed, .init(counts: counts), k: 4)
    job.making.threads = 2
    #expect(try importRows(job).made.cacheDigest == whole.made.cacheDigest)
    let paths = try (1...2).map { index in
      job.making.cache = files.folder.file("part-\(index)")
      job.making.shard = Shard(index, of: 2)
      try importRows(job)
      return job.making.cache
    }
    let merged = try mergeCaches(paths, into: files.folder.file("merged"))
    #expect(merged.cacheDigest == whole.made.cacheDigest)
    // One view's counts may go without an axis of views.
    let one = try files.job(
      "one", files.write("one.npy", [700, 5, 6], .float32(Array(files.rows.prefix(700 * 30)))),
      .init(counts: files.write("ones.npy", [700], .int32(Array(repeating: 2, count: 700)))))
    #expect(try importRows(one).made.records == 1400)
  }

  @Test func `samples and views are exported as a part of the whole`() throws {
    let files = PositionFiles(
      samples: 1500, views: 2, positions: 3, classes: 4, hasPositionLabels: false, seed: 5)
    try importRows(files.packedJob("cache"))
    let whole = try files.export("cache", to: "whole.safetensors", .safetensors)
    let part = try files.export("cache", to: "part.safetensors", .safetensors) {
      ($0.view, $0.samples) = (1, 600..<1450)
    }
    let chosen = (600..<1450).map { $0 * 2 + 1 }
    let counts = chosen.map { Int32(files.places[$0].count) }
    #expect(part["counts"] == NamedArray(shape: [850], values: .int32(counts)))
    #expect(part["labels"]!.integers == Array(files.labels[600..<1450]))
    var starts = [0]
    for places in files.places { starts.append(starts.last! + places.count) }
    let records = chosen.flatMap { Array(starts[$0]..<starts[$0 + 1]) }
    #expect(
      part["ids"]!.integers == records.flatMap { whole["ids"]!.integers[$0 * 4..<$0 * 4 + 4] })
    #expect(part["label-ranks"]!.integers == records.map { whole["label-ranks"]!.integers[$0] })
    let empty = try #require(files.places.indices.first { $0 % 2 == 0 && files.places[$0].isEmpty })
    let problem = #expect(throws: Problem.self) {
      try files.export("cache", to: "none.npy", .npy) {
        ($0.view, $0.samples) = (0, empty / 2..<empty / 2 + 1)
      }
    }
    #expect(problem?.message.contains("has no record in these samples and views") == true)
  }

  @Test func `lines of JSON say at which position a record is`() throws {
    let files = PositionFiles(
      samples: 40, views: 2, positions: 3, classes: 4, hasPositionLabels: true, seed: 6)
    try importRows(files.packedJob("cache", k: 2))
    try files.export("cache", to: "out.jsonl", .jsonl)
    let text = String(decoding: try Files.read(files.folder.file("out.jsonl")), as: UTF8.self)
    let lines = try text.split(separator: "\n").map { try parseJSON($0.utf8, source: "a line") }
    let expected = files.places.indices.flatMap { view in
      files.places[view].map { [view / 2, view % 2, $0, Int(files.labels[view / 2 * 3 + $0])] }
    }
    #expect(
      lines.map { line in
        ["sample", "view", "position", "label"].map { line[$0]?.integer ?? -1 }
      } == expected)
    for line in text.split(separator: "\n") {
      let places = ["\"logits\"", "\"position\"", "\"sample\""].map {
        line.range(of: $0)!.lowerBound
      }
      #expect(places == places.sorted())
    }
  }

  @Test func `only labelled positions of all rows are recorded`() throws {
    let files = PositionFiles(
      samples: 60, views: 2, positions: 4, classes: 5, hasPositionLabels: true, seed: 7)
    let report = try importRows(files.job("dense"))
    #expect(report.made.records == files.records)
    try importRows(files.packedJob("packed"))
    #expect(try files.open("dense").columnsDigest() == files.open("packed").columnsDigest())
  }

  @Test(arguments: [false, true])
  func `rows imported with their data set train as those of the teacher`(asRecords: Bool) throws {
    let workshop = try Workshop(samples: 300, classes: 12)
    try workshop.writeTeacher(network: "cnn-6-columns", classes: 12, seed: 7)
    var made = workshop.job()
    made.kept.k = 12
    try precompute(made)
    let files = PositionFiles(
      samples: 300, views: 2, positions: 4, classes: 12, hasPositionLabels: false, seed: 1)
    var export = ExportJob(
      cache: made.making.cache, out: files.folder.file("rows.safetensors"),
      format: asRecords ? .safetensors : .fullRows)
    export.replaces = true
    try exportRecords(export)
    var job = try files.exportedJob("imported", "rows.safetensors", full: !asRecords, k: 12)
    job.labels = nil
    job.views = .init(data: workshop.data, recipe: workshop.recipe, seed: 1)
    try importRows(job)
    let (imported, original) = (
      try files.open("imported"), try CacheReader(path: made.making.cache)
    )
    if asRecords {
      #expect(try imported.columnsDigest() == original.columnsDigest())
    } else {
      // Equal logits are ordered by class, whatever they were before they were rounded.
      let rows = try Safetensors.read(files.folder.file("rows.safetensors")).arrays
      #expect(try files.export("imported", to: "again.safetensors", .fullRows) == rows)
    }
    for key in imported.manifest.blockKeys {
      #expect(try imported.blockInfo(key)?.viewDigest == original.blockInfo(key)?.viewDigest)
    }
    let plan = try workshop.plan(
      "kd@2", epochs: 1, model: "cnn-4-columns", "cache: \(imported.path)")
    try train(plan, workshop.options("out", check: .all))
  }
}
