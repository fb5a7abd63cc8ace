import Basics
import Foundation
import Pipelines

/// Seconds per epoch of the same student from the same views: a loss from the cache against
/// cross-entropy alone.
///
/// Rounds alternate, the fastest epoch of each counts.
func trainingBenchmark() throws -> [BenchmarkRow] {
  let folder = FileManager.default.temporaryDirectory.path + "/logitcache-bench-\(getpid())"
  defer { try? FileManager.default.removeItem(atPath: folder) }
  try Files.makeFolder(folder)
  let cache = folder + "/cache"
  let data = "fashion-mnist/train[0:20000]"
  _ = try precompute(
    PrecomputeJob(
      data: data, teacher: "Examples/fashion-mnist/teacher.yaml",
      recipe: "Examples/fashion-mnist/crop-flip.recipe.yaml", views: 2, seed: 1,
      making: CacheMaking(
        command: "precompute", cache: cache,
        threads: ProcessInfo.processInfo.activeProcessorCount, commitSeconds: 5)))

  let losses = ["ce", "kd@4", "pld", "dist@4", "mse"]
  var fastest = [String: Double]()
  for round in 0..<3 {
    for loss in losses {
      var plan = try TrainingPlan(yamlAt: "Examples/fashion-mnist/student.training.yaml")
      plan.data = data
      plan.test = nil
      plan.cache = cache
      plan.loss = loss
      plan.epochs = 2
      let options = TrainingOptions(
        folder: "\(folder)/\(round)-\(loss)", checkedViews: .blocks(0), acceptsError: false,
        threads: 1, log: { _ in })
      for epoch in try train(plan, options) {
        fastest[loss] = min(fastest[loss] ?? .infinity, epoch.seconds)
      }
    }
  }
  let peer = fastest["ce"] ?? .nan
  return losses.dropFirst().map {
    .lessIsBetter(
      "\($0) from the cache against ce", ours: fastest[$0] ?? .nan, peer: peer, unit: "s/epoch")
  }
}
