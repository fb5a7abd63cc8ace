import Basics
import Foundation
import TestSupport
import Testing
import Views

/// A recipe from YAML text.
func recipe(_ yaml: String) throws -> Recipe {
  let folder = ScratchFolder()
  try Files.writeAtomically(yaml, to: folder.file("test.yaml"))
  return try Recipe(contentsOf: folder.file("test.yaml"))
}

@Suite struct RecipeTests {
  @Test func `defaults, order of names, comments and spelling of numbers do not change the digest`()
    throws
  {
    let short = try recipe("{version: 1, operations: [{op: flip}, {op: pad-crop, pad: 2}]}")
    let long = try recipe(
      """
      # the same at length
      operations:
        - probability: 5.0e-1
          op: flip
        - {pad: 2, op: pad-crop, fill: 0}
      version: 1
      """)
    #expect(short == long)
    #expect(short.digest == long.digest)
  }

  @Test(arguments: [
    "[]", "[{op: flip, probability: 0.25}]", "[{op: pad-crop, pad: 3}]",
    "[{op: pad-crop, pad: 2, fill: 1}]", "[{op: pad-crop, pad: 2}, {op: flip}]",
  ])
  func `another recipe has another digest`(operations: String) throws {
    let base = try recipe("{version: 1, operations: [{op: flip}, {op: pad-crop, pad: 2}]}")
    let other = try recipe("{version: 1, operations: \(operations)}")
    #expect(other.digest != base.digest)
  }

  @Test func `the canonical form is frozen and reads as the same recipe`() throws {
    let all = try recipe(
      """
      version: 1
      operations:
        - {op: pad-crop, pad: 2}
        - {op: flip}
        - {op: affine, degrees: 10, scale: [0.9, 1.1]}
        - {op: brightness, amount: 0.5}
        - {op: contrast, amount: 0.25}
        - {op: blur, radius: [0, 1.5]}
        - {op: noise, deviation: [0, 0.125]}
        - {op: erase}
        - {op: substring}
        - {op: lowercase}
        - {op: cutmix}
      """)
    let text = try canonicalJSON(all.canonical)
    #expect(
      text == #"{"operations":[{"fill":0,"op":"pad-crop","pad":2},"#
        + #"{"op":"flip","probability":"32768/65536"},"#
        + #"{"degrees":"655360/65536","fill":0,"op":"affine","scale":["58982/65536","72090/65536"],"#
        + #""shear":"0/65536","translate":"0/65536"},"#
        + #"{"amount":"32768/65536","op":"brightness"},{"amount":"16384/65536","op":"contrast"},"#
        + #"{"op":"blur","radius":["0/65536","98304/65536"]},"#
        + #"{"deviation":["0/65536","8192/65536"],"op":"noise"},"#
        + #"{"area":["1311/65536","21627/65536"],"aspect":"216269/65536","fill":0,"op":"erase","#
        + #""probability":"32768/65536"},"#
        + #"{"op":"substring","share":["32768/65536","65536/65536"]},"#
        + #"{"op":"lowercase","probability":"32768/65536"},"#
        + #"{"area":["0/65536","32768/65536"],"op":"cutmix","probability":"65536/65536"}],"#
        + #""version":1}"#)
    let again = try Recipe(try parseJSON(text.utf8, source: "canonical"), source: "canonical")
    #expect(again == all)
    #expect(again.digest == Digest(of: text))
  }

  @Test func `the identity has no operations`() throws {
    #expect(try recipe("{version: 1, operations: []}") == .identity)
  }

  @Test(arguments: [
    (
      "{version: 1, operations: [{op: pad-crop, pad: -1}]}",
      "operations[0].pad must be an integer of at least 0"
    ),
    (
      "{version: 1, operations: [{op: rotate}]}",
      "operations[0].op must be one of 'resized-crop', 'pad-crop', 'flip'"
    ),
    ("{version: 1, operations: [{pad: 1}]}", "operations[0].op is missing"),
    ("{version: 2, operations: []}", "version must be 1, it is 2"),
    ("{version: 1}", "operations is missing"),
    (
      "{version: 1, operations: [{op: flip, probabilty: 1}]}",
      "operations[0].probabilty is not known"
    ),
    (
      "{version: 1, operations: [{op: flip, probability: 1.5}]}",
      "operations[0].probability must be a number"
    ),
    (
      "{version: 1, operations: [{op: flip, probability: 70000/65536}]}",
      "probability must lie from"
    ),
    (
      "{version: 1, operations: [{op: affine, degrees: 181}]}", "degrees must lie from 0.0 to 180.0"
    ),
    ("{version: 1, operations: [{op: affine, scale: [1.2, 0.8]}]}", "least value first"),
    ("{version: 1, operations: [{op: blur}]}", "radius is missing"),
    ("{version: 1, operations: [{op: blur, radius: [0, 8.1]}]}", "radius must lie from 0.0 to 8.0"),
    ("{version: 1, operations: [{op: noise, deviation: [0.2, 0.1]}]}", "least value first"),
    (
      "{version: 1, operations: [{op: affine, scale: [0, 1]}]}",
      "scale must lie from 0.0625 to 16.0"
    ),
    ("{version: 1, operations: [{op: substring, share: [1, 0.5]}]}", "least value first"),
    ("{version: 1, operations: [{op: erase, aspect: 0.5}]}", "aspect must lie from 1.0 to 16.0"),
    ("{version: 1, operations: [{op: mixup}, {op: flip}]}", "must be the last operation"),
    ("{version: 1, operations: [{op: mixup}, {op: cutmix}]}", "must be the last operation"),
    ("{version: 1, version: 1, operations: []}", "duplicated key"),
    ("{version: 1", "not valid YAML"),
    ("", "must be a set of named values, it is null"),
  ])
  func `a wrong recipe is refused in words`(yaml: String, words: String) throws {
    let problem = try #require(throws: Problem.self) { try recipe(yaml) }
    #expect(problem.kind == .configuration)
    #expect(problem.message.contains(words), "\(problem)")
    #expect(problem.message.contains("test.yaml"), "\(problem)")
  }

  @Test(arguments: [
    "fashion-mnist/identity", "fashion-mnist/crop-flip", "fashion-mnist/strong",
    "characters/wobble", "languages/pieces", "folders/crop-flip",
  ])
  func `the example recipes are recipes`(name: String) throws {
    let root = (#filePath as NSString).deletingLastPathComponent + "/../.."
    _ = try Recipe(contentsOf: "\(root)/Examples/\(name).recipe.yaml")
  }
}
