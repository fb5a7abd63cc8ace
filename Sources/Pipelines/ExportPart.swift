import Basics
import LogitCache
import Losses

/// The records to export: samples first, then views, then positions.
struct ExportPart {
  let samples: Range<Int>
  let views: Range<Int>
  /// Whether arrays have an axis of views: all views were asked for.
  let hasViewAxis: Bool
  /// How many records there are.
  let records: Int
  /// Whether views have records at several positions.
  var isRagged: Bool { manifest.encoding.positions != nil }
  private let manifest: Manifest

  /// - Throws: `Problem(.usage)` when the cache does not have them, or no record among them.
  init(of cache: CacheReader, view: Int?, samples: Range<Int>?) throws {
    manifest = cache.manifest
    let all = 0..<manifest.dataSet.samples
    self.samples = samples ?? all
    guard !self.samples.isEmpty, all.contains(self.samples) else {
      throw Problem(
        .usage,
        "\(cache.path) has the samples 0:\(all.upperBound); --samples "
          + "\(self.samples.lowerBound):\(self.samples.upperBound) is not a part of them")
    }
    views = view.map { $0..<$0 + 1 } ?? 0..<manifest.views
    hasViewAxis = view == nil
    guard views.lowerBound < manifest.views else {
      throw Problem(
        .usage,
        "\(cache.path) has \(counted(manifest.views, "view")), numbered from 0: there is no view "
          + "\(views.lowerBound)"
      )
    }
    records = try ExportPart.count(of: cache, self.samples, views)
    guard records > 0 else {
      throw Problem(.usage, "\(cache.path) has no record in these samples and views")
    }
  }

  /// The shape of an array with some numbers for every view.
  func viewShape(_ row: [Int] = []) -> [Int] {
    [samples.count] + (hasViewAxis ? [views.count] : []) + row
  }

  /// The shape of an array with some numbers for every record.
  func shape(_ row: [Int]) -> [Int] { isRagged ? [records] + row : viewShape(row) }

  /// How many records some samples have in some views: known from the index but for blocks that are cut.
  private static func count(
    of cache: CacheReader, _ samples: Range<Int>, _ views: Range<Int>
  ) throws -> Int {
    guard cache.manifest.encoding.positions != nil else { return samples.count * views.count }
    let blockRows = cache.manifest.encoding.blockRows
    var batch = cache.makeBatch()
    var records = 0
    for block in samples.lowerBound / blockRows...(samples.upperBound - 1) / blockRows {
      for view in views {
        let key = BlockKey(view: view, block: block)
        let all = cache.manifest.samples(of: key)
        if samples.contains(all), let info = try cache.blockInfo(key) {
          records += info.rows
          continue
        }
        try cache.decode(view: view, block: block, into: &batch)
        let part = all.clamped(to: samples)
        records +=
          batch.rows(of: part.lowerBound - all.lowerBound..<part.upperBound - all.lowerBound)
          .count
      }
    }
    return records
  }

  /// Visits all records: some samples of a block, and of those every view.
  ///
  /// - Parameters:
  ///   - recordBytes: what a visitor holds of a record: it holds 32 MiB at most, or one sample.
  ///   - coefficients: whether those of a subspace tail are wanted.
  ///   - ranking: whether the order of all classes is wanted.
  ///   - begin: gets the records of the strip.
  ///   - body: gets the decoded block of a view, and its records that are meant.
  ///   - end: called after all views of these samples.
  func forEachStrip(
    of cache: CacheReader, recordBytes: Int, coefficients: Bool, ranking: Bool,
    begin: (ExportStrip) -> Void,
    _ body: (TeacherBatch, [ExportRecord]) throws -> Void,
    end: (ExportStrip) throws -> Void
  ) throws {
    var progress = ProgressLine("export", unit: "sample", total: samples.count)
    defer { progress.clear() }
    let blockRows = manifest.encoding.blockRows
    let positions = manifest.encoding.positions?.maximum ?? 1
    let most = max(1, (32 << 20) / max(1, recordBytes * views.count * positions))
    var batch = cache.makeBatch(coefficients: coefficients, ranking: ranking)
    var first = samples.lowerBound
    var before = 0
    var (countedBlock, counts) = (-1, [Int32]())
    while first < samples.upperBound {
      let block = first / blockRows
      let next = min(first + most, (block + 1) * blockRows, samples.upperBound)
      if isRagged, block != countedBlock {
        (countedBlock, counts) = (block, try self.counts(of: cache, block: block))
      }
      let start = first - block * blockRows
      let strip = ExportStrip(
        samples: first..<next,
        counts: isRagged
          ? Array(counts[start * views.count..<(start + next - first) * views.count])
          : [Int32](repeating: 1, count: (next - first) * views.count),
        firstRecord: before, place: first - samples.lowerBound)
      begin(strip)
      for (index, view) in views.enumerated() {
        if Interruption.isRequested {
          throw Problem(
            .interrupted,
            "interrupted after \(first - samples.lowerBound) of \(counted(samples.count, "sample")); no file was "
              + "written")
        }
        try cache.decode(view: view, block: block, into: &batch)
        try body(
          batch, strip.records(of: batch, index, view: view, firstOfBlock: block * blockRows))
      }
      try end(strip)
      first = next
      before = strip.records.upperBound
      progress.update(done: first - samples.lowerBound)
    }
  }

  /// How many records each view of each sample of a block has [samples, views], which needs the block decoded once
  /// more.
  private func counts(of cache: CacheReader, block: Int) throws -> [Int32] {
    let count = manifest.samples(of: BlockKey(view: 0, block: block)).count
    var counts = [Int32](repeating: 0, count: count * views.count)
    var batch = cache.makeBatch()
    for (index, view) in views.enumerated() {
      try cache.decode(view: view, block: block, into: &batch)
      for place in 0..<count {
        counts[place * views.count + index] = Int32(batch.rows(of: place..<place + 1).count)
      }
    }
    return counts
  }
}

/// A record of a decoded block, and where it goes.
struct ExportRecord {
  /// Its row of the block.
  var row: Int
  /// Its place among the strip's records.
  var place: Int
  var sample: Int
  var view: Int
  /// 0 where a view has one record.
  var position: Int
}

/// Some samples whose records are written together.
struct ExportStrip {
  let samples: Range<Int>
  /// How many samples are exported before.
  let place: Int
  /// Where its records lie among all exported ones.
  let records: Range<Int>
  /// How many records each view of a sample has [samples, views].
  let counts: [Int32]
  /// The first of them, counted from the strip's first.
  private let starts: [Int]
  private let views: Int

  init(samples: Range<Int>, counts: [Int32], firstRecord: Int, place: Int) {
    (self.samples, self.counts, self.place) = (samples, counts, place)
    views = counts.count / samples.count
    var total = 0
    starts = counts.map { count in
      defer { total += Int(count) }
      return total
    }
    records = firstRecord..<firstRecord + total
  }

  /// The strip's records of a view.
  ///
  /// - Parameters:
  ///   - index: the view's place among the exported ones.
  ///   - firstOfBlock: the block's first sample.
  func records(
    of batch: TeacherBatch, _ index: Int, view: Int, firstOfBlock: Int
  ) -> [ExportRecord] {
    var records: [ExportRecord] = []
    for (place, sample) in samples.enumerated() {
      let start = starts[place * views + index]
      let rows = batch.rows(of: sample - firstOfBlock..<sample - firstOfBlock + 1)
      for row in rows {
        records.append(
          ExportRecord(
            row: row, place: start + row - rows.lowerBound, sample: sample, view: view,
            position: batch.places.map { Int($0.positions[row]) } ?? 0))
      }
    }
    return records
  }
}

extension TeacherBatch {
  /// The rows of some samples of the decoded block.
  fileprivate func rows(of samples: Range<Int>) -> Range<Int> {
    guard let places else { return samples }
    return Int(places.starts[samples.lowerBound])..<Int(places.starts[samples.upperBound])
  }
}

extension Range<Int> {
  fileprivate func contains(_ other: Range<Int>) -> Bool {
    lowerBound <= other.lowerBound && other.upperBound <= upperBound
  }
}
