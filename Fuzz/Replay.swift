#if !FUZZING
  import Basics
  import Foundation

  /// The fuzzer's test without the fuzzer: runs inputs once, or makes the seed corpus.
  @main struct Replay {
    static func main() {
      let arguments = Array(CommandLine.arguments.dropFirst())
      do {
        switch (arguments.first, arguments.count) {
        case ("--make-corpus", 2): try makeCorpus(arguments[1])
        case (let path?, 1) where !path.hasPrefix("-"): try replay(path)
        default: throw Problem(.usage, "usage: fuzz FOLDER | fuzz --make-corpus FOLDER")
        }
      } catch {
        StandardError.write("fuzz: \(error)\n")
        exit((error as? Problem)?.kind.rawValue ?? 70)
      }
    }

    /// Checks every file of a folder, or one file; a broken rule ends the program with a message.
    private static func replay(_ path: String) throws {
      let names = try? FileManager.default.contentsOfDirectory(atPath: path)
      var accepted = 0
      for name in names?.sorted() ?? [""] {
        let file = names == nil ? path : path + "/" + name
        accepted += try check(try Files.read(file)) ? 1 : 0
      }
      print("\(names?.count ?? 1) inputs, \(accepted) accepted")
    }

    /// One sound block of every shape, in every mode.
    private static func makeCorpus(_ folder: String) throws {
      try Files.makeFolder(folder)
      for (index, shape) in Shape.all.enumerated() {
        let subject = try Subject(shape)
        for mode in Mode.allCases {
          try Files.writeAtomically(
            [UInt8(index), mode.rawValue] + subject.soundInput(mode),
            to: "\(folder)/\(index)-\(mode)")
        }
      }
    }
  }
#endif
