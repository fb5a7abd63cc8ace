import ArgumentParser
import Foundation
import LogitCache

/// Reads `--shard`: a part of the work, given as I/N or taken from a Slurm job array.
///
/// - Throws: `ValidationError` in words, also when the array cannot say which part it is.
func parseShard(_ argument: String) throws -> Shard {
  let words = argument.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
  if words[0] == "slurm", words.count <= 2 {
    let array = try SlurmArray(ProcessInfo.processInfo.environment)
    return words.count == 1 ? try array.shard : try array.shard(of: words[1])
  }
  guard let shard = Shard(argument) else {
    throw ValidationError(
      "a shard is I/N with 1 <= I <= N <= \(Shard.limit), such as 3/16, or slurm, or slurm/N")
  }
  return shard
}

/// What Slurm tells a task of a job array.
private struct SlurmArray {
  let task: Int
  let count: Int?
  let first: Int?
  let last: Int?

  init(_ environment: [String: String]) throws {
    func number(_ name: String) -> Int? { environment[name].flatMap { Int($0) } }
    guard let task = number("SLURM_ARRAY_TASK_ID") else {
      throw ValidationError(
        "SLURM_ARRAY_TASK_ID is not set: --shard slurm belongs into a job array (sbatch --array=1-16)"
      )
    }
    self.task = task
    count = number("SLURM_ARRAY_TASK_COUNT")
    first = number("SLURM_ARRAY_TASK_MIN")
    last = number("SLURM_ARRAY_TASK_MAX")
  }

  /// The task of a whole array.
  ///
  /// An array that was submitted again for some tasks counts only those, so the count is N only when the
  /// tasks are numbered from 0 or 1 without gaps.
  var shard: Shard {
    get throws {
      let first = first ?? 1
      guard let count, (0...1).contains(first), (last ?? first + count - 1) - first == count - 1,
        let shard = Shard(task - first + 1, of: count)
      else {
        throw ValidationError(
          "task \(task) of \(count.map(String.init) ?? "unknown") Slurm tasks does not say which part "
            + "it is: number the array 1-N without gaps, or give the number of parts, --shard slurm/N"
        )
      }
      return shard
    }
  }

  func shard(of text: String) throws -> Shard {
    guard let count = Int(text), let shard = Shard(task, of: count) else {
      throw ValidationError(
        "task \(task) is no part of \(text): with --shard slurm/N, number the array 1-N")
    }
    return shard
  }
}
