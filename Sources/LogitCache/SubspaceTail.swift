/// How full rows are kept beside the head: on how many axes, and how exactly (docs/FORMAT.md,
/// "Subspace tail").
public struct SubspaceTail: Codable, Hashable, Sendable {
  /// The step of every coefficient in sixteenths of a nat, along an axis of length 1; 1...4096.
  public var stepSixteenths: Int
  /// The most axes that are kept, 1...4096; as many are as the teacher's rows need at this step.
  public var maximumAxes: Int
  /// Bytes of a stored number of an axis: 1 or 2.
  public var axisBytes: Int

  /// Makes settings.
  public init(stepSixteenths: Int, maximumAxes: Int = 1024, axisBytes: Int = 1) {
    self.stepSixteenths = stepSixteenths
    self.maximumAxes = maximumAxes
    self.axisBytes = axisBytes
  }

  /// Makes settings from a step in nats; `nil` unless it is a multiple of 1/16 in 1/16...256.
  public init?(step: Double) {
    guard let sixteenths = Int(exactly: step * 16), SubspaceTail.steps.contains(sixteenths) else {
      return nil
    }
    self.init(stepSixteenths: sixteenths)
  }

  /// The step of every coefficient, in nats.
  public var step: Float { Float(stepSixteenths) / 16 }

  /// The step as options spell it: "4" or "9/16".
  package var stepText: String {
    Temperature(stepSixteenths, over: 16).map(\.description) ?? "\(stepSixteenths)/16"
  }

  /// What `stepSixteenths` may be.
  static let steps = 1...4096
}
