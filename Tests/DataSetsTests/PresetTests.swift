import Basics
import DataSets
import TestSupport
import Testing

private let isInstalled = Files.exists("/usr/share/datasets/fashion-mnist")

@Suite struct PresetTests {
  @Test(.enabled(if: isInstalled, "needs the Debian package dataset-fashion-mnist"))
  func `Fashion-MNIST opens by name`() throws {
    let train = try openDataSet("fashion-mnist/train")
    #expect(train.count == 60000)
    #expect(train.shape == .image(height: 28, width: 28, channels: 1))
    #expect(train.classNames.count == 10)
    #expect(train.labels.prefix(5) == [9, 0, 0, 3, 0])
    let test = try openDataSet("fashion-mnist/test[0:500]")
    #expect(test.count == 500)
    #expect(test.name == "fashion-mnist/test[0:500]")
    #expect(test.labels.prefix(5) == [9, 2, 1, 1, 6])
  }

  @Test func `a preset that is not installed says what to install`() throws {
    let problem = try #require(throws: Problem.self) {
      try openPreset(presets[0], folder: ScratchFolder().path)
    }
    #expect(problem.kind == .noInput)
    #expect(problem.message.contains("apt-get install dataset-fashion-mnist"), "\(problem)")
  }

  @Test func `an unknown name lists the known ones`() throws {
    let problem = try #require(throws: Problem.self) { try openDataSet("cifar-1000") }
    #expect(problem.kind == .noInput)
    #expect(problem.message.contains("fashion-mnist/train, fashion-mnist/test"), "\(problem)")
  }
}
