/// What a plane holds, in the order planes are stored, but that those of positions come first.
enum PlaneID {
  static let header: UInt8 = 0
  static let ids: UInt8 = 1
  static let gaps: UInt8 = 2
  static let largest: UInt8 = 3
  static let labelRanks: UInt8 = 4
  static let labelGaps: UInt8 = 5
  static let featureNorms: UInt8 = 6
  static let ranking: UInt8 = 7
  static let coefficients: UInt8 = 8
  static let offsets: UInt8 = 9
  static let positionCounts: UInt8 = 10
  static let positionGaps: UInt8 = 11
  static let firstTail: UInt8 = 16

  static func name(_ id: UInt8) -> String {
    switch id {
    case header: "header"
    case ids: "ids"
    case gaps: "gaps"
    case largest: "largest"
    case labelRanks: "labelRanks"
    case labelGaps: "labelGaps"
    case featureNorms: "featureNorms"
    case ranking: "ranking"
    case coefficients: "coefficients"
    case offsets: "offsets"
    case positionCounts: "positionCounts"
    case positionGaps: "positionGaps"
    default: "tail\(id - firstTail)"
    }
  }
}

/// A plane, or one group of columns of a plane.
struct PlanePlace: Equatable {
  var plane: UInt8
  var group: UInt8 = 0
}

/// Columns that share statistics and so a group: 1, 1, 2, 4, 8, ...
package enum ColumnGroups {
  /// The groups of `count` columns; the last may be short.
  package static func ranges(_ count: Int) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var start = 0
    while start < count {
      let end = min(count, max(1, 2 * start))
      ranges.append(start..<end)
      start = end
    }
    return ranges
  }
}
