import Arrays
import Basics
import LogitCache
import TestSupport
import Testing

/// A folder in which the command line is used: small pictures and a teacher that the program trained.
final class Desk {
  let folder = ScratchFolder()
  let pictures: SmallPictures
  let data: String
  let teacher: String
  let recipe: String
  let training: String

  init(samples: Int = 300, classes: Int = 4) throws {
    pictures = SmallPictures(count: samples, classes: classes)
    data = try pictures.write(to: folder)
    recipe = try folder.write(
      """
      version: 1
      operations:
        - {op: affine, degrees: 10, translate: 0.1}
        - {op: flip}
      """, to: "recipe.yaml")
    training = try folder.write(
      """
      version: 1
      data: \(data)
      model: mlp-16
      loss: ce
      epochs: 1
      batch: 32
      clip-norm: 1
      """, to: "training.yaml")
    teacher = try folder.write(
      "{version: 1, kind: native, weights: taught/model.safetensors, batch: 32}",
      to: "teacher.yaml")
    try succeed(["train", training, "--out", folder.file("taught")])
  }

  /// Runs the program and demands exit code 0.
  @discardableResult
  func succeed(_ arguments: [String], watch: (RunningProgram) -> Void = { _ in }) throws
    -> ProgramResult
  {
    let result = try Program.run(arguments, watch: watch)
    try #require(
      result.exitCode == 0,
      "\(arguments) ended with \(ending(of: result)): \(result.errors)")
    return result
  }

  /// `precompute` into the cache `name`, with all that it needs.
  func precompute(_ name: String = "cache", views: Int = 2, _ more: String...) -> [String] {
    [
      "precompute", folder.file(name), "--data", data, "--teacher", teacher, "--recipe", recipe,
      "--views", "\(views)",
    ] + more
  }

  /// `train` from the cache `name`.
  func train(_ name: String = "cache", out: String, _ more: String...) -> [String] {
    ["train", training, "--cache", folder.file(name), "--out", folder.file(out)] + more
  }

  /// Replaces the first values of one of the teacher's arrays, and perhaps its inputs' mean.
  func damageTeacher(_ name: String, firstValues: [Float], mean: String? = nil) throws {
    let path = folder.file("taught/model.safetensors")
    var file = try Safetensors.read(path)
    guard case .float32(var values)? = file.arrays[name]?.values else {
      throw Problem(.corrupt, "the teacher has no array \(name)")
    }
    values.replaceSubrange(0..<firstValues.count, with: firstValues)
    file.arrays[name]?.values = .float32(values)
    if let mean { file.metadata["mean"] = mean }
    try Safetensors.write(file, to: path)
  }
}

extension ScratchFolder {
  /// The arguments of a job in which what is made has one of a few names, with these and files as paths of the folder.
  func resolved(_ arguments: [String]) -> [String] {
    let made = ["taught", "cache", "plain", "student", "refused"]
    return arguments.map { argument in
      made.contains(argument) || argument.contains(".yaml") || argument.contains(".safetensors")
        ? file(argument) : argument
    }
  }
}

/// Runs the program, which must end with 0.
@discardableResult
func runToEnd(_ arguments: [String]) throws -> ProgramResult {
  let result = try Program.run(arguments)
  try #require(
    result.exitCode == 0, "\(arguments) ended with \(ending(of: result)): \(result.errors)")
  return result
}

/// "exit code 65" or "signal 9".
func ending(of result: ProgramResult) -> String {
  result.exitCode.map { "exit code \($0)" } ?? "signal \(result.signal ?? 0)"
}

/// Expects a refusal: an exit code, and a sentence on standard error that holds some texts.
func expectRefusal(
  _ arguments: [String], _ code: ProblemKind, _ texts: String...,
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let result = try Program.run(arguments)
  #expect(
    result.exitCode == code.rawValue,
    "\(arguments) ended with \(ending(of: result)): \(result.errors)",
    sourceLocation: sourceLocation)
  #expect(result.output == "", sourceLocation: sourceLocation)
  for text in texts {
    #expect(
      result.errors.contains(text), "'\(text)' is not in: \(result.errors)",
      sourceLocation: sourceLocation)
  }
}

/// The digest that `precompute` or `verify` printed.
func digest(in result: ProgramResult) -> String? {
  result.output.split(whereSeparator: \.isWhitespace).map(String.init).last { $0.count == 64 }
}
