import ArgumentParser
import Basics
import LogitCache
import Pipelines

struct PrecomputeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "precompute",
    abstract: "Run a teacher over every view of a data set and keep its top-k logits.",
    discussion: """
      The same command after any interruption goes on where it stopped and ends with the same \
      cache digest. A cache that was begun with other settings is refused, untouched.

      With --shard 3/16 the run makes only the third of sixteen parts, in a cache folder of its own; \
      'merge' joins the parts, 'status --missing' names those that are not done. In a Slurm job array, \
      --shard slurm takes both numbers from SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT of an array \
      that is numbered 1-N or 0-(N-1) without gaps; --shard slurm/16 takes the number alone, 1-16, so \
      that only some parts can be run again: sbatch --array=3,7,12-15.

      Every part first asks the teacher about the same few blocks of the whole and learns from them how to \
      write records small; --calibration takes this from a part that has begun.
      """)

  @Argument(help: "The cache: a folder to create or to continue.")
  var cache: String

  @OptionGroup var job: JobOptions

  @OptionGroup var record: RecordOptions

  @OptionGroup var making: MakingOptions

  @Flag(help: "Print the result as JSON (schemas/precompute.schema.json).")
  var json = false

  func validate() throws { _ = try job.needed }

  func run() throws {
    Interruption.install()
    let result = try precompute(
      job.job(kept: record.kept, making: making.making("precompute", cache)))
    if json { return print(try readableJSON(result), terminator: "") }
    printResult(result, of: cache)
  }
}
