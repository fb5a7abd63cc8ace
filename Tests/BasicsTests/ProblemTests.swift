import Basics
import Testing

@Suite struct ProblemTests {
  @Test(arguments: [
    (ProblemKind.usage, Int32(64)), (.corrupt, 65), (.noInput, 66), (.unavailable, 69),
    (.cannotCreate, 73), (.inputOutput, 74), (.interrupted, 75), (.configuration, 78),
  ])
  func `every kind has its exit code of sysexits`(kind: ProblemKind, code: Int32) {
    #expect(kind.rawValue == code)
  }

  @Test func `a problem reads as its message`() {
    #expect("\(Problem(.noInput, "cannot open a"))" == "cannot open a")
  }

  @Test func `an interruption says what was done and what to do`() {
    let problem = Interruption.problem(after: "3 epochs")
    #expect(problem.kind == .interrupted)
    #expect(
      problem.message == "interrupted after 3 epochs; run the same command again to go on")
    #expect(!Interruption.isRequested)
  }
}
