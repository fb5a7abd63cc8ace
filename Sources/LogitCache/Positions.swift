import Basics
package import Losses

/// How a view has a record for each of several positions: time steps, tokens, proposals.
///
/// Ragged: every sample has records at some of the positions, or at none (`RowPlaces`).
public struct Positions: Codable, Hashable, Sendable {
  /// Whose labels the records have.
  public enum Labels: String, Codable, Sendable {
    /// The sample's; in each view the teacher says which positions have records.
    case sample
    /// The position's; those with a label have a record in every view.
    case position
  }

  /// M, the positions that a view can have, 2...4096.
  public var maximum: Int
  /// Whose labels the records have.
  public var labels: Labels

  /// Records at up to `maximum` positions of a view.
  public init(maximum: Int, labels: Labels) {
    self.maximum = maximum
    self.labels = labels
  }

  static let allowed = 2...4096
}

/// Places of records as the two lists of integers that are stored (docs/FORMAT.md, "Positions").
enum PlaceLists {
  /// How many records each sample has.
  static func counts(_ places: RowPlaces) -> [UInt32] {
    (0..<places.samples).map { UInt32(places.rows(of: $0).count) }
  }

  /// How many positions each record leaves out after the one before it in its sample.
  static func gaps(_ places: RowPlaces) -> [UInt32] {
    var gaps: [UInt32] = []
    gaps.reserveCapacity(places.rows)
    for sample in 0..<places.samples {
      var next: Int32 = 0
      for row in places.rows(of: sample) {
        gaps.append(UInt32(places.positions[row] - next))
        next = places.positions[row] + 1
      }
    }
    return gaps
  }

  /// The number of records, from what each sample has.
  ///
  /// - Throws: `Problem(.corrupt)` when a sample has more than M.
  static func total(of counts: [UInt32], _ positions: Positions) throws -> Int {
    guard counts.allSatisfy({ $0 <= UInt32(positions.maximum) }) else {
      throw Problem(.corrupt, "a sample has more than \(positions.maximum) positions")
    }
    return counts.reduce(0) { $0 + Int($1) }
  }

  /// The places that lists mean.
  ///
  /// - Precondition: the counts sum to the number of gaps.
  /// - Throws: `Problem(.corrupt)` when a position is not below M.
  static func places(
    counts: [UInt32], gaps: UnsafeBufferPointer<UInt32>, _ positions: Positions
  ) throws -> RowPlaces {
    var places = RowPlaces()
    places.starts.reserveCapacity(counts.count + 1)
    places.positions.reserveCapacity(gaps.count)
    let maximum = UInt64(positions.maximum)
    var row = 0
    for count in counts {
      var next: UInt64 = 0
      for _ in 0..<count {
        let position = next + UInt64(gaps[row])
        guard position < maximum else {
          throw Problem(.corrupt, "a position is not below \(maximum)")
        }
        places.positions.append(Int32(position))
        next = position + 1
        row += 1
      }
      places.starts.append(Int32(row))
    }
    return places
  }
}

extension RowPlaces {
  /// The positions that have labels.
  ///
  /// - Parameter labels: [samples, `maximum`], -1 where a position has none.
  package init(labels: ArraySlice<Int32>, maximum: Int) {
    self.init()
    for first in stride(from: labels.startIndex, to: labels.endIndex, by: maximum) {
      append(sampleAt: (0..<Int32(maximum)).lazy.filter { labels[first + Int($0)] >= 0 })
    }
  }

  /// Refuses rows that are not at all of these places, which have labels.
  ///
  /// - Parameter given: where the rows are, of the same samples of a view.
  /// - Throws: `Problem(.corrupt)` naming the first place that has none.
  package func demandRows(among given: RowPlaces, firstSample: Int, view: Int) throws {
    for sample in 0..<samples {
      let found = given.rows(of: sample)
      for row in rows(of: sample)
      where given.row(of: sample, position: Int(positions[row])) == nil {
        let place = RecordPlace(row: row, firstSample: firstSample, view: view, self)
        throw Problem(
          .corrupt,
          "\(place) has a label, but there are rows for \(found.count) positions of this view only, "
            + "and none for it")
      }
    }
  }

  /// - Precondition: these are places of `samples` samples and `rows` rows, ascending and below M.
  func demand(samples: Int, rows: Int, _ positions: Positions) {
    precondition(
      self.samples == samples && self.rows == rows && starts.first == 0
        && Int(starts[samples]) == rows,
      "places of \(self.samples) samples and \(self.rows) rows for \(samples) and \(rows)")
    for sample in 0..<samples {
      var before: Int32 = -1
      for row in self.rows(of: sample) {
        precondition(
          self.positions[row] > before && self.positions[row] < Int32(positions.maximum),
          "position \(self.positions[row]) after \(before) of \(positions.maximum)")
        before = self.positions[row]
      }
    }
  }
}

/// Where a row comes from, for messages: "sample 3, view 0, position 2".
package struct RecordPlace: CustomStringConvertible {
  /// Its sample.
  package var sample: Int
  private var view: Int
  private var position: Int?

  /// Row `row` of those of samples from `firstSample` on.
  package init(row: Int, firstSample: Int, view: Int, _ places: RowPlaces?) {
    let place = places?.place(ofRow: row)
    sample = firstSample + (place?.sample ?? row)
    self.view = view
    position = place?.position
  }

  package var description: String {
    "sample \(sample), view \(view)" + (position.map { ", position \($0)" } ?? "")
  }
}
