import Basics
import DataSets
import Foundation
import LogitCache
import Losses
import Pipelines
import TestSupport
import Testing

@Suite struct EvaluateTests {
  @Test func `the teacher agrees with itself`() throws {
    let workshop = try Workshop.withTrainedTeacher()
    var job = workshop.job(views: 1)
    job.recipe = nil
    try precompute(job)
    let result = try evaluate(
      modelPath: workshop.folder.file("teacher.safetensors"), data: workshop.data,
      cachePath: job.making.cache)
    #expect(result.samples == 300)
    #expect(result.agreement == 1)
    #expect(result.teacherAccuracy == result.accuracy)
    #expect(result.accuracy > 0.9)
  }

  @Test func `accuracy and agreement are shares of samples, counted one by one`() throws {
    let workshop = try Workshop(samples: 2100)
    var job = workshop.job(views: 2)
    job.recipe = nil
    try precompute(job)
    let model = try workshop.writeTeacher("student", seed: 99)
    let result = try evaluate(
      modelPath: workshop.folder.file("student.safetensors"), data: workshop.data,
      cachePath: job.making.cache)
    // A second cache, with the student as its teacher, says what the student names.
    var second = workshop.job("second", views: 1)
    (second.recipe, second.teacher) = (nil, model)
    try precompute(second)
    let (teacher, student) = (
      try firstChoices(job.making.cache), try firstChoices(second.making.cache)
    )
    func share(_ a: [Int32], _ b: [Int32]) -> Double { Double(zip(a, b).count { $0 == $1 }) / 2100 }
    #expect(result.accuracy == share(student, workshop.pictures.labels))
    #expect(result.teacherAccuracy == share(teacher, workshop.pictures.labels))
    #expect(result.agreement == share(student, teacher))
  }

  private func firstChoices(_ cache: String) throws -> [Int32] {
    let reader = try CacheReader(path: cache)
    var batch = reader.makeBatch()
    return try (0..<reader.manifest.blocksPerView).flatMap { block in
      try reader.decode(view: 0, block: block, into: &batch)
      return (0..<batch.count).map { batch.classIDs[$0 * batch.k] }
    }
  }

  @Test func `without a cache there is accuracy alone`() throws {
    let workshop = try Workshop()
    let result = try evaluate(
      modelPath: workshop.folder.file("teacher.safetensors"), data: workshop.data, cachePath: nil)
    #expect(result.agreement == nil && result.teacherAccuracy == nil)
  }

  @Test func `a cache of augmented views is refused`() throws {
    let workshop = try Workshop()
    try precompute(workshop.job())
    let problem = #expect(throws: Problem.self) {
      try evaluate(
        modelPath: workshop.folder.file("teacher.safetensors"), data: workshop.data,
        cachePath: workshop.folder.file("cache"))
    }
    #expect(problem?.kind == .corrupt)
    #expect(problem?.message.contains("holds augmented views") == true)
  }

  @Test(arguments: [(9, 4), (8, 5)])
  func `a model for other pictures or classes is refused by both`(side: Int, classes: Int) throws {
    let workshop = try Workshop()
    try workshop.writeTeacher("other", side: side, classes: classes, seed: 1)
    let problem = #expect(throws: Problem.self) {
      try evaluate(
        modelPath: workshop.folder.file("other.safetensors"), data: workshop.data, cachePath: nil)
    }
    #expect(problem?.kind == .corrupt)
    #expect(
      problem?.message.contains("takes \(side)x\(side)x1 inputs and names \(classes) classes")
        == true)
  }
}
