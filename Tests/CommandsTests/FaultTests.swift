import Basics
import Foundation
import TestSupport
import Testing

/// What becomes of the n-th call that changes a file, and of those after it.
struct Fault: CustomTestStringConvertible, Sendable {
  /// ENOSPC, EIO, or "short": half of the bytes are written.
  let first: String
  /// ENOSPC or EIO for every later call; `nil`: the disk works again.
  let after: String?

  var testDescription: String { "\(first), then \(after ?? "a sound disk")" }

  /// A write that took only a part may be completed by another.
  var mayBeOvercome: Bool { first == "short" && after == nil }

  static let all = [
    Fault(first: "ENOSPC", after: "ENOSPC"), Fault(first: "EIO", after: nil),
    Fault(first: "EIO", after: "EIO"), Fault(first: "short", after: nil),
    Fault(first: "short", after: "ENOSPC"),
  ]
}

/// A folder on a disk that fails at a chosen call (FaultyDisk/FaultyDisk.c).
private struct FaultyDisk {
  let folder: String
  private let library: String
  private let report: String

  /// Compiles the library with the clang of the Swift toolchain.
  init(_ scratch: ScratchFolder) throws {
    folder = scratch.file("disk")
    library = scratch.file("libFaultyDisk.so")
    report = scratch.file("fault")
    try Files.makeFolder(folder)
    let source =
      URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/FaultyDisk/FaultyDisk.c"
    let clang = Process()
    clang.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    clang.arguments = [
      "clang", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-o", library,
      source, "-ldl",
    ]
    try clang.run()
    clang.waitUntilExit()
    try #require(clang.terminationStatus == 0)
  }

  /// Runs the program; call `number` on the disk fails.
  ///
  /// - Returns: how it ended, and which call failed on what: `nil` when there were fewer calls.
  func run(_ arguments: [String], _ fault: Fault, at number: Int) throws
    -> (result: ProgramResult, hit: String?)
  {
    if Files.exists(report) { try remove(report) }
    let result = try Program.run(
      arguments,
      environment: [
        "LD_PRELOAD": library, "FAULTY_DISK_FOLDER": folder, "FAULTY_DISK_AT": "\(number)",
        "FAULTY_DISK_FAULT": fault.first, "FAULTY_DISK_AFTER": fault.after,
        "FAULTY_DISK_REPORT": report,
      ])
    guard Files.exists(report) else { return (result, nil) }
    return (result, String(decoding: try Files.read(report), as: UTF8.self))
  }

  /// Fails call 1 of a command, then call 2, and so on until it makes fewer.
  ///
  /// The command must end with 73 or 74 and a sentence that names what it could not write, or overcome
  /// the fault.
  ///
  /// - Parameter check: looks at what is left of each failed run, and takes it away.
  func failEveryCall(
    of arguments: [String], naming path: String, _ fault: Fault,
    check: (_ place: Comment) throws -> Void
  ) throws {
    var number = 0
    while true {
      number += 1
      let (result, hit) = try run(arguments, fault, at: number)
      let place: Comment = "\(fault.testDescription), call \(number): \(hit ?? "")\(result.errors)"
      guard hit != nil else {
        #expect(result.exitCode == 0, place)
        break
      }
      let isOvercome = result.exitCode == 0 && fault.mayBeOvercome
      #expect(isOvercome || [73, 74].contains(result.exitCode), place)
      #expect(isOvercome || result.errors.contains("logitcache: "), place)
      #expect(isOvercome || result.errors.contains(path), place)
      try check(place)
    }
    #expect(number > 5, "too few calls were seen: is the library preloaded?")
  }
}

@Suite struct FaultTests {
  /// Blocks of 300 records, each committed alone.
  ///
  /// `LOGITCACHE_FAULT_VIEWS=60` makes the long version of the test.
  private let views =
    ProcessInfo.processInfo.environment["LOGITCACHE_FAULT_VIEWS"].flatMap { Int($0) } ?? 4

  @Test(arguments: Fault.all)
  func `precompute loses no commit to a failing disk, and the same command goes on`(
    fault: Fault
  ) throws {
    let stored = try failEveryCallOfPrecompute(views: views, commitSeconds: 0, fault)
    #expect(stored.last == 300 * views, "the last calls come after the last commit")
  }

  /// Of twenty views two are calibration blocks, stored together; before them, in one commit, what was
  /// learned and the labels.
  @Test(arguments: Fault.all)
  func `a disk that fails while a cache is begun leaves it to be begun again, to the same digest`(
    fault: Fault
  ) throws {
    let stored = try failEveryCallOfPrecompute(views: 20, commitSeconds: 1000, fault)
    #expect(Set(stored).isSuperset(of: [nil, 0, 600]), "\(stored)")
  }

  /// Runs `precompute` on a disk that fails at call 1, at call 2, and so on, each time to the end on a
  /// sound disk.
  ///
  /// - Returns: the records that each failed run has stored; `nil` where no cache was begun.
  private func failEveryCallOfPrecompute(
    views: Int, commitSeconds: Int, _ fault: Fault
  ) throws -> [Int?] {
    let desk = try Desk()
    let disk = try FaultyDisk(desk.folder)
    let more = ["--features", "--commit-seconds", "\(commitSeconds)", "--threads", "1", "--json"]
    let whole = try made(by: desk.succeed(desk.precompute("whole", views: views) + more))
    let command = desk.precompute("disk/cache", views: views) + more
    var seen: [Int?] = []
    try disk.failEveryCall(of: command, naming: command[1], fault) { place in
      let stored = try storedRecords(command[1], place)
      #expect(stored ?? 0 >= (seen.last ?? 0) ?? 0, place)
      seen.append(stored)
      let rest = try made(by: desk.succeed(command))
      #expect(rest.digest == whole.digest, place)
      #expect(rest.newRecords == whole.newRecords - (stored ?? 0), place)
      try remove(command[1])
    }
    return seen
  }

  /// The digest and the new records that `precompute --json` printed.
  private func made(by result: ProgramResult) throws -> (digest: String, newRecords: Int) {
    let json = try parseJSON(result.output.utf8, source: "precompute")
    return (
      try #require(json["cacheDigest"]?.string), try #require(json["newRecords"]?.integer)
    )
  }

  /// The sound records of a cache; `nil` when there is no cache yet.
  private func storedRecords(_ cache: String, _ place: Comment) throws -> Int? {
    let result = try Program.run(["verify", cache, "--json"])
    if result.exitCode == 66 { return nil }
    try #require(result.exitCode == 0, "\(place): \(result.errors)")
    let json = try parseJSON(result.output.utf8, source: "verify")
    return try #require(json["records"]?.integer)
  }

  @Test(arguments: Fault.all)
  func `export to a failing disk leaves the whole file or none`(fault: Fault) throws {
    let desk = try Desk()
    let disk = try FaultyDisk(desk.folder)
    try desk.succeed(desk.precompute())
    let (whole, out) = (
      desk.folder.file("whole.safetensors"), desk.folder.file("disk/out.safetensors")
    )
    try desk.succeed(["export", desk.folder.file("cache"), "--out", whole])
    let bytes = try Files.read(whole)
    let command = ["export", desk.folder.file("cache"), "--out", out]
    try disk.failEveryCall(of: command, naming: out, fault) { place in
      #expect(!Files.exists(out + ".part"), place)
      if !Files.exists(out) { return }
      #expect(try Files.read(out) == bytes, place)
      try remove(out)
    }
  }

  @Test(arguments: Fault.all)
  func `training on a failing disk goes on with the same command, to the same weights`(
    fault: Fault
  ) throws {
    let desk = try Desk()
    let disk = try FaultyDisk(desk.folder)
    try desk.succeed(desk.precompute())
    let more = ["--epochs", "2", "--loss", "kd@4", "--threads", "1"]
    try desk.succeed(desk.train(out: "whole") + more)
    let weights = try Files.read(desk.folder.file("whole/model.safetensors"))
    let command = desk.train(out: "disk/out") + more
    let out = desk.folder.file("disk/out")
    try disk.failEveryCall(of: command, naming: out, fault) { place in
      try desk.succeed(command)
      #expect(try Files.read(out + "/model.safetensors") == weights, place)
      try remove(out)
    }
  }

  @Test func `a result that cannot be printed is not a success`() throws {
    let desk = try Desk()
    let cache = desk.precompute() + ["--json"]
    for command in [cache, ["inspect", cache[1]], ["verify", cache[1]]] {
      let result = try Program.run(command, standardOutput: "/dev/full")
      #expect(result.exitCode == 74, "\(command[0]): \(ending(of: result))")
      #expect(result.errors.contains("standard output: No space left"), "\(result.errors)")
    }
  }

  @Test func `messages that cannot be printed end nothing`() throws {
    let desk = try Desk()
    let command = desk.precompute() + ["--json"]
    let result = try Program.run(command, standardError: "/dev/full")
    #expect(result.exitCode == 0, "\(ending(of: result))")
    #expect(digest(in: result) != nil || result.output.contains("cacheDigest"))
    let refused = try Program.run(["verify", "/nowhere"], standardError: "/dev/full")
    #expect(refused.exitCode == 66, "\(ending(of: refused))")
  }
}
