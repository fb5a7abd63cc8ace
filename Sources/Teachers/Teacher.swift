public import Basics
public import Views

/// Whoever gives logits, and perhaps features, for views: a network of this package, an ONNX model.
///
/// A teacher only describes itself; each thread that runs it opens a session of its own.
public protocol Teacher: Sendable {
  /// Everything that decides its logits: weights, preprocessing, batch shape, runtime. Part of a
  /// cache's fingerprint, so free of paths and clocks.
  var identity: JSONValue { get }
  /// C, the number of logits per view.
  var classes: Int { get }
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
  func logits(of batch: borrowing ViewBatch, into logits: inout MutableSpan<Float>) throws

  /// Gives the features [batch.count, featureWidth] behind the logits that were given last.
  ///
  /// - Precondition: the teacher shows features.
  func features(into features: inout MutableSpan<Float>) throws
}

extension Teacher {
  /// No features, unless a teacher says otherwise.
  public var featureWidth: Int { 0 }
}

extension TeacherSession {
  /// For teachers that show none.
  public func features(into features: inout MutableSpan<Float>) throws {
    preconditionFailure("this teacher shows no features")
  }
}
