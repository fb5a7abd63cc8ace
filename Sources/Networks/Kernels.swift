/// target[i] += source[i].
@inline(__always)
func add(_ source: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>, count: Int) {
  for i in 0..<count { target[i] += source[i] }
}

/// Adds the partial results of all pieces, in the order of the pieces.
func sum(_ parts: [FloatMemory], into total: FloatMemory) {
  total.base.update(from: parts[0].base, count: total.count)
  for part in parts.dropFirst() { add(part.base, to: total.base, count: total.count) }
}

/// Copies eight floats from and to any addresses; both memories have room for all eight.
@inline(__always)
func moveEight(_ source: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>) {
  let eight = UnsafeRawPointer(source).loadUnaligned(as: SIMD8<Float>.self)
  UnsafeMutableRawPointer(target).storeBytes(of: eight, as: SIMD8<Float>.self)
}
