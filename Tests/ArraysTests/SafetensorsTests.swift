import Arrays
import Basics
import TestSupport
import Testing

@Suite struct SafetensorsTests {
  @Test(arguments: 0..<20 as Range<UInt64>)
  func `what is written is read back, bit for bit`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let file = randomFile(&random)
    let bytes = try Safetensors.encode(file)
    #expect(try Safetensors.decode(bytes, source: "memory") == file, "seed \(seed)")
    #expect(try Safetensors.encode(file) == bytes, "seed \(seed)")
  }

  @Test func `a file written by hand from the format's description is read`() throws {
    let bytes = sealed(
      #"{"b":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"__metadata__":{"k":"v"}}  "#,
      [0, 0, 128, 63, 0, 0, 0, 192])
    let file = try Safetensors.decode(bytes, source: "memory")
    #expect(file.arrays == ["b": NamedArray(shape: [1, 2], values: .float32([1, -2]))])
    #expect(file.metadata == ["k": "v"])
  }

  @Test func `the layout of a written file is frozen`() throws {
    let file = SafetensorsFile(
      arrays: [
        "a": NamedArray(shape: [1], values: .uint8([7])),
        "b": NamedArray(shape: [], values: .int32([-1])),
      ], metadata: ["k": "v"])
    let header =
      #"{"__metadata__":{"k":"v"},"a":{"data_offsets":[4,5],"dtype":"U8","shape":[1]},"#
      + #""b":{"data_offsets":[0,4],"dtype":"I32","shape":[]}}"#
    let padding = String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
    let expected = sealed(header + padding, [255, 255, 255, 255, 7])
    #expect(try Safetensors.encode(file) == expected)
  }

  @Test func `a file goes through the disk`() throws {
    let folder = ScratchFolder()
    let file = SafetensorsFile(arrays: ["x": NamedArray(shape: [0, 3], values: .float64([]))])
    try Safetensors.write(file, to: folder.file("x.safetensors"))
    #expect(try Safetensors.read(folder.file("x.safetensors")) == file)
  }

  @Test func `every prefix of a file is refused`() throws {
    var random = SeededGenerator(seed: 3)
    let bytes = try Safetensors.encode(randomFile(&random))
    for count in 0..<bytes.count {
      #expect(throws: Problem.self, "first \(count) bytes") {
        try Safetensors.decode(Array(bytes[..<count]), source: "memory")
      }
    }
  }

  @Test(arguments: 0..<5 as Range<UInt64>)
  func `a file with any one byte changed is read or refused, never a crash`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let bytes = try Safetensors.encode(randomFile(&random))
    for index in bytes.indices {
      var damaged = bytes
      damaged[index] ^= UInt8.random(in: 1...255, using: &random)
      _ = try? Safetensors.decode(damaged, source: "memory")
    }
  }

  @Test(arguments: [
    (#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, 3, "3 bytes of data"),
    (#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,3]}}"#, 3, "is not its size"),
    (#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#, 3, "overlap nor leave gaps"),
    (
      #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"#
        + #""b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#, 3, "overlap nor leave gaps"
    ),
    (
      #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"#
        + #""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1, "same name twice"
    ),
    (#"{"a":{"dtype":"I16","shape":[1],"data_offsets":[0,2]}}"#, 2, "type I16"),
    (#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#, 1, "list of lengths"),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}"#, 1, "[begin, end]"),
    (#"{"a":{"dtype":"U8","shape":[1]}}"#, 1, "exactly the members"),
    (
      #"{"a":{"dtype":"F64","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#, 8,
      "is not its size"
    ),
    (#"{"__metadata__":{"a":1}}"#, 0, "map names to text"),
    (#" {}"#, 0, "no JSON object"),
    (#"{"a":"#, 0, "not valid JSON"),
  ])
  func `an unsound header is refused in words`(header: String, size: Int, words: String) throws {
    let bytes = sealed(header, [UInt8](repeating: 0, count: size))
    let problem = try #require(throws: Problem.self) {
      try Safetensors.decode(bytes, source: "weights")
    }
    #expect(problem.kind == .corrupt)
    #expect(problem.message.contains(words), "\(problem)")
    #expect(problem.message.contains("weights"), "\(problem)")
  }

  @Test func `a huge header length is refused before anything is allocated`() throws {
    let bytes = [UInt8](repeating: 255, count: 16)
    let problem = try #require(throws: Problem.self) {
      try Safetensors.decode(bytes, source: "weights")
    }
    #expect(problem.message.contains("the limit is 100000000"), "\(problem)")
  }
}

/// A header with its length before it and data after it.
private func sealed(_ header: String, _ data: [UInt8]) -> [UInt8] {
  withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + header.utf8 + data
}

private func randomFile(_ random: inout SeededGenerator) -> SafetensorsFile {
  var file = SafetensorsFile(arrays: [:], metadata: ["quote\"": "tail: \\ \u{1F600}"])
  for index in 0..<Int.random(in: 0...6, using: &random) {
    file.arrays["layer.\(index).weight"] = randomArray(&random)
  }
  return file
}
