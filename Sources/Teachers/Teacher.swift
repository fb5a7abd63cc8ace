public import Basics
public import Losses
public import Views

/// Whoever gives logits, and perhaps features, for views: a network of this package, an ONNX model.
///
/// A teacher only describes itself; each thread that runs it opens a session of its own.
public protocol Teacher: Sendable {
  /// Everything that decides its logits: weights, preprocessing, batch shape, runtime. Part of a
  /// cache's fingerprint, so free of paths and clocks.
  var identity: JSONValue { get }
  /// C, the number of logits per view, or per position of it.
  var classes: Int { get }
  /// M, the number of positions of a view that it may speak at: 1, or time steps, tokens, proposals.
  var positions: Int { get }
  /// D, the width of the features: the input of its last linear layer; 0 when it shows none.
  var featureWidth: Int { get }
  /// Views per forward pass; float results depend on it.
  var batchSize: Int { get }

  /// Opens a session for one thread.
  func makeSession() throws -> any TeacherSession
}

/// A teacher ready to run on one thread.
public protocol TeacherSession: AnyObject {
  /// Gives logits [batch.count, classes], row-major, in natural-log units.
  ///
  /// - Throws: `Problem` when the batch does not fit the teacher.
  /// - Precondition: the teacher speaks at one position.
  func logits(of batch: borrowing ViewBatch, into logits: inout MutableSpan<Float>) throws

  /// Gives logits [batch.count, positions, classes], and says which positions of each view count.
  ///
  /// Those of the other positions are left as they are, or anything finite.
  /// - Parameter places: gets a sample for each view of the batch.
  /// - Throws: `Problem` when the batch does not fit the teacher.
  /// - Precondition: the teacher speaks at more positions than one.
  func logits(
    of batch: borrowing ViewBatch, into logits: inout MutableSpan<Float>,
    places: inout RowPlaces) throws

  /// Gives the features [batch.count, featureWidth] behind the logits that were given last.
  ///
  /// - Precondition: the teacher shows features.
  func features(into features: inout MutableSpan<Float>) throws
}

extension Teacher {
  /// One row per view, unless a teacher says otherwise.
  public var positions: Int { 1 }
  /// No features, unless a teacher says otherwise.
  public var featureWidth: Int { 0 }
}

extension TeacherSession {
  /// For teachers that speak at many positions.
  public func logits(
    of batch: borrowing ViewBatch, into logits: inout MutableSpan<Float>
  ) throws {
    preconditionFailure("this teacher speaks at many positions")
  }

  /// For teachers that speak at one.
  public func logits(
    of batch: borrowing ViewBatch, into logits: inout MutableSpan<Float>,
    places: inout RowPlaces
  ) throws {
    preconditionFailure("this teacher speaks at one position")
  }

  /// For teachers that show none.
  public func features(into features: inout MutableSpan<Float>) throws {
    preconditionFailure("this teacher shows no features")
  }
}
