import Basics
import LogitCache

/// Which views of a job are measured for a plan, and how many at a time.
///
/// Runs of consecutive samples, evenly spaced over all views, are dealt to groups; a group is held in memory as
/// full rows while every choice measures it. The first half of the groups is what choices may learn from, bytes
/// are counted on the second.
package struct PlanSample: Sendable {
  /// Consecutive samples of one view.
  package struct Run: Sendable, Equatable {
    package var view: Int
    package var samples: Range<Int>
  }

  package let groups: [[Run]]
  package let threads: Int

  /// The longest run: shorter ones see more of the data, longer ones fill the teacher's batches.
  private static let runRows = 128
  /// Rows of a group: those of the largest block.
  private static let groupRows = 2048
  /// No more logits are held by all threads together: 512 MiB.
  package static let heldNumbers = 1 << 27

  /// - Parameter rows: how many records to take, or all if there are fewer.
  package init(_ manifest: Manifest, rows: Int, threads: Int) {
    let classes = manifest.encoding.classes
    self.threads = max(1, min(threads, Self.heldNumbers / (classes * Self.groupRows)))
    let held = max(1, min(Self.groupRows, Self.heldNumbers / (classes * self.threads)))
    let taken = min(rows, manifest.records)
    let count = min(taken, max(2, (taken + held - 1) / held))
    let runs = PlanSample.runs(manifest, rows: taken, groups: count)
    groups = (0..<count).map { group in
      runs.indices.filter { $0 % count == group }.map { runs[$0] }
    }
  }

  /// How many groups are learned from; a lone group serves for both.
  package var learningGroups: Int { max(1, groups.count / 2) }

  /// All runs of the job are as long as can be; those taken are evenly spaced, in an order whose every
  /// beginning is evenly spaced too.
  private static func runs(_ manifest: Manifest, rows: Int, groups: Int) -> [Run] {
    let samples = manifest.dataSet.samples
    // Every group gets one at least.
    let length = max(1, min(runRows, rows / groups, samples))
    let perView = (samples + length - 1) / length
    let all = perView * manifest.views
    let count = min(all, max(groups, rows / length))
    let order = (0..<count).sorted {
      UInt64($0) &* 0x9E37_79B9_7F4A_7C15 < UInt64($1) &* 0x9E37_79B9_7F4A_7C15
    }
    return order.map { index in
      let (view, run) = (index * all / count).quotientAndRemainder(dividingBy: perView)
      return Run(view: view, samples: run * length..<min((run + 1) * length, samples))
    }
  }
}
