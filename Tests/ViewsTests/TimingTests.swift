import DataSets
import Foundation
import Testing
import Views

/// Prints nanoseconds per view of every operation; runs only with LOGITCACHE_TIMING set.
@Suite(.serialized, .enabled(if: ProcessInfo.processInfo.environment["LOGITCACHE_TIMING"] != nil))
struct TimingTests {
  @Test(arguments: [(28, 1), (32, 3), (224, 3)])
  func `views per second`(side: Int, channels: Int) throws {
    let images = try testImages(side, side, channels, count: 64)
    let operations = [
      "", "{op: pad-crop, pad: 2}", "{op: flip}", "{op: pad-crop, pad: 2}, {op: flip}",
      "{op: affine, degrees: 10, translate: 0.1}", "{op: brightness, amount: 0.3}",
      "{op: contrast, amount: 0.3}", "{op: blur, radius: [0, 0.9]}", "{op: blur, radius: [1, 2]}",
      "{op: noise, deviation: [0, 0.1]}",
      "{op: flip}, {op: affine, degrees: 10}, {op: brightness, amount: 0.2}, {op: cutmix}",
      "{op: erase, probability: 1}", "{op: mixup}", "{op: cutmix}",
    ]
    for operation in operations {
      let recipe = try recipe("{version: 1, operations: [\(operation)]}")
      let augmenter = try Augmenter(dataSet: images, recipe: recipe, seed: 1)
      var batch = augmenter.makeBatch()
      let views = max(10, 100_000_000 / (side * side * channels * 64))
      let clock = ContinuousClock()
      let time = clock.measure {
        for view in 0..<views { try! augmenter.render(samples: 0..<64, view: view, into: &batch) }
      }
      let nanoseconds =
        Double(time.components.attoseconds) / 1e9 + Double(time.components.seconds) * 1e9
      print(
        "\(side)x\(side)x\(channels) \(operation): \(Int(nanoseconds) / views / 64) ns per view")
    }
  }

  @Test func `digests per second`() throws {
    let images = try testImages(28, 28, 1, count: 1000)
    let recipe = try recipe("{version: 1, operations: [{op: pad-crop, pad: 2}, {op: flip}]}")
    let augmenter = try Augmenter(dataSet: images, recipe: recipe, seed: 1)
    let clock = ContinuousClock()
    let time = clock.measure {
      for view in 0..<20 { _ = try! augmenter.digest(samples: 0..<1000, view: view) }
    }
    print("28x28x1 pad-crop, flip and digest: \(Int(time / .nanoseconds(20_000))) ns per view")
  }
}
