import Basics
import Foundation
import LMDB
import TestSupport
import Testing

@Suite struct LMDBTests {
  private func open(_ path: String, mapBytes: Int = 1 << 20) throws -> Environment {
    try Environment(path: path, tables: ["a", "b"], access: .write(mapBytes: mapBytes))
  }

  @Test func `what is committed is read back in key order`() throws {
    let folder = ScratchFolder()
    let environment = try open(folder.path)
    try environment.write { transaction in
      for key: UInt8 in [3, 1, 2] {
        try transaction.put([key, key], forKey: [key], in: environment.table("a"))
      }
    }
    var keys: [UInt8] = []
    try environment.read { transaction in
      try transaction.forEach(in: environment.table("a")) { key, _ in
        keys.append(key.unsafeLoad(fromByteOffset: 0, as: UInt8.self))
        return keys.count < 2
      }
      #expect(try transaction.count(of: environment.table("a")) == 3)
      #expect(try transaction.count(of: environment.table("b")) == 0)
      if try transaction.value(forKey: [9], in: environment.table("a")) != nil {
        Issue.record("a key that was not put")
      }
    }
    #expect(keys == [1, 2])
  }

  @Test func `an error inside a write leaves nothing behind`() throws {
    let folder = ScratchFolder()
    let environment = try open(folder.path)
    #expect(throws: Problem.self) {
      try environment.write { transaction in
        try transaction.put([1], forKey: [1], in: environment.table("a"))
        throw Problem(.usage, "stop")
      }
    }
    #expect(try environment.read { try $0.count(of: environment.table("a")) } == 0)
  }

  @Test func `the map grows and the transaction runs again`() throws {
    let folder = ScratchFolder()
    let environment = try open(folder.path, mapBytes: 1)
    var runs = 0
    try environment.write { transaction in
      runs += 1
      for key in UInt8(0)..<40 {
        try transaction.put(
          [UInt8](repeating: key, count: 100_000), forKey: [key], in: environment.table("a"))
      }
    }
    #expect(runs > 1)
    #expect(try environment.read { try $0.count(of: environment.table("a")) } == 40)
  }

  @Test func `errors name the path and what was done`() throws {
    let found = #expect(throws: Problem.self) { try self.open("/nowhere/at/all") }
    #expect(found?.kind == .noInput)
    #expect(found?.message.contains("open /nowhere/at/all: No such file") == true)
  }

  @Test(arguments: UInt64(1)...5)
  func `the page walk accepts what LMDB writes`(seed: UInt64) throws {
    let folder = ScratchFolder()
    var generator = SeededGenerator(seed: seed)
    var kept: [UInt16: Int] = [:]
    do {
      let environment = try open(folder.path, mapBytes: 1 << 24)
      for _ in 0..<30 {
        try environment.write { transaction in
          for _ in 0..<20 {
            let key = UInt16.random(in: 0..<900, using: &generator)
            let size = [10, 700, 3000, 30_000].randomElement(using: &generator)!
            kept[key] = size
            try transaction.put(
              [UInt8](repeating: 1, count: size), forKey: [UInt8(key >> 8), UInt8(key & 255)],
              in: environment.table("a"))
          }
        }
      }
    }
    let report = try PageCheck.check(
      path: folder.file("data.mdb"), tables: ["a", "b"], freeList: true)
    #expect(report.entries == ["a": kept.count, "b": 0], "seed \(seed)")
    #expect(report.pages * report.pageSize <= report.fileBytes, "seed \(seed)")
    #expect(throws: Problem.self) {
      try PageCheck.check(path: folder.file("data.mdb"), tables: ["a"], freeList: false)
    }
  }
}
