import Basics
import LogitCache

/// Which views of a job are measured for a plan, and how many at a time.
///
/// Runs of consecutive samples, evenly spaced over all samples and views, make groups; a group is held in memory as
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

  /// - Parameter rows: how many records to take, or all if there are fewer; with positions no view has more
  ///   than M, so as many views as surely stay below it.
  package init(_ manifest: Manifest, rows: Int, threads: Int) {
    let classes = manifest.encoding.classes
    let positions = manifest.encoding.positions?.maximum ?? 1
    self.threads = max(1, min(threads, Self.heldNumbers / (classes * Self.groupRows)))
    let most = min(Self.groupRows, Self.heldNumbers / (classes * self.threads))
    let held = max(1, most / positions)
    let taken = min(max(1, rows / positions), manifest.viewedSamples)
    let count = min(taken, max(2, (taken + held - 1) / held))
    let runs = PlanSample.runs(manifest, rows: taken, groups: count)
    groups = (0..<count).map { group in
      Array(runs[group * runs.count / count..<(group + 1) * runs.count / count])
    }
  }

  /// How many groups are learned from; a lone group serves for both.
  package var learningGroups: Int { max(1, groups.count / 2) }

  /// Evenly spaced runs, of other views in turn; no sample a second time before all had their first.
  ///
  /// - Parameter groups: there are at least so many runs.
  private static func runs(_ manifest: Manifest, rows: Int, groups: Int) -> [Run] {
    let (samples, views) = (manifest.dataSet.samples, manifest.views)
    let length = max(1, min(runRows, rows / groups, samples))
    let perView = (samples + length - 1) / length
    let all = perView * views
    let count =
      rows == manifest.viewedSamples ? all : min(all, max(groups, (rows + length - 1) / length))
    var runs: [Run] = []
    for round in 0..<views {
      let taken = min(perView, count - round * perView)
      if taken <= 0 { break }
      for index in spread(taken) {
        let place = index * perView / taken
        let first = place * length
        // Scattered views, another one for each round.
        let view = (Int(scattered(place) >> 32) + round) % views
        runs.append(Run(view: view, samples: first..<min(first + length, samples)))
      }
    }
    return runs
  }

  /// 0..<count in an order of which every stretch is spread over all.
  private static func spread(_ count: Int) -> [Int] {
    (0..<count).sorted { scattered($0) < scattered($1) }
  }

  /// Multiples of the golden ratio, in units of 2^-64: neighbours are far from each other.
  private static func scattered(_ index: Int) -> UInt64 {
    UInt64(index) &* 0x9E37_79B9_7F4A_7C15
  }
}
