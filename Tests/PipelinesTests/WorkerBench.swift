import Basics
import DataSets
import LogitCache
import Pipelines
import Teachers
import TestSupport
import Testing
import Views

/// A folder with pictures and a fake worker as teacher.
struct WorkerBench {
  let bench: ONNXBench
  let classes: Int
  var folder: ScratchFolder { bench.folder }

  init(samples: Int = 20, classes: Int = 4) throws {
    bench = try ONNXBench(samples: samples, classes: classes)
    self.classes = classes
    try describe()
  }

  /// Writes the configuration; `settings` are further lines.
  func describe(_ options: [String] = [], _ settings: String...) throws {
    try describe(command: FakeWorker.command(options), settings)
  }

  func describe(command: String, _ settings: [String]) throws {
    var lines = ["version: 1", "kind: worker", "command: \(command)"] + settings
    if !settings.contains(where: { $0.hasPrefix("batch") }) { lines.append("batch: 8") }
    try folder.write(lines.joined(separator: "\n"), to: "teacher.yaml")
  }

  /// What the worker must give for samples.
  func expected(_ samples: Range<Int>) throws -> [Float] {
    let views = try bench.views(samples)
    return (0..<views.count).flatMap { view in
      FakeWorker.row(
        of: views.pixels[view * 64..<(view + 1) * 64].map(Float.init), classes: classes)
    }
  }

  /// A job of several blocks of several batches each.
  func job(_ cache: String = "cache", threads: Int = 1, views: Int = 20) -> PrecomputeJob {
    var job = bench.job(cache)
    job.making.threads = threads
    job.views = views
    return job
  }

  /// Runs the job in a new cache; gives its digest.
  func digest(_ cache: String, threads: Int = 1) throws -> Digest {
    try #require(try precompute(job(cache, threads: threads)).cacheDigest)
  }

  /// Expects that opening the teacher, or asking it, is refused with a sentence that holds some texts.
  func expectRefusal(
    _ kind: ProblemKind, _ texts: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let problem = #expect(throws: Problem.self, sourceLocation: sourceLocation) {
      try bench.logits(0..<20)
    }
    #expect(problem?.kind == kind, "\(problem?.message ?? "")", sourceLocation: sourceLocation)
    for text in texts {
      #expect(
        problem?.message.contains(text) == true, "'\(text)' is not in: \(problem?.message ?? "")",
        sourceLocation: sourceLocation)
    }
  }
}
