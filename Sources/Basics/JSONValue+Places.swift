// Walks over a JSON document; a place in it is written as people do, `encoding.temperatures[1]`.

extension JSONValue {
  /// The values that this one holds, each at its place: members in the order of their names, or elements.
  private func parts(at place: String) -> [(place: String, value: JSONValue)] {
    switch self {
    case .object(let members):
      members.sorted { $0.key < $1.key }.map {
        (place.isEmpty ? $0.key : "\(place).\($0.key)", $0.value)
      }
    case .array(let elements):
      elements.enumerated().map { ("\(place)[\($0.offset)]", $0.element) }
    case .null, .bool, .integer, .number, .string: []
    }
  }

  /// Where the first number that is not an integer stands; `nil` when there is none.
  ///
  /// - Parameter place: where this value itself stands; empty for a whole document.
  package func placeOfFraction(at place: String = "") -> String? {
    if case .number = self { return place }
    return parts(at: place).lazy.compactMap { $0.value.placeOfFraction(at: $0.place) }.first
  }

  /// Every value that holds no others, by its place: strings as they are, all else as JSON.
  ///
  /// - Parameter place: where this value itself stands; empty for a whole document.
  package func leaves(at place: String = "") -> [String: String] {
    let parts = parts(at: place)
    if parts.isEmpty { return [place: string ?? (try? canonicalJSON(self)) ?? "\(self)"] }
    return parts.reduce(into: [:]) { leaves, part in
      leaves.merge(part.value.leaves(at: part.place)) { first, _ in first }
    }
  }
}
