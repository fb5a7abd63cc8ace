// Stands in until caches have positions.
public struct Positions: Codable, Hashable, Sendable {
  public enum Labels: String, Codable, Sendable { case sample, position }
  public var maximum: Int
  public var labels: Labels
}
extension Encoding {
  public var positions: Positions? { nil }
}
