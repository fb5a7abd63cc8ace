/// What kind of trouble an error is; decides the exit code of the command line (`sysexits.h`).
public enum ProblemKind: Int32, Sendable {
  /// The command line itself is wrong.
  case usage = 64
  /// Data is damaged, or does not belong together.
  case corrupt = 65
  /// An input is missing or cannot be read.
  case noInput = 66
  /// What was asked for cannot be had.
  case unavailable = 69
  /// An output cannot be created.
  case cannotCreate = 73
  /// Reading or writing failed half-way: disk full, device error.
  case inputOutput = 74
  /// Interrupted; the same command continues where it stopped.
  case interrupted = 75
  /// A configuration file is wrong.
  case configuration = 78
}

/// An error a person can act on: what is wrong, where, and what to do, in one sentence.
///
/// Every module throws this one type; `kind` is for programs, `message` for people.
public struct Problem: Error, Sendable, CustomStringConvertible {
  /// Decides the exit code.
  public let kind: ProblemKind
  /// What is wrong, where, and what to do.
  public let message: String

  /// Makes a problem of `kind` that reads `message`.
  public init(_ kind: ProblemKind, _ message: String) {
    self.kind = kind
    self.message = message
  }

  /// The message.
  public var description: String { message }
}
