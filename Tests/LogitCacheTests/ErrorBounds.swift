import LogitCache
import Losses
import Testing

/// Expects that no error of a cache's records on the full rows is above what its certificate says.
///
/// - Parameter row: a full row and its label, by view and sample.
func expectBounds(
  of cache: CacheReader, _ name: String, row: (_ view: Int, _ sample: Int) -> ([Float], Int)
) throws {
  let certificate = try cache.certificate()
  var batch = cache.makeBatch()
  var energies: [Double] = []
  for (t, errors) in certificate.atTemperature.enumerated() {
    var direct: [DirectErrors] = []
    for key in cache.manifest.blockKeys {
      try cache.decode(view: key.view, block: key.block, into: &batch)
      for (index, sample) in cache.manifest.samples(of: key).enumerated() {
        let (row, label) = row(key.view, sample)
        #expect(Int(batch.labels[index]) == label)
        direct.append(DirectErrors(row, batch, index, temperature: errors.temperature.value, t))
        if t == 0 { energies.append(missingEnergy(row, batch, index, cache.manifest.encoding)) }
      }
    }
    let place = "\(name), T = \(errors.temperature)"
    expect(errors.totalVariation, above: direct.map(\.totalVariation), place + ", TV")
    expect(errors.kdGradientError, above: direct.map(\.kdGradient), place + ", KD")
    expect(errors.pldDroppedWeight, above: direct.map(\.dropped), place + ", PLD")
    expect(errors.distAngle, above: direct.map(\.angle), place + ", DIST")
  }
  expect(certificate.mseMissingEnergy, above: energies, name + ", MSE")
}

private func expect(_ bound: ErrorStatistic, above direct: [Double], _ name: String) {
  let tolerance = 1e-9
  #expect(bound.count == direct.count, "\(name)")
  #expect(bound.max >= direct.max()! - tolerance, "\(name)")
  let sum = direct.reduce(0, +)
  #expect(bound.sum >= sum - tolerance * Double(direct.count) - 1e-6 * sum, "\(name)")
  let sorted = direct.sorted()
  for fraction in [0.25, 0.5, 0.9] {
    let exact = sorted[Int((Double(sorted.count) * fraction).rounded(.up)) - 1]
    #expect(bound.quantile(fraction) >= exact - tolerance, "\(name), \(fraction)")
  }
}
