/// A published configuration.
public struct LossPreset: Hashable, Sendable {
  /// What `LossConfiguration(parsing:)` knows it by.
  public let name: String
  /// The losses, weights and temperatures.
  public let configuration: LossConfiguration
  /// Where the numbers come from.
  public let source: String
}

extension LossConfiguration {
  /// Cross-entropy alone: the baseline, and what a teacher is trained with.
  public static let crossEntropy = LossConfiguration([.crossEntropy()])

  /// The hyper-parameters of the papers and their authors' repositories.
  ///
  /// ND's rows are `kd++`, `dist++` and `dkd++` by teacher-student pair: R = ResNet, W = wide
  /// ResNet, MV = MobileNet, SV = ShuffleNet.
  public static let presets: [LossPreset] = presetTable.flatMap { source, rows in
    rows.map { name, text in
      LossPreset(name: name, configuration: try! LossConfiguration(sum: text), source: source)
    }
  }
}

private let presetTable: [(source: String, rows: [(name: String, text: String)])] = [
  (
    "mdistiller (Zhao and others 2022, arXiv:2203.08679), configs/cifar100 and configs/imagenet",
    [
      ("kd-cifar100", "0.1*ce+0.9*kd@4"),
      ("kd-imagenet", "0.5*ce+0.5*kd"),
      ("dkd-cifar100", "ce+dkd@4;warmup=20"),
      ("dkd-imagenet-r34-r18", "ce+dkd:beta=0.5;warmup=1"),
      ("dkd-imagenet-r50-mv1", "ce+dkd:beta=2;warmup=1"),
    ]
  ),
  (
    "DIST (Huang and others 2022, arXiv:2205.10536), authors' code",
    [
      ("kdt4-imagenet", "0.9*ce+kd@4"),
      ("dist-cifar100", "ce+2*dist@4"),
      ("dist-imagenet", "ce+2*dist"),
    ]
  ),
  (
    "KL against MSE (Kim and others 2021, arXiv:2105.08919), authors' code",
    [
      ("kd-soft-cifar100", "kd@20"),
      ("mse-cifar100", "mse"),
    ]
  ),
  (
    "PLD (NeurIPS 2025), text and tables",
    [
      ("pld-cifar100", "pld@4"),
      ("pld-imagenet", "pld"),
      ("kd-pld-baseline-imagenet", "0.1*ce+0.9*kd@2"),
      ("dist-pld-baseline-imagenet", "0.1*ce+0.45*dist"),
    ]
  ),
  (
    "ND (Wang and others 2023, arXiv:2305.17007), CIFAR-100 scripts",
    [
      ("kd++-cifar100-r56-r20", "ce+kd@4+2*nd;warmup=20"),
      ("kd++-cifar100-r32x4-r8x4", "ce+3.5*kd@4+2*nd;warmup=20"),
      ("kd++-cifar100-w402-w401", "ce+kd@4+1.5*nd;warmup=20"),
      ("kd++-cifar100-r50-mv2", "ce+3*kd@4+0.5*nd;warmup=20"),
      ("kd++-cifar100-r32x4-sv1", "ce+2.5*kd@4+1.5*nd;warmup=20"),
      ("kd++-cifar100-r32x4-sv2", "ce+4*kd@4+0.5*nd;warmup=20"),
      ("dist++-cifar100-r56-r20", "ce+2*dist@4+nd;warmup=20"),
      ("dist++-cifar100-r32x4-r8x4", "ce+1.5*dist@4+4*nd;warmup=20"),
      ("dist++-cifar100-w402-w401", "ce+2.5*dist@4+3*nd;warmup=20"),
      ("dist++-cifar100-r50-mv2", "ce+7*dist@4+nd;warmup=20"),
      ("dist++-cifar100-r32x4-sv1", "ce+2.5*dist@4+3*nd;warmup=20"),
      ("dist++-cifar100-r32x4-sv2", "ce+3*dist@4+4*nd;warmup=20"),
      ("dkd++-cifar100-r56-r20", "ce+dkd@4:alpha=2.5:beta=4+3.5*nd;warmup=20"),
      ("dkd++-cifar100-r32x4-r8x4", "ce+dkd@4:alpha=2+0.5*nd;warmup=20"),
      ("dkd++-cifar100-w402-w401", "ce+dkd@4:beta=6+nd;warmup=20"),
      ("dkd++-cifar100-r50-mv2", "ce+dkd@4:alpha=0.5+nd;warmup=20"),
      ("dkd++-cifar100-r32x4-sv1", "ce+dkd@4:alpha=0.5+4*nd;warmup=20"),
      ("dkd++-cifar100-r32x4-sv2", "ce+dkd@4:alpha=0.5:beta=6+0.5*nd;warmup=20"),
    ]
  ),
  (
    "ND (Wang and others 2023, arXiv:2305.17007), ImageNet scripts",
    [
      ("kd++-imagenet-r34-r18", "ce+2.5*kd+nd;warmup=5"),
      ("kd++-imagenet-r50-r18", "ce+4*kd+nd;warmup=5"),
      ("kd++-imagenet-r101-r18", "ce+3.5*kd+4*nd;warmup=5"),
      ("kd++-imagenet-r152-r18", "ce+4*kd+2*nd;warmup=5"),
      ("kd++-imagenet-r50-mv1", "ce+4*kd+nd;warmup=5"),
      ("dkd++-imagenet-r34-r18", "ce+dkd:alpha=0.8:beta=0.5+nd;warmup=5"),
      ("dkd++-imagenet-r50-r18", "ce+dkd:alpha=0.6:beta=0.5+2*nd;warmup=5"),
      ("dkd++-imagenet-r101-r18", "ce+dkd:alpha=0.8:beta=0.5+nd;warmup=5"),
      ("dkd++-imagenet-r152-r18", "ce+dkd:beta=1+nd;warmup=5"),
      ("dkd++-imagenet-r50-mv1", "ce+dkd:alpha=0.8:beta=1+nd;warmup=5"),
    ]
  ),
]
