import ArgumentParser
import LogitCache
import Pipelines

/// What a cache keeps of a row of C logits; of `precompute` and `import`.
struct RecordOptions: ParsableArguments {
  @Option(
    name: .customLong("k"),
    help:
      "Classes kept of every record; default: all up to 64, else 20, or 10 with --tail subspace.")
  var k: Int?

  @Option(
    help: """
      What is kept of the classes outside --k: mass, their mass at a few temperatures; subspace, that \
      and every one of their logits, as coefficients on axes learned from the teacher's rows \
      (losses mse, dist, and any above T = 1).
      """)
  var tail = TailKind.mass

  @Option(
    help: """
      The step of --tail subspace's coefficients, in nats: 1/16 to 256 in sixteenths; smaller is more \
      exact and larger. Default: 4.
      """)
  var tailStep: TailStep?

  @Option(help: "The most axes of --tail subspace, 1 to 4096. Default: 1024.")
  var tailAxes: Int?

  @Option(
    help: """
      What is kept of the order of the classes outside --k: none; full, all of it, exact (loss pld). For at \
      most 65,536 classes, and not with --tail subspace.
      """)
  var ranking = RankingKind.none

  func validate() throws {
    guard k.map({ $0 >= 1 }) ?? true else { throw ValidationError("--k must be at least 1") }
    guard tail == .subspace || (tailStep == nil && tailAxes == nil) else {
      throw ValidationError("--tail-step and --tail-axes belong to --tail subspace")
    }
    guard tailAxes.map({ (1...4096).contains($0) }) ?? true else {
      throw ValidationError("--tail-axes must be in 1...4096")
    }
    guard ranking == .none || tail == .mass else {
      throw ValidationError(
        "--ranking full and --tail subspace both keep the classes outside --k: choose one")
    }
  }

  /// What is kept.
  var kept: KeptRecord {
    KeptRecord(k: k, tail: subspaceTail, ranking: ranking == .full ? .full : nil)
  }

  private var subspaceTail: SubspaceTail? {
    guard tail == .subspace else { return nil }
    var settings = tailStep?.tail ?? SubspaceTail(stepSixteenths: 4 * 16)
    if let tailAxes { settings.maximumAxes = tailAxes }
    return settings
  }
}

/// What a cache keeps of the classes outside the head.
enum TailKind: String, ExpressibleByArgument, CaseIterable {
  case mass
  case subspace
}

/// What a cache keeps of the order of the classes outside the head.
enum RankingKind: String, ExpressibleByArgument, CaseIterable {
  case none
  case full
}

/// A step such as 8, 0.5 or 1/4.
struct TailStep: ExpressibleByArgument {
  let tail: SubspaceTail

  init?(argument: String) {
    let parts = argument.split(separator: "/", omittingEmptySubsequences: false).map { Double($0) }
    guard (1...2).contains(parts.count), let top = parts[0], let bottom = parts[parts.count - 1],
      let tail = SubspaceTail(step: parts.count == 1 ? top : top / bottom)
    else { return nil }
    self.tail = tail
  }
}
