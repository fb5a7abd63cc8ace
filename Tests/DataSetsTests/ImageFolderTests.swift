import Basics
import DataSets
import Foundation
import JPEG
import PNG
import TestSupport
import Testing

/// A folder with all test pictures in the classes jpeg and png, and a description.
private struct Album {
  let folder = ScratchFolder()

  init() throws { try PictureFiles.copy(to: folder) }

  @discardableResult
  func open(
    _ rest: String = "", path: String = "pictures", range: String = "",
    size: String = "{height: 8, width: 6}"
  ) throws -> any DataSet {
    try folder.write(
      """
      kind: folder
      name: album
      path: \(path)
      size: \(size)
      \(rest)
      """, to: "album.yaml")
    return try openDataSet(folder.file("album.yaml") + range)
  }

  func file(_ name: String) -> String { folder.file("pictures/" + name) }

  func copy(_ picture: String, to name: String) throws {
    try Files.writeAtomically(try PictureFiles.read(picture), to: file(name))
  }

  func problem(_ rest: String = "", path: String = "pictures") throws -> Problem {
    try #require(throws: Problem.self) { try open(rest, path: path) }
  }

  /// Changes the index and gives it a right last line.
  func forgeIndex(replacing old: String, with new: String) throws {
    let text = String(decoding: try index, as: UTF8.self)
    #expect(text.contains(old))
    let body = text.dropLast(69).replacingOccurrences(of: old, with: new)
    try folder.write("\(body)end\t\(Digest(of: body))", to: "album.yaml.index")
  }

  var index: [UInt8] { get throws { try Files.read(folder.file("album.yaml.index")) } }
}

extension DataSet {
  fileprivate func picture(_ sample: Int) throws -> Picture {
    var picture = Picture()
    try readPicture(of: sample, into: &picture)
    return picture
  }
}

/// Sizes and pixels, to find a picture again.
private struct Look: Hashable {
  var shape: [Int]
  var digest: Digest

  init(_ picture: Picture) {
    shape = [picture.height, picture.width, picture.channels]
    digest = Digest(of: picture.pixels)
  }
}

@Suite struct ImageFolderTests {
  private let album: Album

  init() throws { album = try Album() }

  @Test func `sub-folders are classes, and all pictures are there in their own sizes`() throws {
    let album = try album.open()
    let golden = try PictureFiles.golden()
    #expect(album.count == golden.count && album.classNames == ["jpeg", "png"])
    #expect(album.shape == .image(height: 8, width: 6, channels: 3) && album.picturesHaveOwnSizes)
    #expect(album.labels.count { $0 == 0 } == golden.keys.count { $0.hasSuffix(".jpg") })
    for sample in 0..<album.count {
      let picture = try album.picture(sample)
      #expect(picture.channels == 3)
      #expect(picture.pixels.count == picture.height * picture.width * 3)
      #expect(golden.values.contains { $0.shape.prefix(2) == [picture.height, picture.width] })
    }
  }

  @Test func `samples are in the order of their names' digests`() throws {
    let album = try album.open()
    let names = try PictureFiles.golden().keys.map {
      ($0.hasSuffix(".png") ? "png/" : "jpeg/") + $0
    }
    let ordered = names.sorted {
      Digest(of: $0).bytes.lexicographicallyPrecedes(Digest(of: $1).bytes)
    }
    #expect(album.labels == ordered.map { $0.hasPrefix("jpeg") ? 0 : 1 })
    // Any half has both classes.
    #expect(Set(album.labels.prefix(16)).count == 2 && Set(album.labels.suffix(16)).count == 2)
  }

  @Test func `grey and colours become what the description asks for`() throws {
    let (grey, colour) = (try album.open("channels: 1"), try album.open())
    for sample in 0..<grey.count {
      let (one, three) = (try grey.picture(sample), try colour.picture(sample))
      for pixel in 0..<one.pixels.count {
        let rgb = three.pixels[3 * pixel..<3 * pixel + 3].map { Double($0) }
        let luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
        #expect(abs(Double(one.pixels[pixel]) - luma) < 0.51)
      }
    }
    #expect(grey.fingerprint != colour.fingerprint)
  }

  @Test func `the fingerprint knows pixels, classes, size and order, not time and place`() throws {
    let other = try Album()
    let base = try album.open().fingerprint
    #expect(try other.open().fingerprint == base)
    let seen = [
      try other.open("classNames: [png, jpeg]").fingerprint,
      try other.open("first: 31").fingerprint,
      try other.open(range: "[1:32]").fingerprint, try other.open("channels: 1").fingerprint,
    ]
    try other.copy("rgb-gamma.png", to: "png/rgb-8.png")
    #expect(Set(seen + [base, try other.open().fingerprint]).count == 6)
    #expect(try album.open(range: "[0:31]").fingerprint == seen[1])
  }

  /// The same number stands in test_folders.py.
  @Test func `the fingerprint is frozen`() throws {
    guard jpegDecoder == "libjpeg-turbo 2.1.5, islow, fancy upsampling",
      pngDecoder == "libpng 1.6.39"
    else { return }
    let frozen = try album.open(size: "{height: 12, width: 10}").fingerprint
    #expect(
      frozen.description == "992e1187da857de161247e35d1222dec73c6e702f1d768b5c8846bc62255595d")
  }

  @Test func `a list gives order and classes itself`() throws {
    try album.folder.write(
      "pictures/png/rgb-8.png\tb\npictures/jpeg/inks.jpg\ta\r\npictures/png/grey-8.png\tb",
      to: "list.tsv")
    let listed = try album.open(path: "list.tsv")
    #expect(listed.labels == [1, 0, 1] && listed.classNames == ["a", "b"])
    #expect(try listed.picture(1).height == 37)
    #expect(try album.open("classNames: [b, a]", path: "list.tsv").labels == [0, 1, 0])
    try album.folder.write("pictures/png/rgb-8.png b", to: "list.tsv")
    #expect(try album.problem(path: "list.tsv").message.contains("line 1: expected a path, a tab"))
    try album.folder.write("a.png\tb\nb.png\tc\nc.png\td", to: "list.tsv")
    #expect(
      try album.problem("classNames: [b, c]", path: "list.tsv").message.contains(
        "'d' is not one of"))
    let absent = try album.problem(path: "list.tsv")
    #expect(absent.kind == .noInput && absent.message.contains("3 of 3 pictures"), "\(absent)")
  }

  @Test func `chosen classes are used in their order, hidden files never`() throws {
    try Files.makeFolder(album.file("gif"))
    try album.copy("rgb-8.png", to: "gif/1.PNG")
    try album.copy("rgb-8.png", to: "gif/.2.png")
    try Files.makeFolder(album.file(".hidden"))
    let all = try album.open()
    #expect(all.classNames == ["gif", "jpeg", "png"] && all.labels.count { $0 == 0 } == 1)
    let some = try album.open("classNames: [png, gif]")
    #expect(some.labels.count { $0 == 1 } == 1 && !some.labels.contains(2))
    #expect(
      try album.problem("classNames: [png, tiff]").message.contains(
        "no folder for the class 'tiff'"))
    #expect(try album.problem("classNames: [png, gif, png]").message.contains("'png' twice"))
  }

  @Test func `what is no picture of a class is refused, or skipped when told to`() throws {
    for name in ["notes.txt", "png/notes.txt", "png/folder.png/1.png"] {
      let album = try Album()
      let count = try album.open().count
      if name.contains("folder") { try Files.makeFolder(album.file("png/folder.png")) }
      try album.copy("rgb-8.png", to: name)
      let problem = try album.problem()
      #expect(problem.kind == .configuration && problem.message.contains("others: skip"))
      #expect(problem.message.contains(name.prefix(9)), "\(problem)")
      #expect(try album.open("others: skip").count == count)
    }
    try Files.makeFolder(album.file("empty"))
    #expect(try album.problem().message.contains("the class 'empty' has no picture"))
    try FileManager.default.removeItem(atPath: album.file("empty"))
    try FileManager.default.removeItem(atPath: album.file("png"))
    #expect(try album.problem().message.contains("1 class, at least 2"))
    #expect(try album.problem(path: "absent").kind == .noInput)
  }

  @Test func `a named pipe with a picture's name is refused or skipped, never waited for`() throws {
    let pipe = album.file("png/pipe.png")
    #expect(mkfifo(pipe, 0o600) == 0)
    let problem = try album.problem()
    #expect(problem.kind == .configuration)
    #expect(problem.message.contains("png/pipe.png is no picture file of a class"), "\(problem)")
    let skipped = try album.open("others: skip")
    #expect(try skipped.count == PictureFiles.golden().count)
    try album.folder.write("pictures/png/rgb-8.png\ta\npictures/png/pipe.png\tb", to: "list.tsv")
    let listed = try album.problem(path: "list.tsv")
    #expect(listed.message.contains("png/pipe.png: it is not a regular file"), "\(listed)")
    // A link to nothing is a picture that is missing.
    try FileManager.default.removeItem(atPath: pipe)
    try FileManager.default.createSymbolicLink(atPath: pipe, withDestinationPath: "nowhere.png")
    #expect(try album.problem("others: skip").message.contains("png/pipe.png: No such file"))
  }

  @Test func `damaged pictures are counted and named with the decoder's words`() throws {
    let whole = try PictureFiles.read("colour-420.jpg")
    try Files.writeAtomically(Array(whole.prefix(900)), to: album.file("jpeg/turned.jpg"))
    let one = try album.problem()
    #expect(one.kind == .corrupt, "\(one)")
    #expect(one.message.contains("jpeg/turned.jpg: Premature end of JPEG file"), "\(one)")
    try album.folder.write("GIF89a", to: "pictures/png/rgb-8.png")
    #expect(try album.problem().message.contains("2 of 32 pictures of"))
    try album.copy("turned.jpg", to: "jpeg/turned.jpg")
    #expect(
      try album.problem().message.contains("rgb-8.png begins like neither JPEG nor PNG: 474946"))
  }

  @Test func `a file's content counts, not its name`() throws {
    let before = try album.open().fingerprint
    try album.copy("rgb-8.png", to: "jpeg/grey.jpg")
    #expect(try album.open().fingerprint != before)
  }

  @Test func `pictures are decoded once, and again when their file changes`() throws {
    let base = try album.open().fingerprint
    func decoded() throws -> Int {
      var count = 0
      _ = try openDataSet(album.folder.file("album.yaml")) { _, total in count = total }
      return count
    }
    #expect(try decoded() == 0)
    try album.copy("rgb-8.png", to: "png/rgb-8.png")  // another time
    #expect(try decoded() == 1)
    #expect(try decoded() == 0)
    try album.copy("rgb-16.png", to: "png/rgb-8.png")
    #expect(try decoded() == 1)
    try album.copy("rgb-8.png", to: "png/rgb-8.png")
    #expect(try album.open().fingerprint == base)
    var index = try album.index
    index[100] ^= 1
    try Files.writeAtomically(index, to: album.folder.file("album.yaml.index"))
    #expect(try decoded() == 32)
    #expect(try album.open().fingerprint == base)
    try album.folder.write("another format", to: "album.yaml.index")
    #expect(try decoded() == 32)
    try album.forgeIndex(replacing: "libpng 1", with: "libpng 0")
    #expect(try decoded() == 32)
  }

  @Test func `a lying index costs a refusal, never a wrong view`() throws {
    let truth = try album.open().fingerprint
    let pixels = try PictureFiles.golden()["rgb-8.png"]!.digest
    try album.forgeIndex(replacing: pixels, with: String(pixels.reversed()))
    let deceived = try album.open()
    #expect(deceived.fingerprint != truth)
    let problem = try #require(throws: Problem.self) {
      for sample in 0..<deceived.count { _ = try deceived.picture(sample) }
    }
    #expect(problem.message.contains("rgb-8.png no longer holds"), "\(problem)")
  }

  @Test func `where the index cannot be written pictures are decoded every time`() throws {
    try Files.makeFolder(album.folder.file("album.yaml.index"))
    let first = try album.open().fingerprint
    #expect(try album.open().fingerprint == first)
  }

  @Test func `a picture that changes while the data set is open is refused by its path`() throws {
    let open = try album.open()
    let name = "png/rgb-8.png"
    let sample = try #require(
      (0..<open.count).first { sample in
        try! Look(open.picture(sample)).digest.description
          == PictureFiles.golden()["rgb-8.png"]!.digest
      })
    try album.copy("rgb-gamma.png", to: name)
    let changed = try #require(throws: Problem.self) { try open.picture(sample) }
    #expect(
      changed.kind == .corrupt && changed.message.contains("\(name) no longer holds"), "\(changed)")
    try FileManager.default.removeItem(atPath: album.file(name))
    let gone = try #require(throws: Problem.self) { try open.picture(sample) }
    #expect(gone.kind == .noInput && gone.message.contains(name), "\(gone)")
  }

  @Test func `a range keeps its own pictures and decoders`() throws {
    let whole = try album.open()
    let part = try album.open(range: "[5:9]")
    #expect(part.count == 4)
    for sample in 0..<4 {
      #expect(Look(try part.picture(sample)) == Look(try whole.picture(5 + sample)))
    }
    #expect(throws: Problem.self) { try album.open(range: "[5:33]") }
  }

  @Test func `only the pictures of a range are decoded, and the index keeps the others`() throws {
    func decoded(_ range: String) throws -> Int {
      var count = 0
      _ = try openDataSet(album.folder.file("album.yaml") + range) { _, total in count = total }
      return count
    }
    #expect(try album.open(range: "[5:9]").name.hasSuffix("album.yaml[5:9]"))
    #expect(try decoded("[7:12]") == 3)
    #expect(try decoded("[0:12]") == 5)
    #expect(try decoded("") == 20)
    #expect(try decoded("") == 0)
  }

  @Test(arguments: [
    ("channels: 2", "channels"),
    ("classNames: [one]", "classNames"), ("classes: [jpeg, png]", "classes"),
    ("others: ignore", "others"), ("index: x", "index"),
  ])
  func `a wrong description is refused in words`(rest: String, word: String) throws {
    #expect(try album.problem(rest).message.contains(word))
  }
}
