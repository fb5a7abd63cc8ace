extension Array {
  /// Changes the number of elements and keeps the memory of earlier, larger counts.
  @inlinable
  package mutating func setCount(_ newCount: Int, filler: Element) {
    if count > newCount {
      removeLast(count - newCount)
    } else if count < newCount {
      append(contentsOf: repeatElement(filler, count: newCount - count))
    }
  }
}
