import Losses
import TestSupport
import Testing

@Suite struct RowPlacesTests {
  /// A batch whose largest logits are their row numbers plus `first`, with random places.
  private func batch(
    samples: Int, first: Int, _ generator: inout SeededGenerator
  ) -> TeacherBatch {
    var places = RowPlaces()
    for _ in 0..<samples {
      places.append(sampleAt: (0..<6).filter { _ in Bool.random(using: &generator) })
    }
    var batch = TeacherBatch(classes: 3, k: 2, tailTemperatures: [1], count: places.rows)
    for row in 0..<places.rows { batch.largestLogits[row] = Float(first + row) }
    batch.places = places
    return batch
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `samples are copied with all their rows and places`(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let sources = [0, 1000].map { batch(samples: 7, first: $0, &generator) }
    var target = TeacherBatch(classes: 3, k: 2, tailTemperatures: [1], count: 0)
    target.places = RowPlaces()
    // Twice: what an earlier batch left must not stay.
    for _ in 0..<2 {
      let chosen = (0..<9).map { _ in
        (source: Int.random(in: 0..<2, using: &generator), Int.random(in: 0..<7, using: &generator))
      }
      target.places?.removeAll()
      var rows: [RowAddress] = []
      for (source, sample) in chosen {
        rows += sources[source].rows(ofSample: sample).map { RowAddress(batch: source, row: $0) }
        target.places?.append(sample, of: sources[source].places!)
      }
      target.resize(to: rows.count)
      target.copyRows(rows, of: sources, to: 0)
      var (numbers, places): ([Float], RowPlaces) = ([], RowPlaces())
      for (source, sample) in chosen {
        let rows = sources[source].rows(ofSample: sample)
        numbers += rows.map { Float(1000 * source + $0) }
        places.append(sampleAt: rows.map { sources[source].places!.positions[$0] })
      }
      #expect(target.largestLogits == numbers, "seed \(seed)")
      #expect(target.places == places, "seed \(seed)")
    }
  }

  @Test func `without places a sample has the row of its number`() {
    var source = TeacherBatch(classes: 3, k: 2, tailTemperatures: [1], count: 3)
    source.largestLogits = [4, 5, 6]
    #expect(source.rows(ofSample: 2) == 2..<3)
    var target = TeacherBatch(classes: 3, k: 2, tailTemperatures: [1], count: 2)
    target.copyRows(
      [RowAddress(batch: 0, row: 2), RowAddress(batch: 0, row: 0)], of: [source], to: 0)
    #expect(target.largestLogits == [6, 4])
    #expect(target.places == nil)
  }
}
