import BLAS
import TestSupport
import Testing

@Suite struct BLASTests {
  @Test(arguments: 1...12)
  func `eigenvectors rebuild their matrix, ascending and orthonormal`(size: Int) throws {
    var generator = SeededGenerator(seed: UInt64(size))
    let columns = size + 3
    let a = (0..<size * columns).map { _ in generator.normal() }
    var gram = [Double](repeating: 0, count: size * size)
    addGram(of: a, rows: size, columns: columns, transposed: false, to: &gram)
    var vectors = gram
    let values = try #require(replaceByEigenvectors(&vectors, size: size))
    #expect(values == values.sorted())
    for row in 0..<size {
      for column in row..<size {
        var exact = 0.0
        for inner in 0..<columns { exact += a[row * columns + inner] * a[column * columns + inner] }
        #expect(abs(gram[row * size + column] - exact) < 1e-12)
        var rebuilt = 0.0
        var product = 0.0
        for place in 0..<size {
          rebuilt += values[place] * vectors[place * size + row] * vectors[place * size + column]
          product += vectors[row * size + place] * vectors[column * size + place]
        }
        #expect(abs(rebuilt - exact) < 1e-10)
        #expect(abs(product - (row == column ? 1 : 0)) < 1e-12)
      }
    }
  }

  @Test func `the gram of columns is that of the transposed matrix's rows`() {
    let a: [Double] = [1, 2, 3, 4, 5, 6]
    var byColumns = [Double](repeating: 0, count: 9)
    addGram(of: a, rows: 2, columns: 3, transposed: true, to: &byColumns)
    #expect(byColumns == [17, 22, 27, 0, 29, 36, 0, 0, 45])
  }

  @Test func `arrays multiply in every transposition`() {
    let (a, b): ([Float], [Float]) = ([1, 2, 3, 4, 5, 6], [1, 0, 2, 1, 0, 3])
    let (aTurned, bTurned): ([Float], [Float]) = ([1, 4, 2, 5, 3, 6], [1, 2, 0, 0, 1, 3])
    var c = [Float](repeating: 9, count: 4)
    multiply(a, b, into: &c, rows: 2, columns: 2, inner: 3)
    #expect(c == [5, 11, 14, 23])
    multiply(
      aTurned, bTurned, into: &c, rows: 2, columns: 2, inner: 3, transposingA: true,
      transposingB: true)
    #expect(c == [5, 11, 14, 23])
  }
}
