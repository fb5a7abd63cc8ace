import Basics
import Foundation
import LogitCache
import Losses

/// What `replay` measures, and how long.
struct ReplaySettings {
  /// Records of a cache.
  var records: Int
  /// Records of the passes in which each one costs us a whole block.
  var lone: Int
  /// Seconds of trying, for each side and order and round.
  var seconds: Double
  var rounds = 2
  let seed: UInt64 = 1
}

private let shapes = [(1000, 10), (1000, 20), (1000, 100), (10, 10)]

/// Records read in a second from a cache, beside readers of one record at a time, on the same records
/// in the same order: in Python as training code has them, and in Swift.
///
/// That both sides read the same records is checked before anything is timed.
func replayBenchmark(
  _ settings: ReplaySettings, python: String, into report: inout BenchmarkReport
) throws {
  let folder = FileManager.default.temporaryDirectory.path + "/logitcache-bench-\(getpid())"
  defer { try? FileManager.default.removeItem(atPath: folder) }
  try Files.makeFolder(folder)
  let peer = try PythonPeer(python: python, script: "records.py")
  report.setup = [
    "peers": peer.version,
    "records": "\(settings.records) of synthetic rows (rank 64 and noise, mean largest "
      + "probability 0.7, for C = 10: 0.9), one view; file system cache warm",
    "peer file": "uint16 id + float16 value in fixed records, Python: seek, read, parse",
    "peer lmdb": "the same record under a key of its own, Python",
    "peer pread": "the same file from Swift: one pread each, converted to 32 bits",
    "limit": "a copy of the bytes that we decode into",
    "sequential": "blocks in order into a batch of a block; peers: samples in order",
    "shuffled": "as training does, shuffled blocks and rows in batches of 256",
    "kept": "the same with all decoded blocks kept from the epoch before",
    "lone": "\(settings.lone) samples drawn at random, one block held: each costs a block",
    "lone, kept": "\(settings.records) samples drawn at random, all blocks held",
    "threads": "1 on each side",
    "time": "least of \(settings.rounds) rounds of \(settings.seconds) s, the sides in turn",
    "seed": "\(settings.seed)",
  ]
  let start = CPUTime.now
  for (classes, k) in shapes {
    let place = "\(folder)/\(classes)-\(k)"
    try Files.makeFolder(place)
    let inputs = try ReplayCase(classes: classes, k: k, settings, peer: peer, folder: place)
    report.rows += try inputs.measure()
    try FileManager.default.removeItem(atPath: place)
  }
  report.setup?["busy"] = start.busyCores
  report.targets = targets(report.rows)
}

/// What reading was built to reach.
private func targets(_ all: [BenchmarkRow]) -> [BenchmarkTarget] {
  func rows(_ k: Int, _ access: ReplayAccess) -> [BenchmarkRow] {
    all.filter { $0.case.hasPrefix(replayCaseName(classes: 1000, k: k, access)) }
  }
  let speeds = [(10, 5000.0), (20, 2000), (100, 300)].map { k, least in
    BenchmarkTarget(
      name: "k=\(k): decoded in a second, thousands", bound: least, isUpper: false,
      measured: rows(k, .sequential).first?.ours ?? .nan)
  }
  let ratios = [10, 20, 100].flatMap { k in
    [ReplayAccess.sequential, .shuffled].map { access in
      BenchmarkTarget(
        name: "k=\(k) \(access.rawValue): times faster than the faster Python peer", bound: 1,
        isUpper: false,
        measured: rows(k, access).prefix(2).map(\.ratio).min() ?? .nan)
    }
  }
  return speeds + ratios
}
