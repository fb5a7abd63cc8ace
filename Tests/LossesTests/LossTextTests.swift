import Losses
import TestSupport
import Testing

@Suite struct LossTextTests {
  @Test(arguments: [
    ("kd", LossConfiguration([.kd()])),
    ("kd@4", LossConfiguration([.kd(temperature: 4)])),
    ("kd@inf", LossConfiguration([.kd(temperature: .infinity)])),
    ("ce", LossConfiguration([.crossEntropy()])),
    ("mse:drop", LossConfiguration([.mse(tail: .drop)])),
    ("pld@0.5:uniform", LossConfiguration([.pld(temperature: 0.5, tail: .uniform)])),
    (
      "0.1*ce + 0.9*kd@4:bucket",
      LossConfiguration([
        .crossEntropy(weight: 0.1), .kd(weight: 0.9, temperature: 4, tail: .bucket),
      ])
    ),
    (
      "2*dist@4:beta=0.5:gamma=0:eps=1e-06:plain",
      LossConfiguration([
        .dist(
          weight: 2,
          DISTSettings(
            temperature: 4, beta: 0.5, gamma: 0, epsilon: 1e-6,
            scalesByTemperatureSquared: false))
      ])
    ),
    (
      "ce+dkd@4:alpha=2:beta=6+nd+cosine;warmup=20",
      LossConfiguration(
        [
          .crossEntropy(), .dkd(temperature: 4, alpha: 2, beta: 6), .normDirection(),
          .classMeanCosine(),
        ], warmupEpochs: 20)
    ),
  ])
  func `text is read and printed canonically`(text: String, expected: LossConfiguration) throws {
    let configuration = try LossConfiguration(parsing: text)
    #expect(configuration == expected)
    #expect(configuration.description == text.filter { $0 != " " })
  }

  @Test(arguments: [
    ("", "'' is no loss"),
    ("kl", "'kl' is no loss; there are ce, kd"),
    ("ce@4", "'ce' has no temperature"),
    ("kd@0", "temperature '0' is not a number above 0"),
    ("kd@nan", "temperature 'nan' is not a number above 0"),
    ("pld@inf", "only kd has a limit"),
    ("x*kd", "weight 'x' is not a number in 0...1e9"),
    ("-1*kd", "weight '-1' is not a number in 0...1e9"),
    ("kd:median", "'kd' has no tail 'median'"),
    ("kd:uniform:bucket", "'kd' has no option 'bucket'"),
    ("dist:beta=-1", "beta '-1' is not a number in 0...1e9"),
    ("ce:plain", "'ce' has no option 'plain'"),
    ("ce+", "'' is no loss"),
    ("ce;warm=3", "'warm=3' is not understood; write ';warmup=20'"),
    ("ce+ce+ce+ce+ce+ce+ce+ce+ce", "has 9 terms, at most 8 fit"),
  ])
  func `wrong text is refused in words`(text: String, message: String) {
    let error = #expect(throws: LossTextError.self) { try LossConfiguration(parsing: text) }
    #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    #expect(error?.description.hasPrefix("loss '\(text)'") == true)
  }

  @Test(arguments: 0..<50)
  func `every configuration survives printing and reading`(seed: Int) throws {
    var generator = SeededGenerator(seed: UInt64(seed))
    func number() -> Double { Double(Int.random(in: 0...4000, using: &generator)) / 1000 }
    func warm() -> Float { Float(number()) + 0.001 }
    let all: [LossTerm] = [
      .crossEntropy(weight: number()), .kd(weight: number(), temperature: warm(), tail: .bucket),
      .kd(weight: number(), temperature: .infinity), .mse(weight: number(), tail: .drop),
      .dist(
        weight: number(),
        DISTSettings(
          temperature: warm(), beta: number(), gamma: number(), epsilon: number() * 1e-9,
          scalesByTemperatureSquared: Bool.random(using: &generator))),
      .pld(weight: number(), temperature: warm(), tail: .uniform),
      .dkd(weight: number(), temperature: warm(), alpha: number(), beta: number()),
      .normDirection(weight: number()), .classMeanCosine(weight: number()),
    ]
    let configuration = LossConfiguration(
      Array(all.shuffled(using: &generator).prefix(Int.random(in: 1...8, using: &generator))),
      warmupEpochs: Int.random(in: 0...3, using: &generator))
    let again = try LossConfiguration(parsing: configuration.description)
    #expect(again == configuration, "seed \(seed): \(configuration)")
  }

  @Test func `presets have unique names and are read by name`() throws {
    let presets = LossConfiguration.presets
    #expect(Set(presets.map(\.name)).count == presets.count)
    for preset in presets {
      #expect(try LossConfiguration(parsing: preset.name) == preset.configuration)
      #expect(!preset.source.isEmpty)
    }
  }

  @Test func `requirements tell what a trainer must bring`() throws {
    let plain = try LossConfiguration(parsing: "ce").requirements
    #expect(!plain.teacher && plain.tailTemperatures.isEmpty && plain.fullRowTerms.isEmpty)
    let sum = try LossConfiguration(parsing: "ce+pld@4+kd+dist@4+mse+kd@inf+nd").requirements
    #expect(sum.teacher && sum.features && sum.tailTemperatures == [1, 4])
    #expect(sum.fullRowTerms.map(\.name) == ["dist", "mse", "kd"])
    #expect(try LossConfiguration(parsing: "dist:gamma=0").requirements.fullRowTerms.isEmpty)
  }

  @Test func `warm-up touches only the terms that compare logits`() throws {
    let sum = try LossConfiguration(parsing: "0.5*ce+2*kd+3*nd;warmup=4")
    #expect(sum.terms.map { sum.factor(of: $0, epoch: 0) } == [0.5, 0, 3])
    #expect(sum.terms.map { sum.factor(of: $0, epoch: 1) } == [0.5, 0.5, 3])
    #expect(sum.terms.map { sum.factor(of: $0, epoch: 9) } == [0.5, 2, 3])
  }
}
