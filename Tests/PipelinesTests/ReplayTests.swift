import Basics
import DataSets
import Foundation
import LogitCache
import Losses
import Pipelines
import TestSupport
import Testing

@Suite struct ReplayTests {
  @Test func `replay needs no teacher: it works after the teacher's files are gone`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    try remove(workshop.teacher)
    try remove(workshop.folder.file("teacher.safetensors"))
    try remove(workshop.recipe)
    let metrics = try train(workshop.plan("kd@4", epochs: 1, "cache: cache"), workshop.options())
    #expect(metrics.count == 1)
  }

  @Test func `the memory for decoded records does not change the weights`() throws {
    let workshop = try Workshop(samples: 2100)
    try precompute(workshop.job())
    let plan = try workshop.plan("kd@4", epochs: 4, "cache: cache")
    for (name, bytes) in [("none", 0), ("some", 100_000), ("all", 1 << 30)] {
      var options = workshop.options(name)
      options.decodedBytes = bytes
      try train(plan, options)
    }
    let weights = try ["none", "some", "all"].map { try workshop.modelBytes($0) }
    #expect(Set(weights).count == 1)
  }

  @Test func `a cache of other data is refused by both fingerprints`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    var pictures = workshop.pictures
    pictures.pixels[0] ^= 1
    let other = try pictures.write(to: workshop.folder, name: "other")
    let (mine, theirs) = (
      try openDataSet(other).fingerprint, try openDataSet(workshop.data).fingerprint
    )
    let plan = try workshop.plan("kd@4", data: other, "cache: cache")
    for check in [ViewCheck.all, .blocks(0)] {
      let problem = #expect(throws: Problem.self) {
        try train(plan, workshop.options(check: check))
      }
      #expect(problem?.kind == .corrupt)
      #expect(problem?.message.contains("'data' (fingerprint \(theirs.short))") == true)
      #expect(problem?.message.contains("'other' (fingerprint \(mine.short))") == true)
    }
  }

  @Test func `the view check finds a block that was made from other pixels`() throws {
    let workshop = try Workshop(samples: 2100)
    try precompute(workshop.job("right", views: 3))
    let right = try CacheReader(path: workshop.folder.file("right"))
    let writer = try workshop.writer("wrong", like: "right")
    let bad = BlockKey(view: 1, block: 1)
    for key in right.manifest.blockKeys {
      let digest = key == bad ? Digest(of: "other pixels") : nil
      try writer.append([workshop.makeBlock(key, of: right, viewDigest: digest)])
    }
    _ = try writer.seal()
    let plan = try workshop.plan("kd@4", epochs: 1, "cache: wrong")
    for check in [ViewCheck.all, .blocks(6), .blocks(100)] {
      let problem = #expect(throws: Problem.self) {
        try train(plan, workshop.options(check: check))
      }
      #expect(problem?.kind == .corrupt)
      #expect(problem?.message.contains("view 1, block 1 (samples 2048..<2100)") == true)
    }
    #expect(!Files.exists(workshop.folder.file("out/checkpoint.safetensors")))
    #expect(try train(plan, workshop.options(check: .blocks(0))).count == 1)
  }

  @Test func `an unfinished cache is refused before the first step`() throws {
    let workshop = try Workshop(samples: 2100)
    try precompute(workshop.job("cache", views: 3))
    try workshop.begin("begun", like: "cache", with: [BlockKey(view: 0, block: 0)])
    let plan = try workshop.plan("kd@4", "cache: begun")
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("is not complete") == true)
  }

  @Test func `a loss that compares with a teacher needs a cache`() throws {
    let workshop = try Workshop()
    let problem = #expect(throws: Problem.self) {
      try train(workshop.plan("kd@4"), workshop.options())
    }
    #expect(problem?.kind == .usage)
    #expect(problem?.message.contains("'kd@4'") == true)
  }

  @Test(arguments: ["kd@", "foo", "ce+", "", "kd@-1"])
  func `a loss that cannot be read is refused in words`(loss: String) throws {
    let workshop = try Workshop()
    var plan = try workshop.plan("ce")
    plan.loss = loss
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.kind == .configuration)
    #expect(problem?.message.contains("loss") == true)
  }

  @Test func `a cache and a recipe are not named together`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    let plan = try workshop.plan("ce", "cache: cache", "recipe: recipe.yaml")
    let problem = #expect(throws: Problem.self) { try train(plan, workshop.options()) }
    #expect(problem?.kind == .usage)
  }
}
