import Basics
import DataSets
import Foundation
import Testing
import Views

/// Views made by a second implementation (Golden/generate.py), byte for byte.
@Suite struct GoldenTests {
  @Test(arguments: [
    "identity", "pad-crop", "flip", "affine", "affine-half-turn", "brightness", "contrast", "blur",
    "blur-wide", "noise", "erase", "mixup", "cutmix", "everything", "glyph",
    "substring", "lowercase", "short-texts",
    "resized-crop", "resized-crop-wide",
  ])
  func `views equal the golden ones`(name: String) throws {
    let path = try #require(Bundle.module.path(forResource: "Golden/\(name)", ofType: "json"))
    let golden = try JSONDecoder().decode(Golden.self, from: Data(try Files.read(path)))
    let recipe = try Recipe(golden.recipe, source: path)
    #expect(recipe.digest.description == golden.recipeDigest)
    let dataSet = try golden.dataSet()
    #expect(dataSet.fingerprint.description == golden.fingerprint)
    let seed = try #require(UInt64(golden.seed))
    let augmenter = try Augmenter(dataSet: dataSet, recipe: recipe, seed: seed)
    var batch = augmenter.makeBatch()
    for expected in golden.views {
      try augmenter.render(samples: [expected.sample], view: expected.view, into: &batch)
      let place = "sample \(expected.sample), view \(expected.view)" as Comment
      #expect(hexadecimal(batch.pixels) == expected.pixels, place)
      #expect(batch.partners == [expected.partner], place)
      #expect(batch.ownShares == [Float(expected.share) / 65536], place)
    }
    #expect(try augmenter.digest(samples: 0..<golden.count, view: 0).description == golden.digest)
  }

  @Test func `resized parts equal the golden ones`() throws {
    let path = try #require(Bundle.module.path(forResource: "Golden/resize", ofType: "json"))
    let cases = try JSONDecoder().decode([GoldenResize].self, from: Data(try Files.read(path)))
    var resizer = Resizer()
    for golden in cases {
      let (old, part) = (golden.old, golden.part)
      var picture = Picture()
      try testImages(old[0], old[1], old[2], count: 1).readPicture(of: 0, into: &picture)
      let target = ImageSize(height: golden.new[0], width: golden.new[1], channels: old[2])
      var image = [UInt8](repeating: 0, count: target.elementCount)
      resizer.resize(
        picture.pixels, ImageSize(height: old[0], width: old[1], channels: old[2]),
        Rectangle(top: part[0], left: part[1], height: part[2], width: part[3]), to: target,
        into: &image)
      #expect(hexadecimal(image) == golden.pixels, "\(part) of \(old) to \(golden.new)")
    }
  }
}

/// What a part of a picture must become in another size.
private struct GoldenResize: Decodable {
  var old: [Int]
  var part: [Int]
  var new: [Int]
  var pixels: String
}

private struct Golden: Decodable {
  var recipe: JSONValue
  var seed: String
  var shape: [Int]
  var texts: [String]?
  var count: Int
  var recipeDigest: String
  var fingerprint: String
  var digest: String
  var views: [View]

  func dataSet() throws -> any DataSet {
    if let texts { return try testTexts(texts, bytes: shape[0]) }
    return try testImages(shape[0], shape[1], shape[2], count: count)
  }

  struct View: Decodable {
    var sample: Int
    var view: Int
    var pixels: String
    var partner: Int32
    var share: Int
  }
}
