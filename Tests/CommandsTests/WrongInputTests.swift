import Arrays
import Basics
import Foundation
import TestSupport
import Testing

@Suite struct WrongInputTests {
  private let desk: Desk
  private var folder: ScratchFolder { desk.folder }

  init() throws { desk = try Desk() }

  /// `precompute` into a new cache with one argument changed; the cache must not come to be.
  private func expectPrecompute(
    with option: String, _ value: String, refused code: ProblemKind, _ texts: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    var arguments = desk.precompute("new")
    arguments[arguments.firstIndex(of: option)! + 1] = value
    let result = try Program.run(arguments)
    #expect(
      result.exitCode == code.rawValue, "\(ending(of: result)): \(result.errors)",
      sourceLocation: sourceLocation)
    for text in texts {
      #expect(
        result.errors.contains(text), "'\(text)' is not in: \(result.errors)",
        sourceLocation: sourceLocation)
    }
    #expect(!Files.exists(folder.file("new")), sourceLocation: sourceLocation)
  }

  // MARK: - Files that are missing or cut

  @Test func `a missing data set is refused by its name`() throws {
    try expectPrecompute(
      with: "--data", "fashion-mnist/tests", refused: .noInput, "'fashion-mnist/tests'",
      "fashion-mnist/train")
    try remove(folder.file("data.images.npy"))
    try expectPrecompute(
      with: "--data", desk.data, refused: .noInput, folder.file("data.images.npy"),
      "No such file")
  }

  @Test func `a missing teacher is refused by its path`() throws {
    try expectPrecompute(with: "--teacher", folder.file("no.yaml"), refused: .noInput, "no.yaml")
    try remove(folder.file("taught/model.safetensors"))
    try expectPrecompute(
      with: "--teacher", desk.teacher, refused: .noInput, folder.file("taught/model.safetensors"))
  }

  @Test func `a missing recipe is refused by its path`() throws {
    try expectPrecompute(with: "--recipe", folder.file("no.yaml"), refused: .noInput, "no.yaml")
  }

  @Test func `a cut teacher is refused by its path`() throws {
    let path = folder.file("taught/model.safetensors")
    let bytes = try Files.read(path)
    for length in [0, 7, 100, bytes.count - 1] {
      try Files.writeAtomically(Array(bytes.prefix(length)), to: path)
      try expectPrecompute(with: "--teacher", desk.teacher, refused: .corrupt, path)
    }
  }

  /// Writes 20 black pictures of 8 x 8 as IDX files.
  private func writeIDX(images: [UInt8], labels: [UInt8], suffix: String = "") throws -> String {
    try Files.writeAtomically(images, to: folder.file("images" + suffix))
    try Files.writeAtomically(labels, to: folder.file("labels" + suffix))
    return try folder.write(
      """
      {kind: idx, name: small, images: images\(suffix), labels: labels\(suffix),
       classNames: [a, b, c, d]}
      """, to: "idx.yaml")
  }

  private let imagesIDX: [UInt8] =
    [0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 8, 0, 0, 0, 8] + [UInt8](repeating: 9, count: 20 * 64)
  private let labelsIDX: [UInt8] =
    [0, 0, 8, 1, 0, 0, 0, 20] + (0..<20).map { UInt8($0 % 4) }

  @Test func `a cut IDX file is refused by its path and both lengths`() throws {
    let data = try writeIDX(images: imagesIDX, labels: labelsIDX)
    try desk.succeed(["precompute", folder.file("idx"), "--data", data, "--teacher", desk.teacher])
    for length in [imagesIDX.count - 1, imagesIDX.count / 2, 16] {
      _ = try writeIDX(images: Array(imagesIDX.prefix(length)), labels: labelsIDX)
      try expectPrecompute(
        with: "--data", data, refused: .corrupt, folder.file("images"), "has \(length) bytes",
        "asks for \(imagesIDX.count)")
    }
    for length in [10, 3, 0] {
      _ = try writeIDX(images: Array(imagesIDX.prefix(length)), labels: labelsIDX)
      try expectPrecompute(with: "--data", data, refused: .corrupt, folder.file("images"))
    }
    _ = try writeIDX(images: imagesIDX, labels: Array(labelsIDX.dropLast()))
    try expectPrecompute(with: "--data", data, refused: .corrupt, folder.file("labels"))
  }

  @Test func `a cut gzip file is refused by its path`() throws {
    let packed = "/usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz"
    let labels = try Files.read(packed)
    for length in [labels.count - 1, labels.count - 8, labels.count / 2, 12] {
      let data = try writeIDX(
        images: imagesIDX, labels: Array(labels.prefix(length)), suffix: ".gz")
      try expectPrecompute(with: "--data", data, refused: .corrupt, folder.file("labels.gz"))
    }
  }

  // MARK: - Things that do not belong together

  @Test func `a wrong class count is refused by both counts`() throws {
    let five = try SmallPictures(count: 50, classes: 5).write(to: folder, name: "five")
    try expectPrecompute(with: "--data", five, refused: .corrupt, "names 4 classes", "five has 5")
  }

  @Test func `pictures of another size are refused by both sizes`() throws {
    let large = try SmallPictures(count: 50, side: 10).write(to: folder, name: "large")
    try expectPrecompute(with: "--data", large, refused: .corrupt, "takes 8x8x1 inputs", "10x10x1")
  }

  @Test func `a label that is no class is refused by its sample`() throws {
    var pictures = desk.pictures
    pictures.labels[17] = 4
    let data = try pictures.write(to: folder, name: "wrong")
    try expectPrecompute(with: "--data", data, refused: .corrupt, "sample 17 has the label 4")
  }

  @Test func `a teacher that gives NaN is refused by sample and view`() throws {
    // Two infinite hidden units, one added and one subtracted. The mean makes all inputs positive.
    try desk.damageTeacher("hidden0.weight", firstValues: [3e38, 3e38], mean: "-1.0")
    try desk.damageTeacher("classifier.weight", firstValues: [1, 1, 1, 1, -1, -1, -1, -1])
    let result = try Program.run(desk.precompute("new"))
    #expect(result.exitCode == 65)
    #expect(result.errors.contains("teacher gave NaN for sample 0, view 0, class 0"))
    #expect(!FileManager.default.fileExists(atPath: folder.file("new") + "/data.mdb"))
  }

  @Test func `a loss on features is refused by a cache that keeps none`() throws {
    try desk.succeed(desk.precompute())
    let cache = desk.folder.file("cache")
    try expectRefusal(
      desk.train(out: "new", "--loss", "ce+nd"), .corrupt, "'ce+nd'", cache, "--features")
  }

  @Test func `a loss whose certified error is too large is refused, and trained on demand`() throws
  {
    try desk.succeed(desk.precompute("cache", views: 1, "--k", "1"))
    try expectRefusal(
      desk.train(out: "new", "--loss", "mse"), .corrupt, "'mse'", desk.folder.file("cache"),
      "mseMissingEnergy is ", "--accept-error")
    #expect(!Files.exists(folder.file("new/model.safetensors")))
    let result = try desk.succeed(
      desk.train(out: "new", "--loss", "mse", "--accept-error", "--json"))
    #expect(result.errors.contains("accepted error: mse: mseMissingEnergy is "))
    let line = try parseJSON(result.output.utf8, source: "metrics")
    #expect(line["acceptedErrors"]?[0]?["loss"]?.string == "mse")
  }

  // MARK: - Configuration

  @Test(arguments: [
    ("version: 1\noperations: [", "valid YAML"),
    ("version: 1\noperations: []\nseed: 3", "seed"),
    ("{version: 1, operations: [{op: flip, probabilty: 0.5}]}", "probabilty"),
    ("{version: 1, operations: [{op: spin}]}", "operations[0]"),
    ("{version: 2, operations: []}", "version"),
    ("{operations: []}", "version"),
    ("- 1", "list"),
    ("version: 1\nversion: 1\noperations: []", "version"),
  ])
  func `a wrong recipe is refused by its path and what is wrong`(
    text: String, named: String
  ) throws {
    let recipe = try folder.write(text, to: "wrong.yaml")
    try expectPrecompute(with: "--recipe", recipe, refused: .configuration, recipe, named)
  }

  @Test(arguments: [
    ("{version: 1, kind: caffe, weights: a}", "caffe"), ("{version: 1, kind: native}", "weights"),
    ("{version: 1, kind: native, weights: a, batch: 0}", "batch"),
  ])
  func `a wrong teacher file is refused by its path and what is wrong`(
    text: String, named: String
  ) throws {
    let teacher = try folder.write(text, to: "wrong.yaml")
    try expectPrecompute(with: "--teacher", teacher, refused: .configuration, teacher, named)
  }

  @Test(arguments: [
    ("--loss", "foo", "foo"), ("--loss", "kd@", "kd@"), ("--loss", "nd@4", "nd@4"),
    ("--model", "vgg-16", "vgg-16"), ("--model", "resnet-9", "resnet-9"),
    ("--model", "lenet", "16x16"),
  ])
  func `a loss or network that does not exist is refused by name`(
    option: String, value: String, named: String
  ) throws {
    let arguments = ["train", desk.training, "--out", folder.file("new"), option, value]
    try expectRefusal(arguments, .configuration, named)
    #expect(!Files.exists(folder.file("new")))
  }

  @Test(arguments: [
    ("epochs: 1", "epochs: 0"), ("loss: ce", "los: ce"), ("batch: 32", "batch: many"),
    ("version: 1", "version: 3"),
  ])
  func `a wrong training file is refused by its path and what is wrong`(
    right: String, wrong: String
  ) throws {
    let text = String(decoding: try Files.read(desk.training), as: UTF8.self)
    let training = try folder.write(
      text.replacingOccurrences(of: right, with: wrong), to: "wrong.yaml")
    let name = String(wrong.prefix { $0 != ":" })
    try expectRefusal(
      ["train", training, "--out", folder.file("new")], .configuration, training, name)
  }

  // MARK: - Command line

  @Test(arguments: [
    (["--k", "0"], "--k"), (["--k", "5"], "1...4"), (["--k", "many"], "many"),
    (["--views", "0"], "--views"), (["--seed", "9223372036854775808"], "2^63"),
    (["--seed", "-1"], "seed"), (["--commit-seconds", "-1"], "--commit-seconds"),
    (["--threads", "0"], "--threads"), (["--threads", "9223372036854775807"], "--threads"),
    (["--nonsense"], "--nonsense"), (["--tail", "all"], "'mass' and 'subspace'"),
    (["--tail-step", "4"], "--tail-step and --tail-axes belong to --tail subspace"),
    (["--tail", "mass", "--tail-axes", "9"], "belong to --tail subspace"),
    (["--k", "2", "--tail", "subspace", "--tail-step", "0.1"], "'0.1' is invalid"),
    (["--k", "2", "--tail", "subspace", "--tail-step", "512"], "'512' is invalid"),
    (["--k", "2", "--tail", "subspace", "--tail-axes", "0"], "--tail-axes must be in 1...4096"),
    (["--tail", "subspace"], "choose a smaller --k"),
    (["--ranking", "half"], "'none' and 'full'"),
    (["--ranking", "full"], "leave out --ranking, or choose a smaller --k"),
    (
      ["--k", "2", "--ranking", "full", "--tail", "subspace"],
      "--ranking full and --tail subspace both keep"
    ),
    (["--shard", "0/4"], "1 <= I <= N"),
    (["--shard", "5/4"], "1 <= I <= N"), (["--shard", "3"], "such as 3/16"),
    (["--shard", "slurm/4/4"], "such as 3/16"),
    (["--data", "fashion-mnist/test[5:2]"], "[5:2]"),
    (["--data", "fashion-mnist/test[0:10001]"], "10000"),
  ])
  func `a wrong option of precompute is refused by name`(
    options: [String], named: String
  ) throws {
    let result = try Program.run(desk.precompute("new") + options)
    #expect(result.exitCode == 64, "\(result.errors)")
    #expect(result.errors.contains(named), "\(result.errors)")
    #expect(!Files.exists(folder.file("new")))
  }

  @Test(arguments: ["9223372036854775807", "16777217"])
  func `more views than fit a cache are refused before the teacher runs`(views: String) throws {
    try expectRefusal(
      desk.precompute("new") + ["--views", views], .configuration, "\(views) views")
    #expect(!Files.exists(folder.file("new")))
  }

  @Test func `a calibration is not taken from a folder without a cache`() throws {
    let other = folder.file("other")
    try expectRefusal(
      desk.precompute("new", views: 2, "--calibration", other), .noInput,
      "there is no cache in \(other)")
    #expect(!Files.exists(folder.file("new")))
  }

  @Test(arguments: [
    ["--check-views", "nonsense"], ["--check-views", "-1"], ["--epochs", "0"], ["--seed", "-1"],
    ["--threads", "0"], ["--epochs", "9223372036854775807"],
  ])
  func `a wrong option of train is refused by name`(options: [String]) throws {
    try expectRefusal(
      ["train", desk.training, "--out", folder.file("new")] + options, .usage, options[0])
  }

  @Test func `missing arguments and unknown commands are refused as usage`() throws {
    for arguments in [
      ["precompute"], ["train", desk.training], ["evaluate"], ["compress", "a"],
      ["merge", "a"], ["derive", "a"], ["diff", "a"], ["status"], ["compact"],
      ["status", "a", "--shards", "0"], ["status", "a", "--missing", "--json"],
      ["diff", "a", "b", "--worst", "-1"], ["derive", "a", "--from", "b", "--k", "many"],
    ] {
      try expectRefusal(arguments, .usage, "Usage: logitcache")
    }
  }

  @Test func `a loss that compares with a teacher needs a cache`() throws {
    try expectRefusal(
      ["train", desk.training, "--out", folder.file("new"), "--loss", "kd@4"], .usage, "'kd@4'",
      "--cache")
  }

  @Test(arguments: [
    "verify", "inspect", "train", "status", "compact", "merge", "derive", "diff",
  ])
  func `a missing cache is refused by its path`(command: String) throws {
    let cache = folder.file("no")
    let arguments =
      switch command {
      case "train": desk.train("no", out: "new")
      case "merge": [command, folder.file("new"), cache]
      case "derive": [command, folder.file("new"), "--from", cache, "--k", "1"]
      case "diff": [command, cache, cache]
      default: [command, cache]
      }
    try expectRefusal(arguments, .noInput, cache)
    #expect(!Files.exists(folder.file("new")))
  }

  @Test func `an empty folder is no cache, and precompute can begin one in it`() throws {
    try Files.makeFolder(folder.file("empty"))
    for command in ["verify", "inspect"] {
      try expectRefusal([command, folder.file("empty")], .noInput, "empty")
    }
    try desk.succeed(desk.precompute("empty"))
  }

  @Test func `a place that cannot be written is refused by its path`() throws {
    let file = try folder.write("text", to: "file")
    var arguments = desk.precompute("new")
    arguments[1] = file + "/cache"
    try expectRefusal(arguments, .cannotCreate, file)
    try expectRefusal(
      ["train", desk.training, "--out", file + "/out"], .cannotCreate, file)
  }

  // MARK: - Nothing is lost

  @Test func `a refused command leaves an existing cache byte for byte`() throws {
    try desk.succeed(desk.precompute())
    let before = try content(ofFolder: folder.file("cache"))
    try expectRefusal(
      desk.precompute("cache", views: 2, "--seed", "2"), .corrupt,
      "seed: the cache has 1, this run has 2")
    try expectRefusal(
      desk.precompute("cache", views: 3), .corrupt, "views: the cache has 2, this run has 3")
    try expectRefusal(
      desk.precompute("cache", views: 2, "--k", "2"), .corrupt,
      "encoding.k: the cache has 4, this run has 2")
    try desk.damageTeacher("classifier.bias", firstValues: [0.5])
    try expectRefusal(desk.precompute(), .corrupt, "teacher.weights")
    #expect(try content(ofFolder: folder.file("cache")) == before)
    try desk.succeed(["verify", folder.file("cache")])
  }
}
