import Basics
import ChildProcess
import Foundation
import TestSupport
import Testing

@Suite struct ChildProcessTests {
  private func shell(_ script: String, in folder: String = "/") throws -> ChildProcess {
    try ChildProcess(["sh", "-c", script], folder: folder)
  }

  private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  @Test func `what is written comes back, and the end is told`() throws {
    let child = try shell("cat; echo bye >&2; exit 7")
    let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0) }
    let writer = Thread {
      _ = child.write(bytes, within: 60)
      child.closeInput(after: [1, 2, 3])
    }
    writer.start()
    #expect(child.readOutput(1_000_000) == bytes)
    #expect(child.readOutput(10) == [1, 2, 3])
    #expect(text(child.readErrors()) == "bye\n")
    #expect(child.readErrors().isEmpty)
    #expect(child.waitForEnd(within: 60))
    #expect(child.kill() == .exited(code: 7))
    #expect("\(child.kill())" == "ended with exit code 7")
  }

  @Test(.timeLimit(.minutes(5)))
  func `a killed child leaves no zombie, and nothing that it started`() throws {
    let child = try shell("sleep 1000 & echo $!; wait")
    var line: [UInt8] = []
    while line.last != UInt8(ascii: "\n") { line += child.readOutput(1) }
    let grandchild = try #require(pid_t(text(line).trimmingCharacters(in: .newlines)))
    // A group of its own: the terminal's interrupt does not reach it.
    #expect(getpgid(child.processID) == child.processID && getpgid(grandchild) == child.processID)
    #expect(!child.waitForEnd(within: 0.01))
    #expect("\(child.kill())" == "was ended by signal 9 (Killed)")
    #expect(kill(child.processID, 0) == -1)
    // The signal may take a moment, and so may whoever reaps orphans.
    while isRunning(grandchild) { usleep(1000) }
  }

  @Test(.timeLimit(.minutes(5)))
  func `a child that left its group is killed too`() throws {
    let child = try ChildProcess(
      [
        "python3", "-c",
        "import os, time; os.setpgid(0, os.getpgid(os.getppid())); print('left', flush=True); "
          + "time.sleep(1000)",
      ], folder: "/")
    #expect(text(child.readOutput(5)) == "left\n")
    #expect(child.kill() == .signalled(SIGKILL))
  }

  /// Whether a process is there and no zombie.
  private func isRunning(_ process: pid_t) -> Bool {
    let state = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
    return state.map { !$0.isEmpty && !$0.contains(") Z") } ?? false
  }

  @Test func `writing to a child that reads no more fails, and ends nobody`() throws {
    let child = try shell("exec <&-; echo closed; sleep 1000")
    #expect(text(child.readOutput(7)) == "closed\n")
    #expect(!child.write([1], within: 60))
    child.kill()
    #expect(!child.write([1], within: 60))
    var pending = sigset_t()
    sigpending(&pending)
    #expect(sigismember(&pending, SIGPIPE) == 0)
  }

  @Test func `writing to a child that does not read ends when the time is over`() throws {
    let child = try shell("sleep 1000")
    #expect(!child.write([UInt8](repeating: 0, count: 1 << 20), within: 0.05))
    child.kill()
  }

  @Test func `children inherit no open files and no blocked signals`() throws {
    let leak = open("/dev/null", O_RDONLY)
    defer { close(leak) }
    let sibling = try shell("cat")
    let child = try shell("ls /proc/self/fd | wc -l; grep SigBlk /proc/self/status")
    // 0, 1, 2 and the folder that ls reads.
    let output = text(child.readOutput(1000)).split(separator: "\n")
    #expect(output.first == "4")
    #expect(output.last?.hasSuffix("0000000000000000") == true)
    child.kill()
    sibling.closeInput()
    // The sibling sees the end of its input although `child` was started after it.
    #expect(sibling.waitForEnd(within: 60))
    #expect(sibling.kill() == .exited(code: 0))
  }

  @Test func `a program is looked up in the path, or from its folder`() throws {
    let folder = ScratchFolder()
    try folder.write("#!/bin/sh\npwd", to: "here.sh")
    chmod(folder.file("here.sh"), 0o755)
    let child = try ChildProcess(["./here.sh"], folder: folder.path)
    let real = try #require(realpath(folder.path, nil))
    defer { free(real) }
    #expect(text(child.readOutput(1000)) == String(cString: real) + "\n")
    child.kill()
    let problem = #expect(throws: Problem.self) {
      try ChildProcess(["no-such-program"], folder: "/")
    }
    #expect(problem?.kind == .noInput)
    #expect(problem?.message == "cannot run no-such-program in /: No such file or directory")
  }
}
