import Basics
import LogitCache

/// What `precompute` was asked to do.
public struct PrecomputeJob: Sendable {
  /// The data set: a preset or a data set file.
  public var data: String
  /// The teacher's configuration file.
  public var teacher: String
  /// Where ONNX Runtime's library is, a file or a folder, for a teacher that needs it; `nil` for
  /// what the environment or the teacher's configuration says.
  public var onnxRuntime: String?
  /// The recipe file; `nil` for samples as they are.
  public var recipe: String?
  /// Views of every sample.
  public var views: Int
  /// The seed of the views.
  public var seed: UInt64
  /// Keep the norm of the teacher's features and their class means.
  public var features: Bool
  /// What is kept of a row.
  public var kept: KeptRecord
  /// How the cache is made.
  public var making: CacheMaking

  /// All settings.
  public init(
    data: String, teacher: String, onnxRuntime: String? = nil, recipe: String?, views: Int,
    seed: UInt64, features: Bool = false, kept: KeptRecord = KeptRecord(), making: CacheMaking
  ) {
    self.data = data
    self.teacher = teacher
    self.onnxRuntime = onnxRuntime
    self.recipe = recipe
    self.views = views
    self.seed = seed
    self.features = features
    self.kept = kept
    self.making = making
  }
}

/// What `precompute` did.
public struct PrecomputeResult: Codable, Sendable {
  /// The identity of the content; `nil` for a shard, which is not sealed.
  public var cacheDigest: Digest?
  /// The part of the work that was done; `nil` for all of it.
  public var shard: Shard?
  /// Blocks of the cache, or of the shard.
  public var blocks: Int
  /// Records in these blocks.
  public var records: Int
  /// Records that this call made; the others were there.
  public var newRecords: Int
  /// Wall time of this call.
  public var seconds: Double
}

/// Runs the teacher over every view that the cache does not hold yet, then seals the cache.
///
/// A shard makes its own blocks only, byte for byte those of the whole, and is not sealed: `mergeCaches` joins
/// the shards.
/// - Throws: `Problem`: wrong input, a cache of other settings (untouched), a teacher that gives NaN, a
///   full disk, or interruption; everything committed so far stays.
@discardableResult
public func precompute(_ job: PrecomputeJob) throws -> PrecomputeResult {
  let clock = ContinuousClock()
  let start = clock.now
  return try makeCache(BlockWork(job), job.making, since: start)
}

/// Makes the blocks that a cache, or a shard of it, does not hold yet, and seals a whole one.
///
/// - Parameters:
///   - start: when the call began.
///   - finish: called before the seal; what it throws leaves the cache unsealed.
func makeCache(
  _ work: BlockWork, _ making: CacheMaking, since start: ContinuousClock.Instant,
  finish: () throws -> Void = {}
) throws -> PrecomputeResult {
  var work = work
  let clock = ContinuousClock()
  let owned = making.shard?.blocks(of: work.manifest) ?? 0..<work.manifest.blockCount
  let (crew, writer) = try begin(&work, making, owned)
  defer { crew.cancel() }
  let views = work.manifest.viewedSamples(in: BlockRuns(owned))
  if !crew.writing.isEmpty { try writeBlocks(crew, of: views, work, writer, making) }
  try finish()
  let learned = work.measuresAgain ? [] : crew.learning
  let made = crew.writing + learned.filter { owned.contains(work.manifest.position(of: $0)) }
  let records = try writer.records(in: BlockRuns(owned))
  let newRecords = try writer.records(
    in: made.reduce(into: BlockRuns()) { $0.insert(work.manifest.position(of: $1)) })
  return PrecomputeResult(
    cacheDigest: making.shard == nil ? try writer.seal() : nil, shard: making.shard,
    blocks: owned.count, records: records, newRecords: newRecords,
    seconds: (clock.now - start).inSeconds)
}

/// Starts the crew, and opens the cache once what it learns is known.
private func begin(
  _ work: inout BlockWork, _ making: CacheMaking, _ owned: Range<Int>
) throws -> (BlockCrew, CacheWriter) {
  if let known = try knownCalibration(work, making) {
    work.learned(known)
    let writer = try work.openWriter(making)
    let crew = BlockCrew(
      learning: [], writing: writer.missingBlocks(in: owned), threads: making.threads)
    crew.calibrated.settle(work.calibrated)
    work.start(crew)
    return (crew, writer)
  }
  let crew = work.newCrew(owned, threads: making.threads)
  work.start(crew)
  do {
    let measured = try calibrate(&work, crew)
    let writer = try work.openWriter(making)
    crew.calibrated.settle(work.calibrated)
    let encoder = try BlockEncoder(manifest: work.manifest, calibration: work.calibration)
    try writer.append(
      measured.filter { owned.contains(work.manifest.position(of: $0.key)) }
        .map { try encoder.pack($0) })
    return (crew, writer)
  } catch {
    crew.cancel()
    throw error
  }
}

/// What the cache that the job names, or an earlier run, learned.
private func knownCalibration(_ work: BlockWork, _ making: CacheMaking) throws -> Calibration? {
  if let other = making.calibration {
    return try CacheReader(path: other).calibration(for: work.manifest)
  }
  return try CacheWriter.storedCalibration(path: making.cache, manifest: work.manifest)
}

/// Learns from the calibration blocks of the whole job, so that all shards learn the same, each by itself.
///
/// Workers do not wait for it: they go on to the teacher's work on the next blocks.
/// - Returns: those blocks, measured but not yet written; none when they must be made again, because
///   coefficients need the axes that were learned from them.
private func calibrate(_ work: inout BlockWork, _ crew: BlockCrew) throws -> [MeasuredBlock] {
  let keys = crew.learning
  var progress = ProgressLine("calibrate", unit: "block", total: keys.count)
  defer { progress.clear() }
  var measured: [MeasuredBlock] = []
  func interruption() -> Problem {
    Interruption.problem(
      after: "\(measured.count) of \(counted(keys.count, "calibration block"))")
  }
  for _ in keys {
    if Interruption.isRequested { throw interruption() }
    do {
      measured.append(try crew.measured.next())
    } catch let problem as Problem where problem.kind == .interrupted {
      throw interruption()  // a worker was waited for
    }
    progress.update(done: measured.count)
  }
  work.learned(try Calibration.learn(measured, work.manifest))
  return work.measuresAgain ? [] : measured
}

/// Writes finished blocks, of `total` views of samples, in key order and commits every few seconds, while the crew makes the next.
private func writeBlocks(
  _ crew: BlockCrew, of total: Int, _ work: BlockWork, _ writer: CacheWriter,
  _ making: CacheMaking
) throws {
  let keys = crew.writing
  let clock = ContinuousClock()
  var done = total - keys.reduce(0) { $0 + work.manifest.samples(of: $1).count }
  // How many records views have is not known before they are made.
  let unit = work.manifest.encoding.positions == nil ? "record" : "view"
  var progress = ProgressLine(making.command, unit: unit, total: total, done: done)
  var pending: [EncodedBlock] = []
  var lastCommit = clock.now
  func commit() throws {
    do {
      try writer.append(pending)
    } catch {
      progress.clear()
      throw error
    }
    pending.removeAll()
    lastCommit = clock.now
  }
  for key in keys {
    if Interruption.isRequested { break }
    do {
      pending.append(try crew.encoded.next())
    } catch let problem as Problem where problem.kind == .interrupted {
      break  // a worker was waited for: what is finished is committed below
    } catch {
      progress.clear()
      try commit()  // what was finished before the error is not lost
      throw error
    }
    done += work.manifest.samples(of: key).count
    progress.update(done: done)
    if (clock.now - lastCommit).inSeconds >= making.commitSeconds { try commit() }
  }
  try commit()
  progress.finish(done: done)
  if done < total { throw Interruption.problem(after: "\(done) of \(counted(total, unit))") }
}
