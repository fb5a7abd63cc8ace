import Basics
import LogitCache
import Losses
import TestSupport
import Testing

@Suite struct RecordReaderTests {
  @Test(arguments: 1...12 as ClosedRange<UInt64>)
  func `a record read alone is the one that its block holds`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let classes = Int.random(in: 2...12, using: &generator)
    let job = Job(
      classes: classes, k: Int.random(in: 1...classes, using: &generator),
      samples: Int.random(in: 1...60, using: &generator),
      views: Int.random(in: 1...3, using: &generator),
      blockRows: Int.random(in: 1...20, using: &generator), seed: seed,
      featureWidth: seed.isMultiple(of: 2) ? 3 : nil)
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let cache = try CacheReader(path: folder.path)
    var reader = RecordReader(cache, blocks: Int.random(in: 1...4, using: &generator))
    var (batch, block) = (cache.makeBatch(), cache.makeBatch())
    batch.resize(to: 3)
    for _ in 0..<200 {
      let sample = Int.random(in: 0..<job.manifest.dataSet.samples, using: &generator)
      let view = Int.random(in: 0..<job.manifest.views, using: &generator)
      let row = Int.random(in: 0..<3, using: &generator)
      try reader.read(sample: sample, view: view, into: &batch, row: row)
      let blockRows = job.manifest.encoding.blockRows
      try cache.decode(view: view, block: sample / blockRows, into: &block)
      #expect(
        numbers(row, of: batch) == numbers(sample % blockRows, of: block),
        "seed \(seed): sample \(sample), view \(view)")
    }
  }

  @Test func `the blocks read last stay decoded`() throws {
    let job = Job(classes: 3, k: 2, samples: 32, views: 1, blockRows: 8)
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let cache = try CacheReader(path: folder.path)
    var reader = RecordReader(cache, blocks: 2)
    var batch = cache.makeBatch()
    batch.resize(to: 1)
    // Blocks 0, 1, 0, then 2 in place of 1, 0 again, then 1 in place of 2.
    let decoded = try [0, 8, 7, 16, 1, 15].map { sample in
      try reader.read(sample: sample, view: 0, into: &batch, row: 0)
      return reader.decodedBlocks
    }
    #expect(decoded == [1, 2, 2, 3, 3, 4])
  }

  @Test(arguments: [(-1, 0), (30, 0), (0, -1), (0, 2), (Int.max, Int.max)])
  func `a sample or view that is not there is refused`(sample: Int, view: Int) throws {
    let job = Job(classes: 3, k: 2, samples: 30, views: 2)
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let cache = try CacheReader(path: folder.path)
    var reader = RecordReader(cache)
    var batch = cache.makeBatch()
    batch.resize(to: 1)
    let found = problem { try reader.read(sample: sample, view: view, into: &batch, row: 0) }
    #expect(found.kind == .usage)
    #expect(found.message.contains("30 samples and 2 views"))
  }

  @Test func `a block that is missing is reported every time, the others are read`() throws {
    let job = Job(classes: 3, k: 2, samples: 24, views: 1, blockRows: 8)
    let folder = ScratchFolder()
    let blocks = try job.encodeAll()
    try CacheWriter(path: folder.path, manifest: job.manifest, labels: job.labels)
      .append([blocks[0], blocks[2]])
    let cache = try CacheReader(path: folder.path)
    var reader = RecordReader(cache, blocks: 1)
    var batch = cache.makeBatch()
    batch.resize(to: 1)
    for _ in 0..<2 {
      try reader.read(sample: 3, view: 0, into: &batch, row: 0)
      for _ in 0..<2 {
        let found = problem { try reader.read(sample: 9, view: 0, into: &batch, row: 0) }
        #expect(found.kind == .noInput)
        #expect(found.message.contains("view 0, block 1"))
      }
      try reader.read(sample: 20, view: 0, into: &batch, row: 0)
    }
    #expect(reader.decodedBlocks == 4)
  }
}

/// All numbers of a record.
private func numbers(_ row: Int, of batch: TeacherBatch) -> [Float] {
  let head = row * batch.k..<(row + 1) * batch.k
  let temperatures = batch.tailTemperatures.count
  var numbers = batch.classIDs[head].map { Float($0) }
  numbers += batch.gaps[head]
  numbers += [batch.largestLogits[row], batch.labelGaps[row]]
  numbers += [Float(batch.labels[row]), Float(batch.labelRanks[row])]
  numbers += batch.logTailRatios[row * temperatures..<(row + 1) * temperatures]
  if batch.hasFeatureNorms { numbers.append(batch.featureNorms[row]) }
  return numbers
}
