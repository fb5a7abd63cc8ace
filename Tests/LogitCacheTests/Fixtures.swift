import Basics
import Foundation
import LogitCache
import Losses
import TestSupport
import Testing

/// A small job: its manifest, and a teacher whose rows depend only on seed, view and sample.
struct Job: Sendable {
  var manifest: Manifest
  /// What the cache learned; nothing unless set.
  var calibration: Calibration? {
    didSet { manifest.calibration = (calibration ?? .plain(manifest.encoding)).digest }
  }
  /// Of the teacher's rows.
  var seed: UInt64 = 1
  /// Of the labels.
  private let labelSeed: UInt64

  init(
    classes: Int, k: Int, samples: Int, views: Int = 1, blockRows: Int = 8, seed: UInt64 = 1,
    zstdLevel: Int = 1, temperatures: [Temperature] = [1, 2, 4], featureWidth: Int? = nil,
    positions: Positions? = nil
  ) {
    self.seed = seed
    labelSeed = seed
    let each = positions?.labels == .position ? positions?.maximum ?? 1 : 1
    let labels = (0..<samples).flatMap { sample in
      (0..<each).map { Job.label(sample: sample, position: $0, of: each, classes, seed: seed) }
    }
    manifest = Manifest(
      dataSet: DataSetIdentity(
        name: "toys", fingerprint: Digest(of: "toys"), labels: labels, positions: each,
        classNames: (0..<classes).map { "class \($0)" }),
      recipe: RecipeIdentity(
        digest: Digest(of: "flip"), content: .object(["flip": .string("1/2")])),
      seed: 7, views: views, teacher: .object(["weights": .string("tiny")]),
      encoding: Encoding(
        classes: classes, k: k, temperatures: temperatures, featureWidth: featureWidth,
        positions: positions, blockRows: blockRows, zstdLevel: zstdLevel))
  }

  var classes: Int { manifest.encoding.classes }

  /// A row of one of several kinds: ordinary, sharp, tied, extreme, constant.
  func row(view: Int, sample: Int, position: Int = 0) -> [Float] {
    var generator = SeededGenerator(
      seed: seed &* 1_000_003 &+ UInt64(view) &* 7919 &+ UInt64(sample) &+ UInt64(position) << 40)
    _ = generator.next()
    let kind = Int.random(in: 0..<12, using: &generator)
    return (0..<classes).map { _ in
      let z = generator.normal()
      switch kind {
      case 0: return Float((z * 2).rounded())  // many ties
      case 1: return Float(z * 30)
      case 2: return z > 1 ? 80 : -80
      case 3: return Float(z > 0 ? 1e4 : -1e4) + Float(z)
      case 4: return 3.25
      case 5: return z > 0 ? 0 : -0.0  // equal, with two signs
      default: return Float(z * 4)
      }
    }
  }

  /// A feature of one of several kinds: ordinary, as after a ReLU, tiny, large, zero.
  func feature(view: Int, sample: Int) -> [Float] {
    var generator = SeededGenerator(
      seed: seed &* 1_000_033 &+ UInt64(view) &* 7907 &+ UInt64(sample))
    let kind = Int.random(in: 0..<8, using: &generator)
    return (0..<(manifest.encoding.featureWidth ?? 0)).map { _ in
      let z = Float(generator.normal())
      switch kind {
      case 0: return 0
      case 1: return z * 1e-6
      case 2: return max(-32_768, min(32_768, z * 20_000))
      case 3, 4: return max(0, z)
      default: return z * 3
      }
    }
  }

  func label(sample: Int) -> Int32 {
    Job.label(sample: sample, classes: classes, seed: labelSeed)
  }

  var labels: [Int32] {
    guard let positions, positions.labels == .position else {
      return (0..<manifest.dataSet.samples).map { label(sample: $0) }
    }
    return (0..<manifest.dataSet.samples * positions.maximum).map { index in
      let (sample, position) = index.quotientAndRemainder(dividingBy: positions.maximum)
      return Job.label(
        sample: sample, position: position, of: positions.maximum, classes, seed: labelSeed)
    }
  }

  static func label(sample: Int, classes: Int, seed: UInt64) -> Int32 {
    var generator = SeededGenerator(seed: seed &+ 99 &* UInt64(sample + 1))
    return Int32.random(in: 0..<Int32(classes), using: &generator)
  }

  func viewDigest(_ key: BlockKey) -> Digest { Digest(of: "pixels of \(key)") }

  func encode(_ key: BlockKey, with encoder: BlockEncoder) throws -> EncodedBlock {
    try encoder.pack(measure(key, with: encoder))
  }

  func measure(
    _ key: BlockKey, with encoder: BlockEncoder, forCalibration: Bool = false
  ) throws -> MeasuredBlock {
    let samples = manifest.samples(of: key)
    let records = records(of: key)
    let logits = records.flatMap { row(view: key.view, sample: $0.sample, position: $0.position) }
    let features = samples.flatMap { feature(view: key.view, sample: $0) }
    return try encoder.measure(
      logits: logits.span, labels: records.map(\.label), places: places(of: key), view: key.view,
      block: key.block, firstSample: samples.lowerBound, viewDigest: viewDigest(key),
      features: features.span, forCalibration: forCalibration,
      keptRows: forCalibration && manifest.encoding.subspaceTail != nil ? records.count : 0)
  }

  /// Learns from all blocks.
  func learned() throws -> Calibration {
    let encoder = try BlockEncoder(manifest: manifest)
    return try Calibration.learn(
      manifest.blockKeys.map { try measure($0, with: encoder, forCalibration: true) }, manifest)
  }

  func encoder() throws -> BlockEncoder {
    try BlockEncoder(manifest: manifest, calibration: calibration)
  }

  func encodeAll() throws -> [EncodedBlock] {
    let encoder = try encoder()
    return try manifest.blockKeys.map { try encode($0, with: encoder) }
  }

  /// Writes the whole cache and seals it, unless told not to.
  @discardableResult
  func write(to path: String, seal: Bool = true) throws -> Digest? {
    let writer = try CacheWriter(
      path: path, manifest: manifest, labels: labels, calibration: calibration)
    try writer.append(try encodeAll())
    return seal ? try writer.seal() : nil
  }
}

extension Job {
  var positions: Positions? { manifest.encoding.positions }

  /// -1 where a position has no label; of one position, the sample's.
  fileprivate static func label(
    sample: Int, position: Int, of positions: Int, _ classes: Int, seed: UInt64
  ) -> Int32 {
    guard positions > 1 else { return label(sample: sample, classes: classes, seed: seed) }
    let chosen = chosenPositions(of: positions, seed: seed &* 31 &+ UInt64(sample))
    if !chosen.contains(Int32(position)) { return -1 }
    return label(sample: sample * positions + position, classes: classes, seed: seed)
  }

  /// All, none, the first few, or any: as samples have records.
  private static func chosenPositions(of positions: Int, seed: UInt64) -> [Int32] {
    var generator = SeededGenerator(seed: seed)
    let all = 0..<Int32(positions)
    switch Int.random(in: 0..<5, using: &generator) {
    case 0: return Array(all)
    case 1: return []
    case 2: return Array(all.prefix(Int.random(in: 1...positions, using: &generator)))
    default: return all.filter { _ in Bool.random(using: &generator) }
    }
  }

  /// The positions at which a sample has records in a view.
  func positions(view: Int, sample: Int) -> [Int32] {
    guard let positions else { return [0] }
    guard positions.labels == .position else {
      return Job.chosenPositions(
        of: positions.maximum, seed: seed &* 131 &+ UInt64(view) &* 7 &+ UInt64(sample))
    }
    let own = labels[sample * positions.maximum..<(sample + 1) * positions.maximum]
    return own.indices.filter { own[$0] >= 0 }.map { Int32($0 - own.startIndex) }
  }

  /// The records of a block in order.
  func records(of key: BlockKey) -> [(sample: Int, position: Int, label: Int32)] {
    manifest.samples(of: key).flatMap { sample in
      positions(view: key.view, sample: sample).map { position in
        let isOwn = positions?.labels == .position
        let label =
          isOwn
          ? labels[sample * positions!.maximum + Int(position)] : label(sample: sample)
        return (sample, Int(position), label)
      }
    }
  }

  func places(of key: BlockKey) -> RowPlaces? {
    guard positions != nil else { return nil }
    var places = RowPlaces()
    for sample in manifest.samples(of: key) {
      places.append(sampleAt: positions(view: key.view, sample: sample))
    }
    return places
  }

  /// What the cache says of a block's labels before it is read.
  func blockLabels(_ key: BlockKey) -> BlockLabels {
    guard positions?.labels == .position else {
      return BlockLabels(manifest.samples(of: key).map { UInt32(label(sample: $0)) })
    }
    return BlockLabels(records(of: key).map { UInt32($0.label) }, places: places(of: key))
  }
}

/// A record computed the plain way: sort everything, quantise, sum in Double.
struct ReferenceRecord {
  var ids: [Int]
  var gaps: [Double]
  var largest: Double
  var labelRank: Int
  var labelGap: Double
  /// log(tail / head) before quantisation, per temperature; empty without a tail.
  var logTailRatios: [Double]

  init(_ row: [Float], label: Int, _ encoding: Encoding) {
    let order = row.indices.sorted { row[$0] > row[$1] || (row[$0] == row[$1] && $0 < $1) }
    let largestSteps = Double(encoding.largestStepsPerNat)
    let steps = Double(encoding.stepsPerNat)
    let storedLargest =
      (Double(row[order[0]]) * largestSteps).rounded(.toNearestOrEven) / largestSteps
    func gap(_ id: Int) -> Double {
      ((Double(row[order[0]]) - Double(row[id])) * steps).rounded(.toNearestOrEven) / steps
    }
    ids = Array(order[..<encoding.k])
    gaps = ids.map(gap)
    largest = storedLargest
    labelRank = order.firstIndex(of: label)!
    labelGap = gap(label)
    let head = ids.map { Double(row[$0]) }
    let tail = order[encoding.k...].map { Double(row[$0]) }
    logTailRatios = encoding.tailTemperatures.map {
      logSumExp(tail, $0.value) - logSumExp(head, $0.value)
    }
  }
}

func logSumExp(_ values: [Double], _ temperature: Double) -> Double {
  let largest = values.max()!
  return largest / temperature
    + log(values.reduce(0) { $0 + exp(($1 - largest) / temperature) })
}

/// The energy of a read record's error over that of its row, computed the plain way; planned temperatures end with T = 4.
func missingEnergy(
  _ row: [Float], _ batch: TeacherBatch, _ index: Int, _ encoding: Encoding
) -> Double {
  let k = batch.k
  let largest = Double(batch.largestLogits[index])
  var tail = 0.0
  if k < batch.classes {
    let gaps = (0..<k).map { -Double(batch.gaps[index * k + $0]) }
    let temperature = Double(batch.tailTemperatures.last!)
    let ratio = Double(batch.logTailRatios[(index + 1) * batch.tailTemperatures.count - 1])
    let level = ratio + logSumExp(gaps, temperature) - log(Double(batch.classes - k))
    tail = largest + temperature * level
  }
  var stored = [Double](repeating: tail, count: batch.classes)
  for rank in 0..<k {
    stored[Int(batch.classIDs[index * k + rank])] =
      largest - Double(batch.gaps[index * k + rank])
  }
  let mean = row.reduce(0) { $0 + Double($1) } / Double(row.count)
  let energy = row.reduce(0) { $0 + pow(Double($1) - mean, 2) }
  let error = zip(row, stored).reduce(0) { $0 + pow(Double($1.0) - $1.1, 2) }
  let step = 1 / Double(encoding.stepsPerNat)
  return error / max(energy, Double(row.count) * step * step)
}

/// The message of the problem that `body` throws; "nothing thrown" when it does not.
func problem(_ body: () throws -> Void) -> Problem {
  do {
    try body()
    return Problem(.usage, "nothing thrown")
  } catch let problem as Problem {
    return problem
  } catch {
    return Problem(.usage, "another error: \(error)")
  }
}

/// Expects refusals of damaged data whose messages hold some texts.
func expectCorrupt(
  _ found: [Problem], _ texts: [String], sourceLocation: SourceLocation = #_sourceLocation
) {
  for problem in found {
    #expect(problem.kind == .corrupt, "\(problem)", sourceLocation: sourceLocation)
    for text in texts {
      #expect(problem.message.contains(text), "\(problem)", sourceLocation: sourceLocation)
    }
  }
}
