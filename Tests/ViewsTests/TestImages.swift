import DataSets

/// The images of the golden files (Golden/README.md): noise with classes "a", "b" and "c".
func testImages(_ height: Int, _ width: Int, _ channels: Int, count: Int) throws
  -> InMemoryDataSet
{
  let size = height * width * channels
  var pixels: [UInt8] = []
  for sample in 0..<count {
    for i in 0..<size {
      let value = i * i * 40503 + i * 2_654_435_761 + sample * 97643 * (i + 7)
      pixels.append(UInt8(truncatingIfNeeded: value >> 16))
    }
  }
  return try InMemoryDataSet(
    name: "test images", shape: .image(height: height, width: width, channels: channels),
    classNames: ["a", "b", "c"], labels: (0..<count).map { Int32($0 % 3) },
    elements: .pixels(pixels))
}
