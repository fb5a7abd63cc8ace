import Arrays
import Basics
import Foundation
import TestSupport
import Testing

@Suite struct ArrayFileTests {
  private let folder = ScratchFolder()

  @Test(arguments: 0..<30 as Range<UInt64>)
  func `pieces of an array are those of the whole file`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let array = randomArray(&random)
    let other = NamedArray(shape: [3], values: .uint8([1, 2, 3]))
    try NumPy.write(array, to: folder.file("x.npy"))
    try Safetensors.write(
      SafetensorsFile(arrays: ["a": other, "x": array]), to: folder.file("x.safetensors"))
    let digests = try ["x.npy", "x.safetensors:x"].map { name in
      let file = try ArrayFile(folder.file(name))
      #expect(file.shape == array.shape && file.typeName == array.values.typeName)
      let start = Int.random(in: 0...file.count, using: &random)
      let range = start..<Int.random(in: start...file.count, using: &random)
      #expect(try file.doubles(range) == Array(doubles(array)[range]), "seed \(seed), \(range)")
      var floats = [Float](repeating: 0, count: range.count)
      try floats.withUnsafeMutableBufferPointer { try file.read(range, into: $0) }
      #expect(floats.elementsEqual(doubles(array)[range].map { Float($0) }), "seed \(seed)")
      if !file.holdsFloats {
        #expect(try file.integers(range) == Array(integers(array)[range]))
      }
      return try file.digest()
    }
    #expect(digests[0] == digests[1])
    let bytes = try Files.read(folder.file("x.npy"))
    let data = bytes.suffix(bytes.count - 10 - Int(bytes[8]) - 256 * Int(bytes[9]))
    #expect(digests[0] == Digest(of: Array(data)))
  }

  /// Elements as Double; of int64 only small ones are exact.
  private func doubles(_ array: NamedArray) -> [Double] {
    switch array.values {
    case .uint8(let values): values.map { Double($0) }
    case .int32(let values): values.map { Double($0) }
    case .int64(let values): values.map { Double($0) }
    case .float32(let values): values.map { Double($0) }
    case .float64(let values): values
    }
  }

  private func integers(_ array: NamedArray) -> [Int] {
    switch array.values {
    case .uint8(let values): values.map { Int($0) }
    case .int32(let values): values.map { Int($0) }
    case .int64(let values): values.map { Int($0) }
    case .float32, .float64: []
    }
  }

  @Test func `every half and every bfloat16 is read as the float32 that it is`() throws {
    let bits = (0..<65_536).map { UInt16($0) }
    let data = bits.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
    let header = "{'descr': '<f2', 'fortran_order': False, 'shape': (65536,), }"
    let npy = [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(header.utf8.count), 0] + header.utf8
    try Files.writeAtomically(npy + data, to: folder.file("half.npy"))
    let json = #"{"x":{"dtype":"BF16","shape":[65536],"data_offsets":[0,131072]}}"#
    let length = [UInt8(json.utf8.count), 0, 0, 0, 0, 0, 0, 0]
    try Files.writeAtomically(length + json.utf8 + data, to: folder.file("b.safetensors"))
    let halves = bits.map { Float(Float16(bitPattern: $0)) }
    let bfloats = bits.map { Float(bitPattern: UInt32($0) << 16) }
    for (name, expected) in [("half.npy", halves), ("b.safetensors", bfloats)] {
      var read = [Float](repeating: 0, count: 65_536)
      let file = try ArrayFile(folder.file(name))
      try read.withUnsafeMutableBufferPointer { try file.read(0..<65_536, into: $0) }
      for (index, (one, two)) in zip(read, expected).enumerated() {
        #expect(one.bitPattern == two.bitPattern || one.isNaN && two.isNaN, "\(name), \(index)")
      }
    }
    guard case .float32(let whole) = try NumPy.read(folder.file("half.npy")).values else {
      Issue.record("halves are not read as float32")
      return
    }
    #expect(zip(whole, halves).allSatisfy { $0 == $1 || $0.isNaN && $1.isNaN })
  }

  @Test(arguments: 0..<10 as Range<UInt64>)
  func `a file written in pieces has the bytes of one written at once`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let (rows, width) = (Int.random(in: 1...9, using: &random), 5)
    let floats = (0..<rows * width).map { _ in Float(random.normal()) }
    let wide = (0..<rows).map { _ in random.normal() }
    let arrays = [
      "f": NamedArray(shape: [rows, width], values: .float32(floats)),
      "w": NamedArray(shape: [rows], values: .float64(wide)),
    ]
    let metadata = ["made": "here"]
    let writer = try ArrayFileWriter(
      safetensors: folder.file("p.safetensors"),
      [.init("f", .float32, [rows, width]), .init("w", .float64, [rows])], metadata: metadata)
    let npy = try ArrayFileWriter(npy: folder.file("p.npy"), .init("f", .float32, [rows, width]))
    for row in (0..<rows).shuffled(using: &random) {
      let part = floats[row * width..<(row + 1) * width]
      try writer.write(part, to: "f", at: row * width)
      try npy.write(part, to: "f", at: row * width)
      try writer.write([wide[row]], to: "w", at: row)
    }
    #expect(!Files.exists(folder.file("p.npy")))
    try writer.commit()
    try npy.commit()
    let file = SafetensorsFile(arrays: arrays, metadata: metadata)
    #expect(try Files.read(folder.file("p.safetensors")) == Safetensors.encode(file))
    #expect(try Files.read(folder.file("p.npy")) == NumPy.encode(arrays["f"]!))
    #expect(writer.byteCount == (try Files.read(folder.file("p.safetensors")).count))
  }

  @Test func `a file that is given up leaves nothing behind`() throws {
    let path = folder.file("x.npy")
    try Files.writeAtomically("old", to: path)
    do {
      let writer = try ArrayFileWriter(npy: path, .init("x", .float32, [1]))
      try writer.write([Float(1)], to: "x", at: 0)
    }
    #expect(try Files.read(path) == Array("old".utf8))
    #expect(!Files.exists(path + ".part"))
    let problem = #expect(throws: Problem.self) { try AtomicFile(folder.file("no/x")) }
    #expect(problem?.kind == .cannotCreate)
  }

  @Test func `a name that does not say which array it is is refused with those there are`() throws {
    let array = NamedArray(shape: [1], values: .float32([1]))
    let path = folder.file("x.safetensors")
    try Safetensors.write(SafetensorsFile(arrays: ["one": array, "two": array]), to: path)
    for (name, text) in [
      (path, "2 arrays (one, two)"), (path + ":three", "no array 'three'; it has one, two"),
      (folder.file("x.bin"), "FILE.npy, FILE.safetensors or"),
    ] {
      let problem = #expect(throws: Problem.self) { try ArrayFile(name) }
      #expect(problem?.kind == .usage && problem?.message.contains(text) == true, "\(problem!)")
    }
    let missing = #expect(throws: Problem.self) { try ArrayFile(folder.file("no.npy")) }
    #expect(missing?.kind == .noInput)
  }

  @Test func `every prefix of a file is refused when it is opened`() throws {
    let array = NamedArray(shape: [2, 2], values: .float32([1, 2, 3, 4]))
    let npy = NumPy.encode(array)
    let tensors = try Safetensors.encode(SafetensorsFile(arrays: ["x": array]))
    for (name, bytes) in [("c.npy", npy), ("c.safetensors", tensors)] {
      for count in 0..<bytes.count {
        try Files.writeAtomically(Array(bytes[..<count]), to: folder.file(name))
        let problem = #expect(throws: Problem.self) { try ArrayFile(folder.file(name)) }
        #expect(problem?.kind == .corrupt, "\(name), first \(count) bytes")
      }
    }
  }

  @Test func `a file that is changed after it was opened is noticed`() throws {
    let path = folder.file("x.npy")
    try NumPy.write(NamedArray(shape: [2], values: .float32([1, 2])), to: path)
    let file = try ArrayFile(path)
    try file.demandUnchanged()
    let handle = FileHandle(forWritingAtPath: path)
    try handle?.truncate(atOffset: 8)
    try handle?.close()
    #expect(throws: Problem.self) { try file.demandUnchanged() }
    let problem = #expect(throws: Problem.self) { try file.doubles(0..<2) }
    #expect(problem?.kind == .inputOutput)
  }
}
