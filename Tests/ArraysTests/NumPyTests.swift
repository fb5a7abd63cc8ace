import Arrays
import Basics
import TestSupport
import Testing

@Suite struct NumPyTests {
  @Test(arguments: 0..<20 as Range<UInt64>)
  func `what is written is read back, bit for bit`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let array = randomArray(&random)
    let bytes = NumPy.encode(array)
    #expect(try NumPy.decode(bytes, source: "memory") == array, "seed \(seed)")
  }

  @Test func `the bytes are those numpy writes`() throws {
    // numpy 2.4: numpy.save of numpy.array([[1.5, -2, 3.25]], "<f4").
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }"
    let padded = header + String(repeating: " ", count: 117 - header.utf8.count) + "\n"
    let expected =
      [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(padded.utf8)
      + [0x00, 0x00, 0xC0, 0x3F, 0x00, 0x00, 0x00, 0xC0, 0x00, 0x00, 0x50, 0x40]
    let array = NamedArray(shape: [1, 3], values: .float32([1.5, -2, 3.25]))
    #expect(NumPy.encode(array) == expected)
    #expect(try NumPy.decode(expected, source: "memory") == array)
  }

  @Test(arguments: [
    (version: 2 as UInt8, header: #"{"descr": "<i8", "shape": (2,), "fortran_order": False}"#),
    (version: 3, header: "{ 'shape':(2 , ),'descr':'<i8','fortran_order':True,}\n"),
  ])
  func `versions 2 and 3 and other spellings are read`(version: UInt8, header: String) throws {
    let bytes = file(
      version: version, header, [1, 0, 0, 0, 0, 0, 0, 0] + [UInt8](repeating: 255, count: 8))
    let array = try NumPy.decode(bytes, source: "memory")
    #expect(array == NamedArray(shape: [2], values: .int64([1, -1])))
  }

  @Test func `a file goes through the disk`() throws {
    let folder = ScratchFolder()
    let array = NamedArray(shape: [2, 1], values: .uint8([3, 4]))
    try NumPy.write(array, to: folder.file("x.npy"))
    #expect(try NumPy.read(folder.file("x.npy")) == array)
  }

  @Test func `every prefix of a file is refused`() throws {
    let bytes = NumPy.encode(NamedArray(shape: [2, 2], values: .int32([1, 2, 3, 4])))
    for count in 0..<bytes.count {
      #expect(throws: Problem.self, "first \(count) bytes") {
        try NumPy.decode(Array(bytes[..<count]), source: "memory")
      }
    }
  }

  @Test(arguments: [
    ("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "type '>f4'"),
    ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "type '|O'"),
    ("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }", "Fortran order"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "4 bytes of data"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (), 'shape': (), }", "'shape' twice"),
    ("{'descr': '<f4', 'fortran_order': False, }", "lacks one of"),
    ("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", "neither True nor False"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "tuple of lengths"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x", "goes on after its end"),
    (
      "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",
      "4 bytes of data"
    ),
    ("{'descr': '<f4", "lacks"),
  ])
  func `an unsound header is refused in words`(header: String, words: String) throws {
    let problem = try #require(throws: Problem.self) {
      try NumPy.decode(file(version: 1, header, [0, 0, 0, 0]), source: "x.npy")
    }
    #expect(problem.kind == .corrupt)
    #expect(problem.message.contains(words), "\(problem)")
    #expect(problem.message.contains("x.npy"), "\(problem)")
  }

  @Test func `another version is refused by name`() throws {
    let problem = try #require(throws: Problem.self) {
      try NumPy.decode(file(version: 4, "{}", []), source: "x.npy")
    }
    #expect(problem.message.contains("version 4.0"), "\(problem)")
  }
}

private func file(version: UInt8, _ header: String, _ data: [UInt8]) -> [UInt8] {
  let length = header.utf8.count
  var bytes = [0x93] + Array("NUMPY".utf8) + [version, 0, UInt8(length & 255), UInt8(length >> 8)]
  if version > 1 { bytes += [0, 0] }
  return bytes + Array(header.utf8) + data
}
