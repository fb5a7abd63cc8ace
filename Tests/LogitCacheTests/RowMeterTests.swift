import LogitCache
import Losses
import TestSupport
import Testing

/// Temperatures in ratio 2 share exponentials, which are squared; each alone has its own.
@Suite struct RowMeterTests {
  @Test(arguments: UInt64(1)...12)
  func `temperatures measured together are those measured alone`(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let classes = [2, 9, 64, 1000, 3001].randomElement(using: &generator)!
    let k = Int.random(in: 1...min(classes, 60), using: &generator)
    let all: [Temperature] = [
      Temperature(1, over: 4)!, Temperature(1, over: 2)!, 1, Temperature(3, over: 2)!, 2, 3, 4, 20,
    ]
    let chosen = all.filter { _ in Int.random(in: 0..<3, using: &generator) > 0 }
    let temperatures = chosen.isEmpty ? [1, 2] : chosen
    let together = try measure(classes, k, temperatures, seed: seed)
    for (index, temperature) in temperatures.enumerated() {
      let alone = try measure(classes, k, [temperature], seed: seed)
      let place = "seed \(seed), C \(classes), k \(k), T \(temperature) of \(temperatures)"
      #expect(together.ratios[index] == alone.ratios[0], "\(place)")
      let (a, b) = (together.certificate.atTemperature[index], alone.certificate.atTemperature[0])
      for (x, y) in [
        (a.totalVariation, b.totalVariation), (a.kdGradientError, b.kdGradientError),
        (a.pldDroppedWeight, b.pldDroppedWeight), (a.distAngle, b.distAngle),
      ] {
        #expect(abs(x.sum - y.sum) <= 1e-11 * max(1, y.sum), "\(place)")
        #expect(abs(x.max - y.max) <= 1e-11 * max(1, y.max), "\(place)")
      }
    }
    let highest = try measure(classes, k, [temperatures.last!], seed: seed)
    let (a, b) = (together.certificate.mseMissingEnergy, highest.certificate.mseMissingEnergy)
    #expect(abs(a.sum - b.sum) <= 1e-10 * max(1, b.sum), "seed \(seed)")
  }

  private struct Measured {
    var certificate: Certificate
    /// The tail ratios of all records, by temperature; none when k = C.
    var ratios: [[Float]]
  }

  private func measure(
    _ classes: Int, _ k: Int, _ temperatures: [Temperature], seed: UInt64
  ) throws -> Measured {
    let job = Job(classes: classes, k: k, samples: 24, seed: seed, temperatures: temperatures)
    let folder = ScratchFolder()
    try job.write(to: folder.path)
    let reader = try CacheReader(path: folder.path)
    var measured = Measured(
      certificate: try reader.certificate(), ratios: temperatures.map { _ in [] })
    var batch = reader.makeBatch()
    for key in job.manifest.blockKeys {
      try reader.decode(view: key.view, block: key.block, into: &batch)
      let count = batch.tailTemperatures.count
      for (index, ratio) in batch.logTailRatios.enumerated() {
        measured.ratios[index % count].append(ratio)
      }
    }
    return measured
  }
}
