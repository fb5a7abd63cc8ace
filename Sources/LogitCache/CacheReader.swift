public import Basics
import Foundation
import LMDB
public import Losses
import Synchronization

/// Reads a cache; several threads may use one reader at once.
public final class CacheReader: Sendable {
  /// The cache's folder.
  public let path: String
  /// What the cache is.
  public let manifest: Manifest
  /// What the cache learned before its first block.
  public let calibration: Calibration
  /// Digest of everything that decides the records.
  public let fingerprint: Digest
  /// The identity of the content; `nil` unless the cache is sealed.
  public let cacheDigest: Digest?
  /// Length of the data file when it was opened.
  public let fileBytes: Int

  let environment: Environment
  let lock: FolderLock?
  private let decoders = Mutex<[BlockDecoder]>([])

  /// Whether the cache is complete and will never be written again.
  public var isSealed: Bool { cacheDigest != nil }

  /// Opens a cache for reading, after checking that its file cannot make LMDB fail.
  ///
  /// A sealed cache needs no lock file and no write access. An unfinished one can be read too: alone
  /// (no writer can start meanwhile), or beside a writer in another process.
  /// - Throws: `Problem(.noInput)` when there is no cache; `.corrupt` when the file is damaged or
  ///   cut off.
  public init(path: String) throws {
    let folder = CacheFolder(path: path)
    guard folder.hasData else {
      throw Problem(.noInput, "there is no cache in \(path): data.mdb is missing or empty")
    }
    let seal = try Seal.read(folder)
    try seal?.checkLength(folder)
    (environment, lock) = try CacheReader.open(folder, isSealed: seal != nil)
    self.path = path
    fileBytes = folder.fileBytes
    let environment = environment
    let (stored, storedSeal) = try environment.read { transaction in
      (
        try MetaTable.readManifest(transaction, environment),
        try MetaTable.readSeal(transaction, environment)
      )
    }
    guard let stored else {
      throw Problem(.corrupt, "\(path) holds no manifest: no cache was started in it")
    }
    manifest = stored
    calibration = try environment.read {
      try MetaTable.readCalibration($0, environment, stored)
    }
    fingerprint = try stored.fingerprint
    try seal?.checkBelongs(to: folder, fingerprint: fingerprint, stored: storedSeal)
    cacheDigest = seal?.cacheDigest
    if cacheDigest != nil { try demandComplete() }
  }

  private static func open(
    _ folder: CacheFolder, isSealed: Bool
  ) throws -> (Environment, FolderLock?) {
    let lock = isSealed ? nil : try FolderLock(folder.path, .shared)
    if isSealed || lock != nil {
      let report = try PageCheck.check(
        path: folder.dataFile, tables: CacheFolder.tables, freeList: false)
      guard isSealed || report.entries.values.contains(where: { $0 > 0 }) else {
        throw Problem(
          .noInput,
          "there is no cache in \(folder.path): it was begun, and nothing is stored yet; run "
            + "'precompute' again")
      }
      let access = Access.readUnchanging(mapBytes: report.fileBytes)
      return (
        try Environment(path: folder.path, tables: CacheFolder.tables, access: access), lock
      )
    }
    guard !OpenWriters.contains(folder.path) else {
      throw Problem(.usage, "\(folder.path) is being written by this process: seal it first")
    }
    return (
      try Environment(path: folder.path, tables: CacheFolder.tables, access: .readBesideWriter),
      nil
    )
  }

  /// The axes from which full rows are rebuilt; `nil` when the cache has no subspace tail.
  public var axes: SubspaceAxes? { calibration.axes }

  /// A batch of this cache's shape with no rows.
  ///
  /// To read full rows: decode into a batch with coefficients, then
  /// `axes.rebuild(batch, into: &rows, ordered:)`, with rows from `TeacherBatch.fullRows(of: batch)`.
  /// - Parameters:
  ///   - coefficients: whether it takes in the coefficients of a subspace tail, too; without
  ///     them they are not even decoded. A cache without such a tail has none to take in.
  ///   - ranking: whether it takes in the order of all classes; likewise.
  public func makeBatch(coefficients: Bool = false, ranking: Bool = false) -> TeacherBatch {
    TeacherBatch(
      manifest.encoding, axes: coefficients ? axes?.count : nil,
      ranking: ranking && manifest.encoding.ranking != nil)
  }

  /// The mean of the teacher's features for each class, [C, D], over all stored records; zero for a
  /// class without records.
  ///
  /// - Throws: `Problem(.corrupt)` when the cache keeps no features, or names the class whose sums are
  ///   damaged.
  public func classMeans() throws -> [Float] {
    guard let width = manifest.encoding.featureWidth else {
      throw Problem(
        .corrupt,
        "\(path) keeps no features: precompute it again with --features, into another folder")
    }
    var means = [Float](repeating: 0, count: manifest.encoding.classes * width)
    try environment.read { transaction in
      try ClassTable.forEach(transaction, environment, manifest) { label, sum in
        means.withUnsafeMutableBufferPointer {
          sum.writeMean(
            to: UnsafeMutableBufferPointer(rebasing: $0[label * width..<(label + 1) * width]))
        }
      }
    }
    return means
  }

  /// Decodes a block; the batch gets one row for every sample of the block, in order.
  ///
  /// With positions it gets one for every record, and `places` say whose.
  /// Reuses the batch's and its own memory: nothing is allocated per record.
  /// - Precondition: the batch came from `makeBatch`, or has the same shape.
  /// - Throws: `Problem(.corrupt)` naming the block when it is damaged; `.noInput` when it is not
  ///   stored.
  public func decode(view: Int, block: Int, into batch: inout TeacherBatch) throws {
    let key = BlockKey(view: view, block: block)
    let decoder = try borrowDecoder()
    defer { giveBack(decoder) }
    try environment.read { transaction in
      let table = environment.table("blocks")
      guard let value = try transaction.value(forKey: key.bytes, in: table) else {
        throw Problem(.noInput, "\(path) does not hold \(key): precompute it first")
      }
      do {
        let labels = try LabelTable.read(block, transaction, environment, manifest)
        try decoder.decode(value, as: key, labels: labels, into: &batch)
      } catch let problem as Problem {
        throw Problem(problem.kind, "\(path): \(problem.message); run 'verify' for the full list")
      }
    }
  }

  func borrowDecoder() throws -> BlockDecoder {
    try decoders.withLock { $0.popLast() } ?? BlockDecoder(manifest, calibration)
  }

  func giveBack(_ decoder: BlockDecoder) { decoders.withLock { $0.append(decoder) } }

  /// What is known of a block without reading it; `nil` when it is not stored.
  public func blockInfo(_ key: BlockKey) throws -> BlockInfo? {
    try environment.read { transaction in
      let table = environment.table("index")
      guard manifest.contains(key),
        let value = try transaction.value(forKey: key.bytes, in: table)
      else { return nil }
      return try IndexTable.info(value, key, manifest)
    }
  }

  /// Visits what is known of every stored block, in key order.
  public func forEachBlock(_ body: (BlockKey, BlockInfo) throws -> Void) throws {
    try environment.read { transaction in
      try IndexTable.forEach(transaction, environment, manifest) { key, entry in
        try body(key, try IndexTable.info(entry, key, manifest))
      }
    }
  }

  /// The keys of the stored blocks, in order.
  public func storedBlocks() throws -> [BlockKey] {
    var keys: [BlockKey] = []
    try forEachBlock { key, _ in keys.append(key) }
    return keys
  }

  /// The measured errors of all stored records.
  public func certificate() throws -> Certificate {
    var total = Certificate(temperatures: manifest.encoding.temperatures)
    try forEachBlock { _, info in total.merge(info.certificate) }
    return total
  }

  /// Bytes of each plane over all stored blocks, in the order planes are stored.
  public func sizeByPlane() throws -> [PlaneSize] {
    var totals: [UInt8: PlaneSize] = [:]
    try forEachBlock { _, info in
      for plane in info.planes {
        totals[plane.id, default: PlaneSize(canonicalBytes: 0, storedBytes: 0, id: plane.id)]
          .add(plane)
      }
    }
    return totals.values.sorted { $0.id < $1.id }
  }
}

extension PlaneSize {
  fileprivate mutating func add(_ other: PlaneSize) {
    canonicalBytes += other.canonicalBytes
    storedBytes += other.storedBytes
  }
}
