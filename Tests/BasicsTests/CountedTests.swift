import Basics
import Testing

@Suite struct CountedTests {
  @Test func `one thing is singular, none and several are plural`() {
    #expect(
      [0, 1, 2, -1].map { counted($0, "record") } == [
        "0 records", "1 record", "2 records", "-1 records",
      ])
    #expect(
      [0, 1, 2].map { counted($0, "class", "classes") } == ["0 classes", "1 class", "2 classes"])
  }
}
