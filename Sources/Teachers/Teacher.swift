public import Basics
public import Views

/// Whoever gives logits for views: a network of this package today.
///
/// A teacher only describes itself; each thread that runs it opens a session of its own.
public protocol Teacher: Sendable {
  /// Everything that decides its logits: weights, preprocessing, batch shape, runtime. Part of a
  /// cache's fingerprint, so free of paths and clocks.
  var identity: JSONValue { get }
  /// C, the number of logits per view.
  var classes: Int { get }
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
}
