import Basics
import Foundation

/// The JPEG and PNG files of `Tests/Pictures`, and what each must decode to.
public enum PictureFiles {
  /// What a file decodes to.
  public struct Content: Decodable, Sendable {
    /// Height, width and channels.
    public var shape: [Int]
    /// SHA-256 of the pixels, HWC.
    public var digest: String
  }

  /// Where they are.
  public static let folder = #filePath.replacingOccurrences(
    of: "Sources/TestSupport/PictureFiles.swift", with: "Tests/Pictures/")

  /// All files by name.
  public static func golden() throws -> [String: Content] {
    try JSONDecoder().decode(
      [String: Content].self, from: Data(try Files.read(folder + "golden.json")))
  }

  /// A file's bytes.
  public static func read(_ name: String) throws -> [UInt8] { try Files.read(folder + name) }

  /// Copies all files into `pictures/png` and `pictures/jpeg` of a folder.
  public static func copy(to scratch: ScratchFolder) throws {
    for name in try golden().keys.sorted() {
      let format = name.hasSuffix(".png") ? "png" : "jpeg"
      try Files.makeFolder(scratch.file("pictures/\(format)"))
      try Files.writeAtomically(try read(name), to: scratch.file("pictures/\(format)/\(name)"))
    }
  }
}
